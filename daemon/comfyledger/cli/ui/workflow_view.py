"""Shows the report about a workflow: one line that says whether it is accepted, and below it what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from comfyledger import wire
from comfyledger.cli.ui.terminal import say, several
from comfyledger.errors import CODES

INDENT = "  "


def say_report(path: str, report: wire.WorkflowReport) -> None:
    say(f"{path}: {report.verdict}{f', {report.code}' if report.code else ''}")
    for line in lines_of(report):
        say(f"{INDENT}{line}")


def lines_of(report: wire.WorkflowReport) -> Iterator[str]:
    """What a person reads about a workflow."""
    if report.verdict == "refused":
        several_at_once = len(report.mistakes) > 1
        message = CODES.get(report.code, report.message) if several_at_once else report.message
        yield f"{report.path}: {message}" if report.path and not report.mistakes else message
        yield from (mistake.message for mistake in report.mistakes if several_at_once)
        if report.hint:
            yield report.hint
    yield from report.found
    yield from _listed("suggested inputs", (f"{name} = {address}" for name, address in report.inputs.items()))
    yield from _listed("models", report.models)
    yield from _listed("files in ComfyUI's input folder", report.files)
    yield from _listed("node classes that ComfyUI lacks", report.unknown_classes)


def _listed(title: str, words: Iterable[str]) -> Iterator[str]:
    if line := ", ".join(words):
        yield f"{title}: {line}"


def say_sum(reports: list[wire.WorkflowReport]) -> None:
    """How many of several workflows are accepted, and why the others are not."""
    refused = Counter(report.code for report in reports if report.verdict == "refused")
    why = f" ({', '.join(f'{count} {code}' for code, count in refused.most_common())})" if refused else ""
    accepted = len(reports) - refused.total()
    say(f"{several(len(reports), 'workflow')}: {accepted:,} accepted, {refused.total():,} refused{why}.")
