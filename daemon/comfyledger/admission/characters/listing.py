"""Answers `list_characters`: each character with its defaults, and what each ComfyUI lacks for them.

It is compared with the node classes that ComfyUI said last. The embeddings that its texts name are asked for, because
ComfyUI renders without a missing one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from functools import partial
from typing import Final

from comfyledger import wire
from comfyledger.admission import levels
from comfyledger.admission.files import of_request
from comfyledger.admission.shots import without_files
from comfyledger.admission.workflows.prepared import ready
from comfyledger.comfyui.node_classes import Known
from comfyledger.comfyui.workflow_checks import Template
from comfyledger.core.naming.slugs import slug
from comfyledger.errors import Refused
from comfyledger.queries.characters import NamedCharacter
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.embeddings import missing_embeddings
from comfyledger.settings import CharacterDefaults, InputFile
from comfyledger.settings.characters import PLACE

MISSING_MAX: Final = 20
NAME_CHARS: Final = 200


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
    for backend, classes in list(context.node_classes.items()):
        lacks: list[str] = []
        is_checked = classes.known is not None
        for defaults in [own] if premade == own else [own, premade]:
            if not _may_render(context, backend, defaults):
                continue
            if classes.known is not None:
                lacks += await _missing(context, classes.known, defaults)
            found = await _missing_embeddings(context, backend, defaults)
            lacks += found or []
            is_checked = is_checked and found is not None
        if lacks:
            missing[backend] = list(dict.fromkeys(lacks))[:MISSING_MAX]
        unchecked += [] if is_checked else [backend]
    return wire.CharacterInfo(
        named.name,
        named.character.display_name or named.name,
        _defaults(context, own),
        _defaults(context, premade),
        named.file,
        missing,
        unchecked,
    )


def _may_render(context: Dependencies, backend: str, defaults: CharacterDefaults) -> bool:
    """Whether a ComfyUI has the tags that the workflow needs, and gets its secrets."""
    source = context.policy.workflows[_workflow(context, defaults)]
    return backend in context.policy.backends_of(source)


async def _missing_embeddings(context: Dependencies, backend: str, defaults: CharacterDefaults) -> list[str] | None:
    """None if ComfyUI had to be asked and could not."""
    texts = [defaults.prompt.replace(PLACE, ""), *(one for one in defaults.inputs.values() if isinstance(one, str))]
    if not any(missing_embeddings(text, frozenset()) for text in texts):
        return []
    embeddings = context.embeddings.get(backend)
    known = await embeddings.known(asyncio.get_running_loop().time()) if embeddings is not None else None
    if known is None:
        return None
    names = (name for text in texts for name in missing_embeddings(text, known))
    return [f"The embedding {name[:NAME_CHARS]!r} is not there." for name in names]


def _defaults(context: Dependencies, defaults: CharacterDefaults) -> wire.CharacterDefaultsInfo:
    inputs: dict[str, str | int | float | bool | wire.InputNamed | None] = {
        name: wire.InputNamed(value.input) if isinstance(value, InputFile) else value
        for name, value in defaults.inputs.items()
    }
    return wire.CharacterDefaultsInfo(_workflow(context, defaults), inputs, defaults.prompt)


def _workflow(context: Dependencies, defaults: CharacterDefaults) -> str:
    return defaults.workflow or context.policy.default_workflow


async def _missing(context: Dependencies, known: Known, defaults: CharacterDefaults) -> list[str]:
    """Why ComfyUI would refuse the workflow with these defaults and no input of a request."""
    source = context.policy.workflows[_workflow(context, defaults)]
    files = await of_request.configured(context, source, defaults)
    try:
        ground = levels.Ground(await ready(context, source, known), files, known.info)
        below = levels.lower(ground, source.files, defaults, {})
    except Refused as refusal:
        return [refusal.message]
    workflow, inputs = ground.workflow, below.filled({})
    template = Template(workflow.key, workflow.graph, workflow.plan)
    values, loads = without_files(inputs)
    look = partial(context.tools.checks.mistakes, template, [values], known.info, [loads])
    found = await context.tools.large_graphs.run(len(workflow.template), look)
    gone = [file.refusal.message for file in loads.values() if file.refusal is not None]
    return gone + [mistake.message for mistake in found.every]
