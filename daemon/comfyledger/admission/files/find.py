"""Finds the files that a request names: input files, and images of the ledger.

What a caller may not see is answered as what does not exist. What stands at a lower level, in a workflow or with a
character, counts only where nothing overrides it; so it is refused only then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import UNSET

from comfyledger import wire
from comfyledger.admission.files.images import image_asked, source
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.decide.inputs import missing
from comfyledger.core.media import medium_of
from comfyledger.core.values import LoadedFile, image_id
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.queries import listings
from comfyledger.queries.dependencies import AdmissionPolicy

Fetch = Callable[[str], Awaitable[str]]
"""Gives the SHA-256 of the file at an address; empty if it was not fetched. Raises Refused."""
Files = Mapping[wire.FileAsked, graphs.GivenFile]
NO_FILES: Final[Files] = {}
_UNKNOWN: Final = graphs.GivenFile()


class Finder(NamedTuple):
    """Who asks, and what may be found."""

    reader: Reader
    """Shows what the caller may see."""
    label: str
    """The client, whose request ids are meant."""
    policy: AdmissionPolicy
    fetch: Fetch | None = None
    """Adds the file at an address. None if none may be fetched."""

    async def find(self, asked: Iterable[tuple[str, wire.FileAsked]]) -> dict[wire.FileAsked, graphs.GivenFile]:
        """The files by what names them. `asked`: each with the field that names it.

        Raises Refused: input_missing, unknown_image, input_failed, chain_too_deep, invalid_field, and as `fetch` does.
        """
        found: dict[wire.FileAsked, graphs.GivenFile] = {}
        for path, file in asked:
            if file not in found:
                try:
                    found[file] = await self._find(file)
                except Refused as refusal:
                    raise refusal.at(path) from refusal
        return found

    async def find_lower(self, asked: Iterable[wire.FileAsked]) -> dict[wire.FileAsked, graphs.GivenFile]:
        """The files by what names them. One that cannot be used has the refusal, for whoever finds that it counts."""
        return {file: await _or_refusal(self._find(file)) for file in asked}

    async def find_loaded(self, load: LoadedFile) -> graphs.GivenFile:
        """A file that a prompt loads, for another prompt. One that cannot be used has the refusal."""
        return await _or_refusal(self._loaded(load))

    async def _fetched(self, url: str) -> graphs.GivenFile:
        if self.fetch is None:
            raise Refused("url_not_allowed", hint="Name the input by its sha256.")
        sha256 = await self.fetch(url)
        return await input_file(self.reader, sha256, self.label) if sha256 else _UNKNOWN

    async def _loaded(self, load: LoadedFile) -> graphs.GivenFile:
        if load.source is None:
            return await input_file(self.reader, load.sha256, self.label)
        image = await self.reader.image(load.source.batch_id, load.source.image)
        if image is None:
            raise listings.unknown_image(image_id(load.source.batch_id, load.source.image))
        return await source(self.reader, image, self.policy.chain_depth_max)

    async def _find(self, asked: wire.FileAsked) -> graphs.GivenFile:
        if asked.url:
            return await self._fetched(asked.url)
        if asked.image is UNSET:
            return await input_file(self.reader, asked.sha256, self.label)
        image = await image_asked(self.reader, self.label, asked.image, self.policy.templates)
        return await source(self.reader, image, self.policy.chain_depth_max)


async def _or_refusal(finding: Awaitable[graphs.GivenFile]) -> graphs.GivenFile:
    try:
        return await finding
    except Refused as refusal:
        return graphs.GivenFile(refusal=refusal)


async def input_file(reader: Reader, sha256: str, label: str) -> graphs.GivenFile:
    """An input as a file of a label. Raises Refused(input_missing)."""
    row = await reader.input(sha256) if sha256 else None
    if row is None or not row.is_usable:
        raise missing(sha256)
    extension, called = row.extension_for(label), f"sha256:{sha256[:12]}…"
    return graphs.GivenFile(sha256, extension, row.size_bytes, medium_of(extension), called=called)


def files_of(message: wire.SubmitBatch) -> Iterator[tuple[str, wire.FileAsked]]:
    """The files that a request gives as inputs, each with its field."""
    yield from _files(message.inputs, "$.data.inputs.")
    for place, image in enumerate(message.images or ()):
        yield from _files(image.inputs, f"$.data.images[{place}].inputs.")
    for name, values in message.inputs_each.items():
        for place, value in enumerate(values):
            yield from _files({f"{name}[{place}]": value}, "$.data.inputs_each.")


def _files(inputs: Mapping[str, wire.InputValue], path: str) -> Iterator[tuple[str, wire.FileAsked]]:
    for name, value in inputs.items():
        if isinstance(value, wire.FileAsked):
            yield f"{path}{name}", value


def filled(inputs: Mapping[str, wire.InputValue], files: Files) -> dict[str, object]:
    """The inputs with the files in place of what names them. Of a file that was not looked for nothing is known."""
    return {
        name: files.get(value, _UNKNOWN) if isinstance(value, wire.FileAsked) else value
        for name, value in inputs.items()
    }
