"""Answers `list_characters`: each character with its defaults, and what each ComfyUI lacks for them.

It is compared with what ComfyUI said last; nobody is asked. What a prompt names (`embedding:opal-fever`) is not looked
for, because `/object_info` does not say it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from functools import partial
from typing import Final

from comfyledger import wire
from comfyledger.admission.characters.merge import filling, merged
from comfyledger.admission.workflows import fitting
from comfyledger.comfyui.node_classes import Known
from comfyledger.comfyui.workflow_checks import Template
from comfyledger.core.naming.slugs import slug
from comfyledger.errors import Refused
from comfyledger.queries.characters import NamedCharacter
from comfyledger.queries.dependencies import Dependencies
from comfyledger.settings import CharacterDefaults

MISSING_MAX: Final = 20


async def list_characters(context: Dependencies, message: wire.ListCharacters) -> wire.Characters:
    known = context.characters.now.by_slug
    slugs = list(known)
    first = bisect_right(slugs, slug(message.before)) if message.before is not None else 0
    page = slugs[first : first + message.limit]
    infos = []
    for one in page:
        infos.append(await _info(context, known[one]))
        await asyncio.sleep(0)  # a page may have hundreds
    more = first + len(page) < len(slugs)
    return wire.Characters(infos, more=more, next_cursor=page[-1] if more else "")


async def _info(context: Dependencies, named: NamedCharacter) -> wire.CharacterInfo:
    own, premade = (named.character.defaults(premade=premade) for premade in (False, True))
    missing: dict[str, list[str]] = {}
    unchecked = []
    for backend, classes in context.node_classes.items():
        if classes.known is None:
            unchecked.append(backend)
            continue
        lacks = await _missing(context, classes.known, own)
        if premade != own:
            lacks += await _missing(context, classes.known, premade)
        if lacks:
            missing[backend] = list(dict.fromkeys(lacks))[:MISSING_MAX]
    return wire.CharacterInfo(
        named.name,
        named.character.display_name or named.name,
        _defaults(context, own),
        _defaults(context, premade),
        named.file,
        missing,
        unchecked,
    )


def _defaults(context: Dependencies, defaults: CharacterDefaults) -> wire.CharacterDefaultsInfo:
    return wire.CharacterDefaultsInfo(_workflow(context, defaults), dict(defaults.inputs), defaults.prompt)


def _workflow(context: Dependencies, defaults: CharacterDefaults) -> str:
    return defaults.workflow or context.policy.default_workflow


async def _missing(context: Dependencies, known: Known, defaults: CharacterDefaults) -> list[str]:
    """Why ComfyUI would refuse the workflow with these defaults and no input of a request."""
    source = context.policy.workflows[_workflow(context, defaults)]
    try:
        workflow = await fitting.ready(context, source, known)
        inputs = merged({}, filling(defaults, workflow))
    except Refused as refusal:
        return [refusal.message]
    template = Template(workflow.key, workflow.graph, workflow.plan)
    look = partial(context.tools.checks.mistakes, template, [inputs] if inputs else [], known.info)
    found = await context.tools.large_graphs.run(len(workflow.template), look)
    return [mistake.message for mistake in found.every]
