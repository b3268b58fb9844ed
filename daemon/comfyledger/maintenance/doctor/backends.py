"""Several ComfyUIs together: versions that differ, folders that they share, which workflow fits where. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from comfyledger.maintenance.doctor.judge import Diagnosis

LACKING_SHOWN: Final = 5
"""How many ComfyUIs that lack something are named for one workflow."""
AREA: Final = "workflows"

Fits = Mapping[str, Sequence[Diagnosis]]
"""What one ComfyUI would say to each workflow, by the workflow's name."""


def of_versions(versions: Mapping[str, str]) -> list[Diagnosis]:
    """`versions`: by the name of each ComfyUI that has said its version."""
    by_version: dict[str, list[str]] = defaultdict(list)
    for name, version in versions.items():
        by_version[version].append(name)
    if len(by_version) < 2:
        return []
    said = "; ".join(f"{version} ({', '.join(names)})" for version, names in sorted(by_version.items()))
    text = f"The ComfyUIs have different versions: {said}. One workflow may render differently on each."
    return [Diagnosis("comfyui", "warning", text, "update the older ones")]


def of_shared_folders(key: str, folders: Mapping[str, str]) -> list[Diagnosis]:
    """`key`: of the configuration. `folders`: real paths, by the name of each ComfyUI that has one. No fault."""
    sharing: dict[str, list[str]] = defaultdict(list)
    for name, folder in folders.items():
        sharing[folder].append(name)
    return [
        Diagnosis(f"{key} {names[0]}", "ok", f"{', '.join(names)} share {folder}; it is cleared once for all of them.")
        for folder, names in sharing.items()
        if len(names) > 1
    ]


def of_prompts_left(prompts: Mapping[str, int], configured: Collection[str]) -> list[Diagnosis]:
    """`prompts`: how many are at each ComfyUI, by name. Those of one that is not configured any more wait for it."""
    return [
        Diagnosis(
            f"comfyui {name}",
            "warning",
            f"{count:,} prompts are at the ComfyUI {name}, which is not configured any more, and wait for it.",
            f"[comfyui.{name}] again, or cancel their batches and submit them again",
        )
        for name, count in sorted(prompts.items())
        if name not in configured
    ]


def of_workflows(allowed: Mapping[str, Collection[str]], fits: Mapping[str, Fits]) -> list[Diagnosis]:
    """A line for each workflow. `allowed`: the ComfyUIs that have the tags that it needs, by its name. `fits`: by the
    name of each ComfyUI that could be asked."""
    return [
        _of_workflow(name, len(fits), {backend: one[name] for backend, one in fits.items() if backend in backends})
        for name, backends in allowed.items()
        if fits
    ]


def _of_workflow(name: str, asked: int, found: Fits) -> Diagnosis:
    """`asked`: how many ComfyUIs were asked. `found`: what those say that have the tags."""
    if not found:
        text = f"Workflow {name} needs tags that no ComfyUI has that could be asked."
        return Diagnosis(AREA, "warning", text, f"[comfyui.NAME] tags, or [workflows.{name}] needs")
    lacking = {backend: bad for backend, said in found.items() if (bad := [one for one in said if one.verdict != "ok"])}
    tagged = " that have its tags" if len(found) < asked else ""
    if not lacking:
        return Diagnosis(AREA, "ok", f"Workflow {name} fits all ComfyUIs{tagged}: {', '.join(found)}.")
    fitting = [backend for backend in found if backend not in lacking]
    why = " ".join(_lacks(name, backend, bad) for backend, bad in list(lacking.items())[:LACKING_SHOWN])
    more = f" {len(lacking) - LACKING_SHOWN} more lack something." if len(lacking) > LACKING_SHOWN else ""
    if fitting:
        return Diagnosis(
            AREA, "warning", f"Workflow {name} fits {', '.join(fitting)} only. {why}{more}", _mend(lacking)
        )
    is_refused = all(any(one.verdict == "failure" for one in bad) for bad in lacking.values())
    text = f"Workflow {name} fits no ComfyUI{tagged.replace('have', 'has')}. {why}{more}"
    return Diagnosis(AREA, "failure" if is_refused else "warning", text, _mend(lacking))


def _lacks(name: str, backend: str, bad: Sequence[Diagnosis]) -> str:
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{backend}: {bad[0].sentence.removeprefix(f'Workflow {name}: ')}{more}"


def _mend(lacking: Fits) -> str:
    mends: Collection[str] = dict.fromkeys(bad[0].mend for bad in lacking.values())
    return next(iter(mends))
