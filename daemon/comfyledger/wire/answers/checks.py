"""What `audit` and `doctor` found when they ran last."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from comfyledger.wire.answers.parts import Answer

CheckKind = Literal["audit", "doctor"]
Level = Literal["ok", "warning", "failure"]
FINDINGS_MAX: Final = 200
"""Findings of one check. Those that are worse come first."""


class CheckFinding(Answer, frozen=True):
    """One line of a check."""

    level: Annotated[Level, Meta(description="How bad it is.")]
    text: Annotated[
        str,
        Meta(
            description="What was found. An audit counts what it found of one kind, and names the first.",
            examples=["spool_missing (2): spool/01M82DA9EJBQZAAZJR4D2RM95D/1.png: The file is not there."],
        ),
    ]
    hint: Annotated[
        str, Meta(description="The command or action that mends it.", examples=["comfyledger recover --dry-run"])
    ] = ""


class CheckInfo(Answer, frozen=True):
    """The last result of one command."""

    kind: Annotated[CheckKind, Meta(description="Which command it was.")]
    command: Annotated[
        str, Meta(description="The command that checks the same again.", examples=["comfyledger audit --stores"])
    ]
    at_ms: Annotated[
        int, Meta(description="When it ended, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458])
    ]
    took_s: Annotated[float, Meta(description="How many seconds it took.", examples=[3.2])]
    ok: Annotated[bool, Meta(description="Whether an audit found nothing, or `doctor` no failure.")]
    findings: Annotated[list[CheckFinding], Meta(description="What was found, the worst first; at most 200.")] = []


class Checks(Answer, frozen=True):
    """The last results of `audit` and `doctor`."""

    checks: Annotated[list[CheckInfo], Meta(description="One for each command that was ever run to its end.")]
