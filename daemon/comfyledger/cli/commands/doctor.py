"""`doctor`: what keeps, or will keep, comfyledger from working here, one line each with its remedy, or JSON."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from comfyledger.cli.base import DONE, FOUND, json_option
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.terminal import clean, console, say, say_json, say_table, show
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.comfyui.object_info import ObjectInfo
    from comfyledger.comfyui.ui_format.process import Converter
    from comfyledger.maintenance.doctor.comfyui_judge import Draft, Planned
    from comfyledger.maintenance.doctor.judge import Diagnosis
    from comfyledger.maintenance.doctor.run import Report
    from comfyledger.queries.dependencies import WorkflowSource
    from comfyledger.settings import Settings

_STYLE: Final = {"ok": "green", "warning": "yellow", "failure": "bold red"}
MATRIX_MAX: Final = 6
"""Of so many ComfyUIs is shown side by side what fits; `--json` has it of all."""
_LAST_WORDS: Final = {
    "ok": "Everything is well.",
    "warning": "It works; see the warnings.",
    "failure": "Something is broken; see the failures.",
}


@click.command()
@running_config_option
@click.option("--probe-comfyui", is_flag=True, help="Also let ComfyUI run a tiny prompt, and remove it afterwards.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, config_path: Path | None, probe_comfyui: bool, as_json: bool) -> None:
    """Check configuration, disks, clock, ComfyUI, stores, plugins and daemon. Changes nothing; the daemon may run.

    The result is saved in the state folder, for the web page.
    """
    began_s = time.monotonic()
    with redirect_stdout(io.StringIO()):  # What is logged meanwhile is also in the report.
        report = asyncio.run(_examined(ctx, config_path, probe_comfyui))
    if as_json:
        say_json({"verdict": report.verdict, "diagnoses": report.diagnoses, "lacking": report.lacking})
    else:
        _say_report(report)
    _save(ctx, config_path, report, time.monotonic() - began_s)
    code = FOUND if report.verdict == "failure" else DONE
    if report.overdue:
        _end(code)
    ctx.exit(code)


def _save(ctx: click.Context, config_path: Path | None, report: Report, took_s: float) -> None:
    """Keep the result, if the configuration says where."""
    from comfyledger.maintenance import saved_checks

    with suppress(Refused):
        state = settings_of(ctx, config_path).state_path
        found = saved_checks.of_doctor("comfyledger doctor", report.diagnoses, time.time_ns() // 1_000_000, took_s)
        saved_checks.save(state, found)


async def _examined(ctx: click.Context, config_path: Path | None, probe: bool) -> Report:
    """A mistake in the configuration is a line of the report; then only what needs no configuration is checked."""
    from msgspec.structs import replace

    from comfyledger.comfyui.ui_format.process import Converter
    from comfyledger.maintenance.doctor import run as checks
    from comfyledger.maintenance.doctor.judge import Diagnosis

    try:
        found = settings_of(ctx, config_path)
    except Refused as refusal:
        refused = Diagnosis("configuration", "failure", refusal.message, refusal.hint)
        bounds = checks.Bounds()
        return checks.Report((refused, *await checks.installed(bounds)), bounds.overdue)
    converter = Converter(found.limits.graph_bytes_max)
    workflows, drafts, others = _workflows(found, converter)
    try:
        report = await checks.examine(found, workflows, lambda: str(uuid.uuid4()), probe=probe, drafts=drafts)
    finally:
        await converter.close()
    return replace(report, diagnoses=(*others, *report.diagnoses))


def _workflows(found: Settings, converter: Converter) -> tuple[dict[str, Planned], dict[str, Draft], list[Diagnosis]]:
    """The workflows that can be checked against a ComfyUI, those that are to be converted before, and a diagnosis for
    each of the others.
    """
    from msgspec.structs import replace

    from comfyledger.admission.configured import made_ready, read_workflows
    from comfyledger.maintenance.doctor.comfyui_judge import Planned
    from comfyledger.maintenance.doctor.judge import Diagnosis

    workflows: dict[str, Planned] = {}
    drafts: dict[str, Draft] = {}
    others = []
    for name, workflow in found.workflows.items():
        try:
            source = read_workflows(replace(found, workflows={name: workflow}))[name]
            if source.graph is None:
                drafts[name] = _draft(source, converter)
                continue
            made = made_ready(source)
            workflows[name] = Planned(made.graph, made.plan, source.files)
        except Refused as refusal:
            others.append(Diagnosis("configuration", "failure", refusal.message, refusal.hint))
    return workflows, drafts, others


def _draft(source: WorkflowSource, converter: Converter) -> Draft:
    """What converts a document once for all ComfyUIs that have the same."""
    from comfyledger.admission.workflows.ready import make_ready
    from comfyledger.maintenance.doctor.comfyui_judge import Planned

    one_at_a_time, kept = asyncio.Lock(), dict[str, Planned]()

    async def planned(body: bytes, info: ObjectInfo) -> Planned:
        async with one_at_a_time:
            if info.digest not in kept:
                graph = await converter.convert(source.document, body, info.digest)
                made = make_ready(source, graph, info)
                kept[info.digest] = Planned(made.graph, made.plan, source.files)
            return kept[info.digest]

    return planned


def _say_report(report: Report) -> None:
    width = max(len(one.area) for one in report.diagnoses)
    screen = console()
    for one in report.diagnoses:
        line = Text.assemble((f"{one.verdict:<9}", _STYLE[one.verdict]), f"{clean(one.area):<{width}}  ")
        line.append(clean(one.sentence))
        if one.mend:
            lead = "To change that:" if one.verdict == "ok" else "Fix:"
            line.append(f" {lead} {clean(one.mend)}", style="bold")
        show(screen, line, 9 + 1 + width + 1)
    _say_matrix(report)
    say(_LAST_WORDS[report.verdict], _STYLE[report.verdict])


def _say_matrix(report: Report) -> None:
    """Which workflow fits where, as long as there is room."""
    names = list(dict.fromkeys(name for one in report.lacking.values() for name in one))
    if 1 < len(names) <= MATRIX_MAX:
        say("")
        rows = ((workflow, *(_word(one.get(name)) for name in names)) for workflow, one in report.lacking.items())
        say_table(("WORKFLOW", *names), rows)
        say("")


def _word(missing: Sequence[str] | None) -> str:
    return "?" if missing is None else f"lacks {len(missing)}" if missing else "fits"


def _end(code: int) -> None:
    """Exit at once: a thread that waits for a dead mount or server would keep the process alive, perhaps forever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
