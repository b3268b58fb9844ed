"""`workflow`: what would be done with a workflow, its API format, and its section of the configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from comfyledger import wire
from comfyledger.cli.base import DONE, REFUSED, Group, Reach, json_option
from comfyledger.cli.ui.terminal import say_aside, say_json
from comfyledger.cli.ui.workflow_view import say_report, say_sum
from comfyledger.cli.workflow_checks import Saved, checks, saved_info
from comfyledger.errors import Refused

F = TypeVar("F", bound=Callable[..., Any])

NOT_SHOWN: Final = frozenset({"graph"})
NOBODY: Final = "No daemon answers, so node classes are unknown and the UI format is not read. Or give --object-info."

object_info_option: Callable[[F], F] = click.option(
    "--object-info",
    "info_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A saved answer of ComfyUI's /object_info, plain or .gz, instead of a daemon.",
)


@click.group(cls=Group)
def workflow() -> None:
    """Check workflows, print their API format, or add one to the configuration."""


@workflow.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@object_info_option
@click.option("--strict", is_flag=True, help="Check all that a submission checks: classes, models, files, ranges.")
@json_option
@click.pass_context
def check(ctx: click.Context, files: tuple[str, ...], info_path: Path | None, strict: bool, as_json: bool) -> None:
    """Say what would be set where in each workflow, and whether it is accepted.

    FILE is a .json, .png or .webp file, or - for standard input. Without --strict the verdict is about form, outputs,
    seeds and batch size. The node classes are those of --object-info, else those that a running daemon knows. Exits 1
    if a workflow is refused.
    """
    reports = asyncio.run(_check(ctx.find_object(Reach), files, saved_info(info_path), strict, as_json))  # type: ignore[arg-type]
    if len(reports) > 1 and not as_json:
        say_sum(reports)
    ctx.exit(DONE if all(report.verdict == "accepted" for report in reports) else REFUSED)


async def _check(
    reach: Reach, files: tuple[str, ...], saved: Saved | None, strict: bool, as_json: bool
) -> list[wire.WorkflowReport]:
    reports = []
    async with checks(reach, saved) as (asked, is_informed):
        if strict and not is_informed:
            raise click.UsageError("--strict needs --object-info, or a running daemon.")
        if not is_informed:
            say_aside(NOBODY)
        for path in files:
            report = await asked.report(path, strict=strict)
            reports.append(report)
            say_json(_row(path, report)) if as_json else say_report(path, report)
    return reports


def _row(path: str, report: wire.WorkflowReport) -> dict[str, Any]:
    """Every field, also those without a value: scripts want each."""
    fields = (name for name in report.__struct_fields__ if name not in NOT_SHOWN)
    return {"file": path, **{name: msgspec.to_builtins(getattr(report, name)) for name in fields}}


@workflow.command()
@click.argument("file")
@object_info_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it into this new file instead.",
)
@click.pass_context
def convert(ctx: click.Context, file: str, info_path: Path | None, out: Path | None) -> None:
    """Print a workflow in ComfyUI's API format.

    FILE is a .json, .png or .webp file, or - for standard input. The UI format is converted as ComfyUI's page does it,
    with the node classes of --object-info, else those that a running daemon knows. Of a workflow in the API format the
    wrappers are removed. Secrets that were typed into nodes stay in it.
    """
    graph = asyncio.run(_converted(ctx.find_object(Reach), file, saved_info(info_path)))  # type: ignore[arg-type]
    text = json.dumps(graph, indent=2)
    if out is None:
        click.echo(text)
    else:
        _write_new(out, f"{text}\n")


async def _converted(reach: Reach, file: str, saved: Saved | None) -> dict[str, Any]:
    """Raises Refused if the file holds no workflow that can be read."""
    async with checks(reach, saved) as (asked, _):
        report = await asked.report(file, convert=True)
    if report.graph is None:
        raise Refused(report.code, report.message, hint=report.hint, path=report.path)
    return report.graph


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Refused(
            "invalid_field", f"{path} cannot be written: {error.strerror}.", hint="Name a new file."
        ) from error
