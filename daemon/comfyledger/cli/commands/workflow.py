"""`workflow`: what would be done with a workflow, its API format, and its section of the configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from comfyledger import wire
from comfyledger.cli.base import DONE, REFUSED, Group, Reach, json_option
from comfyledger.cli.configuration import config_of, running_config_option
from comfyledger.cli.ui.terminal import say, say_aside, say_json, several
from comfyledger.cli.ui.workflow_view import say_report, say_sum
from comfyledger.cli.workflow_checks import Saved, checks, saved_info
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.cli.workflow_section import Addition

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
    name = path.encode("utf-8", "backslashreplace").decode()  # the bytes of a name need not be UTF-8
    return {"file": name, **{name: msgspec.to_builtins(getattr(report, name)) for name in fields}}


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


@workflow.command()
@click.argument("name")
@click.argument("file")
@running_config_option
@click.option("--output", "outputs", metavar="NODE", multiple=True, help="A node whose files count; may be repeated.")
@object_info_option
@click.option("--dry-run", is_flag=True, help="Show the section, and write nothing.")
@json_option
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    file: str,
    config_path: Path | None,
    outputs: tuple[str, ...],
    info_path: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add a workflow to the configuration as NAME, with suggested names for its inputs.

    The graph is copied to workflows/NAME.json beside the configuration, in the API format. The rest of the
    configuration stays as it is. The result is checked first as by `config check`.
    """
    from comfyledger import logs
    from comfyledger.cli import workflow_section

    logs.configure(level="error", layout="auto")
    config = config_of(ctx, config_path)
    if config is None:
        hint = "Give --config FILE. `comfyledger config example --out FOLDER` writes one."
        raise Refused("config_invalid", "No configuration is named, and no daemon runs with one.", hint=hint)
    graph = asyncio.run(_converted(ctx.find_object(Reach), file, saved_info(info_path)))  # type: ignore[arg-type]
    added = workflow_section.addition(name, config, graph, outputs)
    if not dry_run:
        workflow_section.write(added)
    say_json(_as_json(added, not dry_run)) if as_json else _say_added(added, not dry_run)


def _as_json(added: Addition, is_written: bool) -> dict[str, Any]:
    return {
        "config": str(added.config),
        "graph": str(added.graph_path),
        "section": added.section,
        "inputs": added.inputs,
        "secrets": added.secrets,
        "written": is_written,
    }


def _say_added(added: Addition, is_written: bool) -> None:
    for line in added.section.strip().splitlines():
        say(line, whole=True)
    if added.secrets:
        say_aside(f"The graph has secrets ({', '.join(added.secrets)}); {added.graph_path} holds them as they are.")
    if not is_written:
        say_aside("Nothing was written.")
        return
    lines = several(added.section.count("\n"), "line")
    say_aside(f"Added to {added.config}, with the graph in {added.graph_path}.")
    say_aside("A running daemon reads its configuration when it starts: restart it to use the workflow.")
    say_aside(f"To undo it, remove the last {lines} of {added.config.name}, and the file {added.graph_path.name}.")
