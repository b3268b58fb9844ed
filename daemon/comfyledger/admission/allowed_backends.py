"""Which ComfyUIs a request may go to, and the words for what each of them lacks. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Final

from comfyledger import wire
from comfyledger.core.scheduling.fit import allowed
from comfyledger.core.scheduling.fit_words import of_each, told_of_all
from comfyledger.errors import Refused

_HINT: Final = "Omit the tag, or add it to `tags` of a [comfyui.NAME] that can do it."


def backends_for(
    tags: Mapping[str, Collection[str]],
    message: wire.SubmitBatch,
    needs: Collection[str],
    barred: Collection[str] = (),
) -> tuple[str, ...]:
    """The ComfyUIs that may render a request, at least one, in the order of the configuration.

    `tags`: of each ComfyUI. `needs`: tags that the request, its workflow or its recipe asks for. `barred`: those that
    do not get its secrets. Raises Refused(no_backend).
    """
    pin = message.backend or ""
    if pin and pin not in tags:
        near = difflib.get_close_matches(pin, list(tags), n=1)
        known = f"Did you mean {near[0]!r}? " if near else ""
        hint = f"{known}Configured: {', '.join(tags)}."
        raise Refused("no_backend", f"There is no ComfyUI {pin!r}.", hint=hint, path="$.data.backend")
    names = allowed(tags, pin, needs, barred)
    if not names and (untrusted := allowed(tags, pin, needs)):
        text = f"The workflow has secrets, which these ComfyUIs do not get: {', '.join(untrusted)}."
        hint = "The operator can name one in [backends] trusted."
        raise Refused("no_backend", text, hint=hint, path="$.data.workflow")
    if not names:
        asked = {pin: tags[pin]} if pin else tags
        raise Refused("no_backend", lacking(asked, needs), hint=_HINT, path=_path(message))
    return names


def lacking(tags: Mapping[str, Collection[str]], needs: Collection[str]) -> str:
    """A sentence about tags that no ComfyUI has all of."""
    lacks = {name: ", ".join(repr(need) for need in needs if need not in has) for name, has in tags.items()}
    return f"No ComfyUI that may render it has every tag that it needs. Missing: {of_each(lacks)}."


def _path(message: wire.SubmitBatch) -> str:
    """The field that the tags come from."""
    if message.needs:
        return "$.data.needs"
    return "$.data.workflow" if message.like is None or message.workflow is not None else "$.data.like"


def refused_by_all(refused: Mapping[str, Refused]) -> Refused:
    """The refusal of a request that no ComfyUI takes. `refused`: what each says, at least one."""
    first = next(iter(refused.values()))
    text = told_of_all({name: refusal.message for name, refusal in refused.items()})
    return Refused(first.code, text, hint=first.hint, path=first.path, mistakes=first.mistakes)
