"""All that a plugin may import: the hook, what a store is asked, and what it may answer.

A plugin is a flat module named in the entry-point group `comfyledger`. It implements `comfyledger_stores` and nothing
else is asked of it. Its SDK is imported inside the store's `open`, so that a plugin that cannot be used is a status
and not a crash. Files travel as paths into the spool: a store reads them, it never keeps, links or changes them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import pluggy

from comfyledger.accounts import keeper_of, may_write
from comfyledger.core.naming.names import is_outlier, outlier_in

GROUP = "comfyledger"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Series(msgspec.Struct, frozen=True):
    """What a store is asked the highest number of.

    A file belongs to it if its path, after NFC and casefold, is `folder` + "/" + `stem` + digits + `suffix` + any
    extension, where digits are 1 to 15 signs 0 to 9. `folder` and `stem` are as they will be written, not folded.
    """

    folder: str
    stem: str
    suffix: str = ""


class Deposit(msgspec.Struct, frozen=True):
    """One file that a store shall hold, and all that it may say about it."""

    image_id: str
    public_id: str
    """Folder and name, joined by "/", without extension; never escapes its root, portable alphabet only."""
    extension: str
    """png, jpg or webp, without dot."""
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
    """The image's own trouble: it is parked with this reason and counted; the store goes on with others.

    `code`: refused, collision, misnamed or altered.
    """

    code: str
    text: str


class LaneFault(msgspec.Struct, frozen=True):
    """The store's own trouble: no attempt is counted, the lane is paused and probed by one call at a time.

    `code`: not_reached, unknown, throttled, configuration, clock or full. `retry_after_s`: what the store asked for.
    """

    code: str
    text: str
    retry_after_s: float | None = None


Outcome = Stored | ImageFault | LaneFault


class Held(msgspec.Struct, frozen=True):
    """One file that a store holds, as `page` and `check` say it. What would be dear to find out is left empty."""

    public_id: str
    extension: str
    size_bytes: int
    md5: str = ""
    sha256: str = ""
    image_id: str = ""
    """The image that it was stored for, where the store keeps what was said about a file."""
    created_at_ms: int = 0
    """Since 1970, UTC; 0 where the store does not say."""


class Page(msgspec.Struct, frozen=True):
    """Some of what a store holds. `cursor` asks for what comes next, also after a restart; empty at the end."""

    held: tuple[Held, ...]
    cursor: str = ""


class Deleted(msgspec.Struct, frozen=True):
    """The store does not hold the image. `found`: it did until this call."""

    found: bool


class Foreign(msgspec.Struct, frozen=True):
    """What has the name is not the image that was meant; it was left as it is."""

    text: str


Deletion = Deleted | Foreign | LaneFault


class Remark(msgspec.Struct, frozen=True):
    """One line of `comfyledger doctor` about a store. `mend`: the key of the configuration, or the deed, that mends it.

    `verdict`: ok, warning (it works so far) or failure (it does not, or will not).
    """

    verdict: Literal["ok", "warning", "failure"]
    sentence: str
    mend: str = ""


def daemon_may_write(folder: Path, state_dir: Path) -> bool:
    """Whether the daemon's account may make files in a folder that exists, for `diagnose`: others may ask as well.

    Raises OSError.
    """
    return may_write(folder, keeper_of(state_dir))


class StoreTrouble(Exception):
    """Raised by everything but `put` when the store cannot answer; carries a LaneFault."""

    def __init__(self, fault: LaneFault) -> None:
        self.fault = fault
        super().__init__(f"{fault.code}: {fault.text}")


class Doubted(StoreTrouble):
    """A store holds a number far above the one below it, more likely a date than a number: a person decides.

    `number` and `below` are those of `outlier_in` in `core/naming/names.py`, `public_id` is the file that has the
    number, `extremes` is what `extremes` there says of all numbers.
    Raised by `highest_number`, as `Numbers` does it. To use such a number would end the series, to pass it over might
    give a number twice.
    """

    def __init__(
        self, store: str, series: Series, public_id: str, number: int, below: int, extremes: tuple[int, ...] = ()
    ) -> None:
        self.number, self.below, self.extremes = number, below, extremes or (below, number)
        command = f"comfyledger import {shlex.quote(store)} --prefix {shlex.quote(series.folder)}"
        text = (
            f"{public_id} is numbered far above the others (the next number below {number} is {below}). If that is a "
            f"number, run `{command} --accept-outlier`. If it is none, rename the file in the store, or run "
            f"`{command} --ignore-outlier` to go on above {below}."
        )
        super().__init__(LaneFault("configuration", text))


class Numbers:
    """The numbers that a store holds under a series, added one by one; of each count of digits two are remembered."""

    def __init__(self) -> None:
        self._of_digits: dict[int, dict[int, str]] = {}
        self._places: set[int] = set()

    def add(self, number: int, public_id: str) -> None:
        """A file has this number."""
        found = self._of_digits.get(len(str(number)), {}) | {number: public_id}
        self._of_digits[len(str(number))] = {one: found[one] for one in (min(found), max(found))}

    def add_place(self, number: int) -> None:
        """Something that is no file has the name of this number. It is passed over if it is an outlier."""
        self._places.add(number)

    @property
    def doubt(self) -> tuple[str, int, int] | None:
        """The lowest number that is not believed, after the file that has it, and the number below it."""
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
    """A place where images go. Every call has a bound in time; cancelling one at any point must be safe.

    What raises anything else than it says here, answers anything else, or does not answer within minutes has died: the
    daemon logs and counts it, and parks the image or pauses the store. A store that needs more time says how many
    seconds in an attribute `patience_s`.
    """

    @property
    def identity(self) -> str:
        """Name of the kind plus account or root: two configurations with one identity are the same place.

        Asked only after `prepare` has succeeded.
        """

    async def prepare(self) -> None:
        """Find out what must be known before the first use, over the network if need be. Called at the start.

        Raises StoreTrouble if that cannot be had now: it is called again later, and the store is not used before.
        """

    async def highest_number(self, series: Series) -> int:
        """The highest number held under the series, 0 if none. Raises StoreTrouble, of which Doubted is one kind."""

    async def put(self, deposit: Deposit) -> Outcome:
        """Store the bytes under the name, or find them there; never replace other bytes. Never raises for trouble."""

    async def check(self, public_id: str, extension: str) -> Held | None:
        """What is held under a name. Raises StoreTrouble."""

    async def delete(self, ours: Held) -> Deletion:
        """Delete a file, if it is ours: if its bytes or what was said when it was stored are those of `ours`.

        What is not there counts as deleted. May be asked again for the same file. Never raises for trouble.
        """

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        """Write what `check` found under a name into `target`, an empty file that is there; the caller compares it.

        A call that was given up may still write there, but makes no file anew. Raises StoreTrouble, also if it is gone.
        """

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """The next files, at most 500, below a folder ("" for all), in no order; each once, over all pages.

        One call to the store's account at most. Raises StoreTrouble, with `retry_after_s` if it is throttled.
        """

    async def diagnose(self) -> tuple[Remark, ...]:
        """What its place says of itself, against the configuration. Changes nothing. Raises StoreTrouble.

        For a person, beside a daemon or without one; nothing is prepared for it. No secret is in what it says.
        """

    async def close(self) -> None:
        """Give back connections and files. Called once."""


class StoreKind(Protocol):
    """Makes a store of one kind from its section `[stores.NAME]` of the configuration."""

    def __call__(self, name: str, options: Mapping[str, Any], state_dir: Path) -> Store:
        """Raises ValueError with a sentence for options that cannot be used; does not go out to the network."""


@hookspec
def comfyledger_stores() -> Mapping[str, StoreKind]:  # type: ignore[empty-body]
    """The kinds of store that this plugin brings, by the word that `kind = "..."` uses in the configuration."""
