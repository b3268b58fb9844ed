"""Why an image waits for the images that it is made from, or could not be made from them. Pure.

A source that its reader may not see is not named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.decide.sources import has_bytes, has_ended
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import ImageAt, image_id

Sources = Mapping[ImageAt, ImageRow]

SOURCE: Final = "source"
"""The code of what waits for an image."""
SOURCES_SHOWN: Final = 10
"""Sources for which a batch has an entry each."""
_OTHERS: Final = {
    SOURCE: "They wait for other images that they are made from.",
    INPUT_FAILED: "Other images or inputs that they are made from cannot be had.",
}
_ENDED: Final = {"cancelled": "was cancelled", "forgetting": "was forgotten", "forgotten": "was forgotten"}


def sources_of(prompts: Iterable[PromptRow]) -> list[ImageAt]:
    """The images that prompts are made from, each once."""
    loads = (load for prompt in prompts for load in prompt.loads)
    return list(dict.fromkeys(load.source for load in loads if load.source is not None))


def waiting_for(prompt: PromptRow, sources: Sources) -> Iterator[wire.OwedInfo]:
    """An entry for each image that a prompt waits for; none if it has all it needs."""
    for source in sources_of([prompt]) if prompt.lacks_sources else ():
        image = sources.get(source)
        if not has_bytes(image):
            sentence, command = _waits(image)
            yield wire.OwedInfo("render", SOURCE, sentence, command)


def _waits(image: ImageRow | None) -> tuple[str, str]:
    """What is said of an image that has no bytes, and the command that helps."""
    if image is None:
        return "It waits for an image that it is made from.", ""
    it_waits = f"It waits for {image.file}, which"
    if has_ended(image):
        return f"{it_waits} {how_it_ended(image)}.", _retry(image)
    if image.awaits_choice:
        command = f"comfyledger retry {image.batch_id} --take first"
        return f"{it_waits} needs a person to choose among the files of its run.", command
    return (
        f"{it_waits} is not rendered yet. `comfyledger explain {image_id(image.batch_id, image.index)}` says why.",
        "",
    )


def cannot_be_had(prompt: PromptRow, sources: Sources) -> tuple[str, str] | None:
    """What to do about the first image that a prompt is made from and that has ended, and the command; None if all may
    be looked for anew.
    """
    for source in sources_of([prompt]):
        image = sources.get(source)
        if image is not None and has_ended(image):
            if image.state == "failed":
                return f"A retry of {image.file} tries this again, too.", _retry(image)
            return f"{image.file} {how_it_ended(image)}: request it again, made from another image.", ""
    return None


def how_it_ended(image: ImageRow) -> str:
    """Words about an image that has ended, like `failed (execution_error)`."""
    return f"failed ({image.code})" if image.state == "failed" else _ENDED[image.state]


def _retry(image: ImageRow) -> str:
    return f"comfyledger retry {image.batch_id} --image {image.index}" if image.state == "failed" else ""


def by_source(found: Iterable[wire.OwedInfo]) -> Iterator[wire.OwedInfo]:
    """The same entries. Beyond the first sources they do not say any more which image it is."""
    shown: set[str] = set()
    for one in found:
        text = _OTHERS.get(one.code)
        if text is not None and one.text not in shown and len(shown) >= SOURCES_SHOWN:
            yield replace(one, text=text, command="")
        else:
            shown |= {one.text} if text is not None else set()
            yield one
