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


def lacking(
    needs: Mapping[str, Collection[str]], tags: Mapping[str, Collection[str]], fits: Mapping[str, Fits]
) -> dict[str, dict[str, list[str]]]:
    """By workflow and by ComfyUI, what is missing there; nothing if the workflow fits.

    `needs`: the tags that each workflow needs. `tags`, `fits`: of each ComfyUI; of `fits`, of each that could be asked.
    """
    return {
        name: {backend: _missing(name, wanted, tags[backend], one.get(name, ())) for backend, one in fits.items()}
        for name, wanted in needs.items()
    }


def _missing(name: str, needs: Collection[str], tags: Collection[str], said: Sequence[Diagnosis]) -> list[str]:
    found = [one.sentence.removeprefix(f"Workflow {name}: ") for one in said if one.verdict != "ok"]
    if missing := [need for need in needs if need not in tags]:
        found.insert(0, f"It does not have the tags: {', '.join(missing)}.")
    return found


def of_added(names: Collection[str]) -> list[Diagnosis]:
    """`names`: of the ComfyUIs that clients have added, which only the daemon calls."""
    if not names:
        return []
    text = f"Added to the running daemon, and checked by it alone: {', '.join(list(names)[:LACKING_SHOWN])}"
    more = f" and {len(names) - LACKING_SHOWN} more" if len(names) > LACKING_SHOWN else ""
    return [Diagnosis("comfyui", "ok", f"{text}{more}. `comfyledger backends` shows how they are.")]


def of_prompts_left(prompts: Mapping[str, int], configured: Collection[str]) -> list[Diagnosis]:
    """`prompts`: how many are at each ComfyUI, by name. Those of one that is not configured any more go to
    others as soon as the daemon finds that out."""
    return [
        Diagnosis(
            f"comfyui {name}",
            "warning",
            f"{count:,} prompts are at the ComfyUI {name}, which is not configured any more: others will render them.",
            f"[comfyui.{name}] again, before the daemon starts, to keep what it has rendered",
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
