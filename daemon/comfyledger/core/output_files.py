"""Which file of a run belongs to which image: each output's files go to its own images, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from comfyledger.core.rows import ImageRow
from comfyledger.core.values import OutputFile


class OutputFiles(msgspec.Struct, frozen=True):
    """What one output of a run has: its images by index, and the places (from 1) of its files among all of the run."""

    output: int
    images: tuple[int, ...]
    places: tuple[int, ...]

    @property
    def is_surplus(self) -> bool:
        """Whether there are more files than images, so that a person must choose."""
        return len(self.places) > len(self.images)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The images that have a file, each with its place."""
        return tuple(zip(self.images, self.places, strict=False))

    @property
    def without_file(self) -> tuple[int, ...]:
        return self.images[len(self.places) :]


def by_output(images: Iterable[ImageRow], files: Sequence[OutputFile]) -> list[OutputFiles]:
    """One entry for each output that has images. `images`: all of a prompt, in its order; `files`: all of the run."""
    theirs: dict[int, list[int]] = {}
    for image in images:
        theirs.setdefault(image.output, []).append(image.index)
    places: dict[int, list[int]] = {output: [] for output in theirs}
    for place, file in enumerate(files, 1):
        places.setdefault(file.output, []).append(place)
    return [OutputFiles(output, tuple(theirs[output]), tuple(places[output])) for output in sorted(theirs)]
