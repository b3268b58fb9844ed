"""How a request gives a file to an input of a workflow: an input file by its bytes, or an earlier image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from comfyledger.core.media import Medium
from comfyledger.wire.requests.parts import Message
from comfyledger.wire.strict import PATH_CHARS_MAX

SHA256: Final = "sha256:"
_INPUT: Final = re.compile(rf"{SHA256}[0-9a-f]{{64}}|https?://[^/\s]\S*", re.IGNORECASE)
Name = Annotated[str, Meta(max_length=1_000)]


class ImageWanted(Message, frozen=True):
    """An earlier image by its number (`username`, `character`, `number`), or by the request that asked for it
    (`request_id`, `index`). The image need not be made yet."""

    username: Annotated[Name | UnsetType, Meta(description="Its user, as in `submit_batch`.", examples=["Areg"])] = (
        UNSET
    )
    character: Annotated[
        Name | UnsetType, Meta(description="Its character, as in `submit_batch`.", examples=["Opal Fever"])
    ] = UNSET
    number: Annotated[
        Annotated[int, Meta(ge=0, le=2**53)] | UnsetType, Meta(description="Its number in the series.", examples=[17])
    ] = UNSET
    premade: Annotated[
        bool | UnsetType,
        Meta(
            description="Which collection it is in, as in `submit_batch`. If absent, both are searched, and a number"
            " that both have is refused.",
            examples=[True],
        ),
    ] = UNSET
    medium: Annotated[
        Medium | UnsetType, Meta(description="The medium of its series. Default: `image`.", examples=["image"])
    ] = UNSET
    request_id: Annotated[
        Annotated[str, Meta(max_length=128)] | UnsetType,
        Meta(description="The `request_id` of its batch, of the same client.", examples=["order-1001"]),
    ] = UNSET
    index: Annotated[
        Annotated[int, Meta(ge=1, le=2**31 - 1)] | UnsetType,
        Meta(description="Its index in that batch, from 1.", examples=[1]),
    ] = UNSET

    def __post_init__(self) -> None:
        named = {field for field in self.__struct_fields__ if getattr(self, field) is not UNSET}
        if named != {"request_id", "index"} and not _BY_NUMBER <= named <= _BY_NUMBER | {"premade", "medium"}:
            raise ValueError("An image is given by username, character and number, or by request_id and index")


_BY_NUMBER: Final = {"username", "character", "number"}


class FileAsked(Message, frozen=True):
    """A file for an input of the workflow, in place of a value: an input file, or an earlier image. It has exactly one
    of the two fields."""

    input: Annotated[
        Annotated[str, Meta(max_length=2_000)] | UnsetType,
        Meta(
            description="An input file, by `sha256:` and its SHA-256; or the address of a file on a server that"
            " `[inputs] url_hosts` names, which the daemon then adds as an input.",
            examples=["sha256:478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = UNSET
    image: Annotated[
        Name | ImageWanted | UnsetType,
        Meta(
            description="An earlier image: its public id, its file name, `<batch_id>/<index>`, or an object. The image"
            " need not be made yet: what is made from it waits for it.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ] = UNSET

    def __post_init__(self) -> None:
        if (self.input is UNSET) == (self.image is UNSET):
            raise ValueError("A file is given by exactly one of `input` and `image`")
        if self.input is not UNSET and not _INPUT.fullmatch(self.input):
            raise ValueError(f"An `input` is {SHA256} and 64 hexadecimal digits, or an address like https://HOST/FILE")

    @property
    def sha256(self) -> str:
        """The SHA-256 that it names, in hexadecimal; empty for an address, and for an image."""
        return str(self.input)[len(SHA256) :].lower() if self.input is not UNSET and not self.url else ""

    @property
    def url(self) -> str:
        """The address that it names; empty for a SHA-256, and for an image."""
        return self.input if self.input is not UNSET and "://" in self.input else ""


Scalar = str | int | float | bool | None
InputValue = str | int | float | bool | FileAsked | None
"""A value of an input of a workflow."""


# ---- where one is wrong

_ANY_KEY: Final = "[...]"
"""What msgspec says in place of a key of an object."""
_STEP: Final = re.compile(r"\.([a-z_]+)|\[([0-9]+)\]")
_values: Final[Mapping[str, msgspec.json.Decoder[object]]] = {
    "inputs": msgspec.json.Decoder(InputValue),
    "inputs_each": msgspec.json.Decoder(Annotated[list[InputValue], Meta(min_length=1)]),
}
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_entries: Final = msgspec.json.Decoder(list[msgspec.Raw])


def keyed(path: str, data: bytes | msgspec.Raw) -> str:
    """The path of a wrong value below `$.data`, with the name of the input in place of `[...]`."""
    way, found, rest = path.partition(_ANY_KEY)
    if not found:
        return path
    steps = list(_STEP.finditer(way.removeprefix("$.data")))
    values = _values.get(steps[-1][1] or "") if steps else None
    if values is None:
        return path
    try:
        for step in steps:
            data = _fields.decode(data)[step[1]] if step[1] is not None else _entries.decode(data)[int(step[2])]
        name = next(name for name, value in _fields.decode(data).items() if not _fits(value, values))
    except (msgspec.DecodeError, RecursionError, LookupError, StopIteration):
        return path
    return f"{way}.{name[:PATH_CHARS_MAX]}{rest}"


def _fits(value: msgspec.Raw, values: msgspec.json.Decoder[object]) -> bool:
    try:
        values.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
