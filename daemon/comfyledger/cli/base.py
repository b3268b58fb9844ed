"""What commands share: exit codes, refusals, the connection to the daemon, batch ids that are given in part.

Imports click and nothing slow: `comfyledger --version` and `comfyledger -h` import this module and `main` alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Unpack

import click

from comfyledger.errors import LedgerUnusable, Refused

if TYPE_CHECKING:
    from comfyledger import wire
    from comfyledger.client import Client
    from comfyledger.client.image_filters import ImageFilters

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NOT_STORED: Final = 3
NO_DAEMON: Final = 4
NO_LEDGER: Final = 5
FOUND: Final = 6
INTERRUPTED: Final = 130

EXIT_CODES: Final = {
    DONE: "done",
    REFUSED: "refused: the reason is on standard error, or with --json on standard output",
    USAGE: "the command line is not valid",
    NOT_STORED: "the batch ended with images that are not stored",
    NO_DAEMON: "no daemon answers",
    NO_LEDGER: "only `run`: the ledger cannot be opened or written, or a disk failed",
    FOUND: "`audit` or `replay --check`: something is not as the log says; `doctor`: something is broken",
    INTERRUPTED: "interrupted",
}
"""What each exit code means. 2 is set by click, 5 by the daemon."""

JSON: Final = "comfyledger.json"
LABEL: Final = "cli"
"""The label of the command line's request ids."""
ID_CHARS: Final = 26
"""Length of a whole batch id, a ULID."""
PART_CHARS_MIN: Final = 6
PART_OF_ID: Final = re.compile(rf"last|[0-9A-Za-z]{{{PART_CHARS_MIN},{ID_CHARS - 1}}}")
"""What may be a part of a batch id, where something else may be meant."""
PAGE: Final = 500
PAGES_MAX: Final = 20


class Reach(NamedTuple):
    """Where the global options say that the daemon is."""

    state_dir: Path | None
    url: str | None

    def client(self) -> Client:
        from comfyledger.client import Client

        return Client(self.url, None, self.state_dir, name=LABEL, on_waiting=_say_waiting)


def _say_waiting(waiting: wire.Waiting) -> None:
    from comfyledger.cli.ui.terminal import say_aside

    say_aside(f"waiting: {waiting.message}")


class Group(click.Group):
    """A group of commands that ends each refusal with its exit code instead of a traceback."""

    sections: Mapping[str, tuple[str, ...]] | None = None
    """The titles of the groups in the help, each with the names of its commands."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refused as refusal:
            from comfyledger.cli.ui.terminal import say_refusal

            say_refusal(refusal, bool(ctx.meta.get(JSON)))
            ctx.exit(NO_DAEMON if refusal.code in {"not_running", "timeout"} else REFUSED)
        except click.ClickException as error:
            from comfyledger.cli.ui.terminal import clean

            error.message = clean(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List each command with its whole first sentence, in groups if there are any."""
        shown = {name: self.sentence(ctx, name) for name in self.list_commands(ctx)}
        width = max(map(len, shown), default=0)
        for title, names in (self.sections or {"Commands": tuple(shown)}).items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), shown[name]) for name in names])

    def sentence(self, ctx: click.Context, name: str) -> str:
        """The sentence that help shows for one command."""
        command = self.get_command(ctx, name)
        return first_sentence(command) if command else ""


def first_sentence(command: click.Command) -> str:
    text = " ".join((command.help or "").partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."


def _remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """`--json` may stand before the command or after it."""
    ctx.meta[JSON] = value or bool(ctx.meta.get(JSON))
    return bool(ctx.meta[JSON])


_CHECK_FOLDER = "Check folder, permissions and disk."


@contextmanager
def refusing() -> Iterator[None]:
    """A file or disk that cannot be read becomes a refusal with its hint, as everywhere on the command line."""
    import sqlite3

    try:
        yield
    except LedgerUnusable as error:
        raise Refused("ledger_unusable", error.message, hint=error.hint or _CHECK_FOLDER) from error
    except BrokenPipeError:  # The reader of the output has seen enough.
        raise
    except (OSError, sqlite3.Error) as error:
        raise Refused("ledger_unusable", f"{error}.", hint=_CHECK_FOLDER) from error


json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Print JSON, for scripts."
)

Work = Callable[..., Coroutine[Any, Any, int]]


def asks_daemon(work: Work) -> Callable[..., None]:
    """Turn a function into a command: it gets a connected client first, and returns the exit code."""

    @click.pass_context
    @functools.wraps(work)
    def call(ctx: click.Context, /, **options: Any) -> None:
        import asyncio

        async def connected() -> int:
            async with ctx.find_object(Reach).client() as client:  # type: ignore[union-attr]
                return await work(client, **options)

        ctx.exit(asyncio.run(connected()))

    return call


class Lists(Protocol):
    """What can list batches and images: the client of a daemon, or a ledger file."""

    async def list_batches(
        self, *, username: str | None = None, open_only: bool = False, before: str | None = None, limit: int = 50
    ) -> wire.Batches: ...

    async def list_images(
        self,
        *,
        before: str | None = None,
        limit: int = 50,
        **filters: Unpack[ImageFilters],
    ) -> wire.Images: ...


async def find_batch(client: Lists, given: str) -> str:
    """The whole batch id for `last`, or for at least six characters of its beginning or end.

    Raises Refused(unknown_batch), with the ids that a part fits.
    """
    if len(given) >= ID_CHARS:
        return given
    if given == "last":
        newest = (await client.list_batches(limit=1)).batches
        found = [batch.batch_id for batch in newest]
    elif len(given) < PART_CHARS_MIN:
        raise Refused(
            "unknown_batch",
            f"{given!r} is too short for a part of a batch id.",
            hint=f"Give at least {PART_CHARS_MIN} characters from the beginning or the end of the id, or `last`.",
        )
    else:
        found = await batches_fitting(client, given)
    if not found:
        raise Refused("unknown_batch", f"No batch matches {given!r}.", hint="See `comfyledger batches`.")
    if len(found) > 1:
        several = f"It may be one of: {', '.join(found[:5])}."
        raise Refused("unknown_batch", f"More than one batch matches {given!r}.", hint=several)
    return found[0]


async def batches_fitting(client: Lists, given: str) -> list[str]:
    """The batch ids that begin or end with a part of one."""
    found, part = [], given.upper()
    for batch in await list_batches(client):
        whole = batch.batch_id.upper()
        if whole.startswith(part) or whole.endswith(part):
            found.append(batch.batch_id)
    return found


async def list_batches(client: Lists, *, username: str | None = None, open_only: bool = False) -> list[wire.BatchInfo]:
    """Batches page by page, newest first, up to a limit."""
    batches: list[wire.BatchInfo] = []
    for _ in range(PAGES_MAX):
        before = batches[-1].batch_id if batches else None
        page = await client.list_batches(username=username, open_only=open_only, before=before, limit=PAGE)
        batches += page.batches
        if not page.more:
            break
    return batches
