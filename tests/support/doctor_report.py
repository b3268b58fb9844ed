"""What the tests of the doctor share: a configuration of few lines, and its report taken apart."""

from __future__ import annotations

import uuid
from typing import Any

from comfyledger.maintenance.doctor import run
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.settings import Settings


def ids() -> str:
    return str(uuid.uuid4())


async def report(settings: Settings, **more: Any) -> run.Report:
    return await run.examine(settings, {}, ids, **{"probe": False, **more})


def about(report: run.Report, area: str) -> list[Diagnosis]:
    found = [one for one in report.diagnoses if one.area == area]
    assert found, [one.area for one in report.diagnoses]
    return found


def verdicts(found: list[Diagnosis]) -> list[str]:
    return [one.verdict for one in found]
