"""All that a plugin may import: the hook, the calls of a store, and its answers.

A plugin is a module or package named in the entry-point group `comfyledger`. It implements the hook
`comfyledger_stores`, says with `COMFYLEDGER_API = 2` for which version of this API it was written, and nothing else. It
imports its SDK when a store is opened, so that a plugin that cannot be used
is a status and not a crash. Files are passed as paths into the spool: a store reads them and never keeps, links or
changes them.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec
import pluggy

from comfyledger.accounts import keeper_of, may_write
from comfyledger.core import media
from comfyledger.core.naming.names import is_outlier, outlier_in

GROUP = "comfyledger"
API_VERSION: Final = 2
"""The version of this API. A plugin that says another one in `COMFYLEDGER_API`, or none (1), is not used."""
ADDED: Final = {2: "files of every medium, with any extension of at most 8 characters a-z and 0-9"}
"""What a plugin must be able to do since a version."""
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
medium_of = media.medium_of
"""The medium ("image", "video", "audio", "model" or "file") of files with a lower-case extension, without a dot."""
mime_type_of = media.mime_type_of
"""The MIME type of files with this extension; `application/octet-stream` of those that no table knows."""
extension_of = media.extension_of
"""The extension that a file of this name is kept under: one spelling for each kind, such as jpg for `a.JPEG`."""
IMAGE_EXTENSIONS = media.IMAGE_EXTENSIONS
"""Lower-case extensions, without a dot, of the files that a store may hold under the name of an image."""


class Series(msgspec.Struct, frozen=True):
    """A series, of which a store is asked the highest number.

    A file belongs to it if its path, after NFC and casefold, is `folder` + "/" + `stem` + digits + `suffix` + any
    extension, where digits are 1 to 15 characters 0 to 9. `folder` and `stem` are as they will be written, not folded.
    """

    folder: str
    stem: str
    suffix: str = ""


class Deposit(msgspec.Struct, frozen=True):
    """One file to store, and all facts that the store may publish about it."""

    image_id: str
    public_id: str
    """Folder and name, joined by "/", without extension; never escapes its root, portable alphabet only."""
    extension: str
    """Without dot: `safetensors`, or 1 to 8 characters a-z and 0-9. `medium_of` gives its medium."""
    path: Path
    sha256: str
    md5: str
    size_bytes: int
    first_attempt: bool


class Stored(msgspec.Struct, frozen=True):
    """The store holds the bytes under the name. `replayed`: it already did before this call."""

    url: str
    replayed: bool = False
    details: dict[str, str | int] = {}


class ImageFault(msgspec.Struct, frozen=True):
    """The image is at fault: it is parked with this reason and counted. The store goes on with other images.

    `code`: refused, collision, misnamed or altered.
    """

    code: str
    text: str


class LaneFault(msgspec.Struct, frozen=True):
    """The store is at fault: no attempt is counted. Its lane is paused and probed by one call at a time.

    `code`: not_reached, unknown, throttled, configuration, clock or full. `retry_after_s`: what the store asked for.
    """

    code: str
    text: str
    retry_after_s: float | None = None


Outcome = Stored | ImageFault | LaneFault


class Held(msgspec.Struct, frozen=True):
    """One file that a store holds, as `page` and `check` report it. Facts that are costly to find are left empty."""

    public_id: str
    extension: str
    size_bytes: int
    md5: str = ""
    sha256: str = ""
    image_id: str = ""
    """The image that it was stored for, if the store keeps that."""
    created_at_ms: int = 0
    """Milliseconds since 1970, UTC; 0 if the store does not say."""


class Page(msgspec.Struct, frozen=True):
    """Some of the files of a store. `cursor` asks for the next page, also after a restart; empty at the end.

    It has at most 4,096 characters, so that it fits into the address of a request.
    """

    held: tuple[Held, ...]
    cursor: str = ""


class Deleted(msgspec.Struct, frozen=True):
    """The store does not hold the image any more. `found`: it did until this call."""

    found: bool


class Foreign(msgspec.Struct, frozen=True):
    """The file with this name is not the image that was meant. It stays as it is."""

    text: str


Deletion = Deleted | Foreign | LaneFault


class Remark(msgspec.Struct, frozen=True):
    """One line of `comfyledger doctor` about a store. `mend`: the configuration key or the command that repairs it.

    `verdict`: ok, warning (it works so far) or failure (it does not, or will not).
    """

    verdict: Literal["ok", "warning", "failure"]
    sentence: str
    mend: str = ""


class Space(msgspec.Struct, frozen=True):
    """How much is free on the disk of a folder. `device`: the same for folders that are on one disk (`st_dev`)."""

    folder: str
    free_bytes: int
    total_bytes: int
    device: int


def space_of(folder: Path) -> Space:
    """The space on the disk of an existing folder. Blocks. Raises OSError."""
    usage = shutil.disk_usage(folder)
    named = os.fsencode(folder).decode(errors="backslashreplace")
    return Space(named, usage.free, usage.total, folder.stat().st_dev)


def daemon_may_write(folder: Path, state_dir: Path) -> bool:
    """Whether the daemon's account may make files in an existing folder. For `diagnose`, which others may run too.

    Raises OSError.
    """
    return may_write(folder, keeper_of(state_dir))


class StoreTrouble(Exception):
    """Raised by every call but `put` and `delete` if the store cannot answer. Carries a LaneFault."""

    def __init__(self, fault: LaneFault) -> None:
        self.fault = fault
        super().__init__(f"{fault.code}: {fault.text}")


class Doubted(StoreTrouble):
    """A number in a store is far above the next lower one, so it is more likely a date. A person decides.

    `number` and `below` are those of `outlier_in` in `core/naming/names.py`, `public_id` is the file that has the
    number, `extremes` is what `extremes` there says of all numbers.
    Raised by `highest_number`; `Numbers` does it. Using such a number would end the series. Skipping it might give a
    number twice.
    """

    def __init__(
        self, store: str, series: Series, public_id: str, number: int, below: int, extremes: tuple[int, ...] = ()
    ) -> None:
        self.number, self.below, self.extremes = number, below, extremes or (below, number)
        command = f"comfyledger import {shlex.quote(store)} --prefix {shlex.quote(series.folder)}"
        text = (
            f"{public_id} is numbered far above the others (the next number below {number} is {below}). If {number} "
            f"is a number of the series, run `{command} --accept-outlier`. If not, rename the file in the store, or "
            f"run `{command} --ignore-outlier` to continue above {below}."
        )
        super().__init__(LaneFault("configuration", text))


class Numbers:
    """The numbers that a store holds in a series, added one by one. Of each count of digits two are remembered."""

    def __init__(self) -> None:
        self._of_digits: dict[int, dict[int, str]] = {}
        self._places: set[int] = set()

    def add(self, number: int, public_id: str) -> None:
        """A file has this number."""
        found = self._of_digits.get(len(str(number)), {}) | {number: public_id}
        self._of_digits[len(str(number))] = {one: found[one] for one in (min(found), max(found))}

    def add_place(self, number: int) -> None:
        """Something that is no file has this number. It is skipped if it is an outlier."""
        self._places.add(number)

    @property
    def doubt(self) -> tuple[str, int, int] | None:
        """The lowest doubtful number: the file that has it, the number, and the next lower number."""
        doubt = outlier_in(self._files)
        return (self._files[doubt[0]], *doubt) if doubt is not None else None

    @property
    def _files(self) -> dict[int, str]:
        return {number: name for found in self._of_digits.values() for number, name in found.items()}

    def highest(self, store: str, series: Series) -> int:
        """The highest number, 0 if there is none. Raises Doubted if a person has to decide that."""
        doubt = self.doubt
        if doubt is not None:
            raise Doubted(store, series, *doubt, tuple(sorted(self._files)))
        highest = max(self._files, default=0)
        for number in sorted(self._places):
            highest = max(highest, number) if not is_outlier(number, highest) else highest
        return highest


class Store(Protocol):
    """A place where images go. Every call has a time limit. Cancelling a call at any point must be safe.

    A call that raises or answers something else than documented here, or gives no answer within minutes, counts as a
    died plugin: the daemon logs and counts it, and parks the image or pauses the store. A store that needs more time
    gives the seconds in an attribute `patience_s`.

    The daemon compares a file with its sha256 before each `put`. A store whose `put` does so itself, with the bytes
    that it has read to store them, says so in an attribute `compares_bytes = True`. Then the file is not read twice.
    `put` must answer `altered` if the file is missing or has other bytes, and must not answer it for any other reason.
    """

    @property
    def identity(self) -> str:
        """Name of the kind plus account or root: two configurations with one identity are the same place.

        Asked only after `prepare` has succeeded.
        """

    async def prepare(self) -> None:
        """Learn what must be known before the first use, over the network if need be. Called at the start.

        Raises StoreTrouble if that fails now. Then it is called again later, and the store is not used before.
        """

    async def highest_number(self, series: Series) -> int:
        """The highest number held in the series, 0 if none. Raises StoreTrouble or its subclass Doubted."""

    async def put(self, deposit: Deposit) -> Outcome:
        """Store the bytes under the name, or find them there. Never replaces other bytes. Trouble is returned.

        Files of one name with different extensions may both be held, or the second one is a collision.
        """

    async def check(self, public_id: str, extension: str) -> Held | None:
        """What is held under a name. Raises StoreTrouble."""

    async def delete(self, ours: Held) -> Deletion:
        """Delete a file if it is ours: if its bytes, or its context from the upload, are those of `ours`.

        A missing file counts as deleted. May be called again for the same file. Trouble is returned.
        """

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        """Write what `check` found under a name into `target`, an existing empty file. The caller compares it.

        A cancelled call may still write there, but makes no new file. Raises StoreTrouble, also if the file is gone.
        """

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """The next files, at most 500, below a folder ("" for all), in no order; each once, over all pages.

        One call to the store's account at most. Raises StoreTrouble, with `retry_after_s` if it is throttled.
        """

    async def diagnose(self) -> tuple[Remark, ...]:
        """Compare the store with its configuration, for `comfyledger doctor`. Changes nothing. Raises StoreTrouble.

        May run beside a daemon or without one, and without `prepare`. No secret is in its remarks.
        """

    async def close(self) -> None:
        """Give back connections and files. Called once."""


class Scales(Protocol):
    """What a store has besides, if it serves smaller pictures of what it holds to everybody who has their address.

    Optional: a store without it has thumbnails made by the daemon.
    """

    def thumbnail_url(self, url: str, extension: str, side_max: int) -> str:
        """An https address of a picture of a file, at most so many pixels wide and high; empty if there is none.

        `url`: what `put` answered for the file, perhaps long ago, or in another place under this name: then the answer
        is empty. Of a video a frame is shown, of an animation the first one. It is asked for each image of each answer,
        so it uses no network and no disk, and gives the same address again. Raises nothing.
        """


class Measures(Protocol):
    """What a store has besides, if it keeps its files on a disk of this machine. Optional: others name no disk."""

    async def space(self) -> Space:
        """How much is free where the files go. Called every few seconds, so it writes nothing. Raises StoreTrouble."""


class Signs(Protocol):
    """What a store has besides, if it can give people addresses of its files that end after a while.

    Optional: without it, the daemon itself sends a file that only the store has, unless `put` answered with an https
    address, to which people are sent.
    """

    async def file_url(self, url: str) -> str:
        """An https address of a file, for everybody who has it, for a while; empty if there is none.

        `url`: what `put` answered for the file, as for `thumbnail_url` of `Scales`. Asked for one file at a time, when
        somebody wants it; without an answer within 10 s, the daemon sends the file.
        """


class Warns(Protocol):
    """What a store has besides, if its section lets it break a promise of comfyledger. Optional."""

    @property
    def caveat(self) -> str:
        """A sentence that says which promise does not hold, and what may happen; empty if all hold.

        `comfyledger status` and the web page show it. It is asked often, also before `prepare`, so it uses no network
        and no disk. Raises nothing.
        """


class StoreKind(Protocol):
    """Makes a store of one kind from its section `[stores.NAME]` of the configuration."""

    def __call__(self, name: str, options: Mapping[str, Any], state_dir: Path) -> Store:
        """Open the store without using the network. Raises ValueError with a sentence for invalid options."""


@hookspec
def comfyledger_stores() -> Mapping[str, StoreKind]:  # type: ignore[empty-body]
    """The kinds of store that this plugin offers, by the word that `kind = "..."` uses in the configuration."""
