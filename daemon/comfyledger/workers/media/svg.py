"""SVG: read to its end as XML, and never drawn; what programs wrote into `metadata` becomes spaces.

ComfyUI's SaveSVGNode writes prompt and workflow there. Nothing outside the file is read, and no entity is expanded.
"""

from __future__ import annotations

from typing import BinaryIO, Final
from xml.parsers import expat

from comfyledger.workers.media.broken_file import PIECE_BYTES, Broken, check_parts, truncated
from comfyledger.workers.media.masked import Mask, Measured

TEXTS: Final = "metadata"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_CODES: Final = expat.errors.codes
ENDED: Final = frozenset(
    _CODES[text]
    for text in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)
"""Errors of a text that ends too early."""


class _Reading:
    """One reading of a drawing: how deep its elements are nested, and what is to be masked."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.DefaultHandler = self._other
        self.masks: list[Mask] = []
        self._parts = self._depth = 0
        self._texts_depth = 0
        """The depth of the `metadata` that is open; 0 without one."""
        self._texts_at: int | None = None
        """Where its content begins: with the part after its tag."""

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._other("")
        self._depth += 1
        local = name.rpartition(":")[2]
        if self._depth == 1 and local != "svg":
            raise Broken("structure", "The file is no SVG: its first element has another name.")
        if local == TEXTS and not self._texts_depth:
            self._texts_depth, self._texts_at = self._depth, None

    def _end(self, name: str) -> None:
        self._other("")
        if self._depth == self._texts_depth and self._texts_at is not None:
            self.masks.append(Mask(self._texts_at, self.parser.CurrentByteIndex - self._texts_at, fill=b" "))
        if self._depth == self._texts_depth:
            self._texts_depth = 0
        self._depth -= 1

    def _other(self, text: str) -> None:
        check_parts(self._parts)
        self._parts += 1
        if self._texts_depth and self._texts_at is None:
            self._texts_at = self.parser.CurrentByteIndex


def measure_svg(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the file is one whole element `svg`."""
    reading = _Reading()
    file.seek(0)
    head = file.read(2)
    file.seek(0)
    try:
        while piece := file.read(PIECE_BYTES):
            reading.parser.Parse(piece, False)
        reading.parser.Parse(b"", True)
    except expat.ExpatError as error:
        if error.code in ENDED:
            raise truncated() from error
        raise Broken("structure", f"The SVG cannot be read: {str(error)[:100]}.") from error
    if reading.masks and head in UTF16:
        raise Broken("structure", "The SVG has metadata in UTF-16, which cannot be taken out in place.")
    return Measured("svg", masks=tuple(reading.masks))
