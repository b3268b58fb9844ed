"""`doctor`: what keeps, or will keep, comfyledger from working here, one line each with its remedy, or JSON."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import uuid
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from comfyledger.cli.base import DONE, FOUND, json_option
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.terminal import clean, console, say, say_json, show
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.maintenance.doctor.comfyui_judge import Planned
    from comfyledger.maintenance.doctor.judge import Diagnosis
    from comfyledger.maintenance.doctor.run import Report
    from comfyledger.settings import Settings

_STYLE: Final = {"ok": "green", "warning": "yellow", "failure": "bold red"}
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
    """Check configuration, disks, clock, ComfyUI, stores, plugins and daemon. Changes nothing; the daemon may run."""
    with redirect_stdout(io.StringIO()):  # What is logged meanwhile is also in the report.
        report = asyncio.run(_examined(ctx, config_path, probe_comfyui))
    if as_json:
        say_json({"verdict": report.verdict, "diagnoses": report.diagnoses})
    else:
        _say_report(report)
    code = FOUND if report.verdict == "failure" else DONE
    if report.overdue:
        _end(code)
    ctx.exit(code)


async def _examined(ctx: click.Context, config_path: Path | None, probe: bool) -> Report:
    """A mistake in the configuration is a line of the report; then only what needs no configuration is checked."""
    from comfyledger.maintenance.doctor import run as checks
    from comfyledger.maintenance.doctor.judge import Diagnosis

    try:
        found = settings_of(ctx, config_path)
    except Refused as refusal:
        refused = Diagnosis("configuration", "failure", refusal.message, refusal.hint)
        bounds = checks.Bounds()
        return checks.Report((refused, *await checks.installed(bounds)), bounds.overdue)
    workflows, others = _workflows(found)
    report = await checks.examine(found, workflows, lambda: str(uuid.uuid4()), probe=probe)
    return checks.Report((*others, *report.diagnoses), report.overdue)


def _workflows(found: Settings) -> tuple[dict[str, Planned], list[Diagnosis]]:
    """The workflows that can be checked against a ComfyUI, and a diagnosis for each of the others."""
    from msgspec.structs import replace

    from comfyledger.admission.configured import made_ready, read_workflows
    from comfyledger.maintenance.doctor.comfyui_judge import Planned
    from comfyledger.maintenance.doctor.judge import Diagnosis

    workflows: dict[str, Planned] = {}
    others = []
    for name, workflow in found.workflows.items():
        try:
            source = read_workflows(replace(found, workflows={name: workflow}))[name]
            if source.graph is None:
                text = f"Workflow {name} is in the UI format. `comfyledger workflow check FILE` says whether it fits."
                others.append(Diagnosis("configuration", "ok", text))
                continue
            made = made_ready(source)
            workflows[name] = Planned(made.graph, made.plan, source.files)
        except Refused as refusal:
            others.append(Diagnosis("configuration", "failure", refusal.message, refusal.hint))
    return workflows, others


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
    say(_LAST_WORDS[report.verdict], _STYLE[report.verdict])


def _end(code: int) -> None:
    """Exit at once: a thread that waits for a dead mount or server would keep the process alive, perhaps forever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
