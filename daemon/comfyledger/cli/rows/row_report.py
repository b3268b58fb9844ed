"""What is said of a file's rows: each refusal, each wait, the counts at the end; with `--json` a line for each row."""

from __future__ import annotations

from typing import Final

from comfyledger import wire
from comfyledger.cli.rows.row_file import Row
from comfyledger.cli.ui.bars import Meter
from comfyledger.cli.ui.terminal import plain, say, say_json, several
from comfyledger.errors import Refused
from comfyledger.wire import error_of

LINE_EVERY_ROWS: Final = 100
"""Without a terminal one line is printed for this many rows."""
AGAIN: Final = "To continue, run the same command again: what was submitted is not submitted twice."
CHANGED: Final = "The row was submitted before with other options. To submit it again, give --run a new name."


class RowReport:
    """Counts rows and prints what they became. `total`: the rows of the file."""

    def __init__(self, shown: Meter, total: int, as_json: bool) -> None:
        self._shown = shown
        self._total = total
        self._as_json = as_json
        self._hints: set[tuple[str, str]] = set()
        self._waited: tuple[str, int] | None = None
        self.new = self.before = self.checked = self.failed = 0

    def accepted(self, row: Row, request_id: str, batch: wire.BatchAccepted) -> None:
        if batch.dry_run:
            self.checked += 1
        elif batch.repeated:
            self.before += 1
        else:
            self.new += 1
        if self._as_json:
            say_json({"line": row.line, "request_id": request_id, **plain(batch)})
        self._count()

    def refused(self, row: Row, refusal: Refused) -> None:
        """A hint is printed once for each code."""
        self.failed += 1
        if self._as_json:
            say_json({"line": row.line, "error": error_of(refusal)})
        else:
            place = f" at {refusal.path}" if refusal.path else ""
            self._shown.say(f"line {row.line}: {refusal.code}{place}: {refusal.message}")
            self._say_hint(refusal)
        self._count()

    def waits(self, refusal: Refused) -> None:
        """In a pipe said once for each reason and page of rows: at a limit each row may have to wait."""
        now = refusal.code, self._done // LINE_EVERY_ROWS
        if self._shown.is_live or self._waited != now:
            self._shown.wait(f"waiting, {self._done:,} of {self._total:,} rows are done: {refusal.message}")
        self._waited = now

    def say_end(self) -> None:
        if self._as_json:
            counts = {"new": self.new, "before": self.before, "checked": self.checked, "refused": self.failed}
            say_json({"rows": self._done, **counts})
            return
        parts = [f"{self.new:,} new", f"{self.before:,} submitted before"]
        if self.checked:
            parts = [f"{self.checked:,} would be submitted; no number was given"]
        say(f"{several(self._done, 'row')} of {self._total:,}: {', '.join(parts)}; {self.failed:,} refused.")

    @property
    def _done(self) -> int:
        return self.new + self.before + self.checked + self.failed

    def _count(self) -> None:
        text = f"{self._done:,} of {self._total:,} rows, {self.failed:,} refused"
        self._shown.count(self._done, text)
        self._shown.progress(self._done, self._total, text)

    def _say_hint(self, refusal: Refused) -> None:
        hint = CHANGED if refusal.code == "request_id_conflict" else refusal.hint
        if hint and (refusal.code, hint) not in self._hints and len(self._hints) < 100:
            self._hints.add((refusal.code, hint))
            self._shown.say(f"  {hint}")
