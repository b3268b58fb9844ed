"""The characters of a configuration and its files, checked against the configured workflows.

A workflow in the UI format is not looked at: what its inputs are is known when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

from comfyledger.admission.characters.merge import filling
from comfyledger.admission.configured import made_ready
from comfyledger.core.naming.slugs import slug
from comfyledger.errors import Refused
from comfyledger.queries.characters import NO_CHARACTERS, Characters, CharacterSet, NamedCharacter
from comfyledger.queries.dependencies import ReadyWorkflow, WorkflowSource
from comfyledger.settings import Character, CharacterFile, Invalid, Mistake, Settings, read_character_files

PROBLEMS_MAX = 100

log = structlog.get_logger("comfyledger.door")


def configured_inputs(workflows: Mapping[str, WorkflowSource], characters: Characters) -> set[str]:
    """The input files that workflows and characters name now, by SHA-256."""
    files = (file for one in workflows.values() for file in one.files.values())
    return characters.now.inputs().union(file.sha256 for file in files if file.sha256)


def read_characters(
    settings: Settings,
    workflows: Mapping[str, WorkflowSource],
    default_workflow: str,
    before: CharacterSet = NO_CHARACTERS,
) -> CharacterSet:
    """All characters, those of files too. Reads the disk, maybe for seconds if there are thousands of files.

    `workflows`: those that the daemon runs with; a reload does not change them.
    A file that cannot be used is a problem of the result. If it could be used `before`, the character stays as it was.
    Raises Invalid for a character of the configuration itself.
    """
    fits = _Fits(workflows, default_workflow)
    mistakes = [
        mistake for name, one in settings.characters.items() for mistake in fits.mistakes(f"characters.{name}", one)
    ]
    if mistakes:
        raise Invalid(settings.source or "The configuration", mistakes)
    found = {slug(name): NamedCharacter(name, one) for name, one in settings.characters.items()}
    problems: list[str] = []
    if settings.characters_dir:
        files, problems = read_character_files(Path(settings.characters_dir), workflows)
        kept = before.by_slug if problems and not files else {}
        found = {**{key: one for key, one in kept.items() if one.file}, **found}
        problems += _add_files(found, files, fits, before)
    ordered = dict(sorted(found.items()))
    return CharacterSet(ordered, settings.character_defaults_for, _bounded(problems))


def _add_files(
    found: dict[str, NamedCharacter], files: list[CharacterFile], fits: _Fits, before: CharacterSet
) -> Iterator[str]:
    """Add what the files hold to `found`. Yields what cannot be used."""
    broken: list[tuple[CharacterFile, str]] = []
    for file in files:
        mistakes = [*file.mistakes]
        if file.character is not None and file.key in found:
            mistakes.append(Mistake("", "The configuration has this character too.", "Keep one of the two."))
        elif file.character is not None:
            mistakes += fits.mistakes(f"characters.{file.name}", file.character)
        if file.character is not None and not mistakes:
            found[file.key] = NamedCharacter(file.name, file.character, file.path)
        else:
            broken.append((file, " ".join(_sentence(one) for one in mistakes)))
    for file, text in broken:
        kept = before.by_slug.get(file.key)
        if file.key not in found and kept is not None and kept.file == file.path:
            found[file.key] = kept
        whole = text if found.get(file.key) is not kept or kept is None else f"{text} The character stays as it was."
        log.warning("character.unusable", file=file.path, error=whole)
        yield f"{file.path}: {whole}"


def _sentence(mistake: Mistake) -> str:
    return f"`{mistake.path}`: {mistake.message}" if mistake.path else mistake.message


def _bounded(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - PROBLEMS_MAX
    return (*problems[:PROBLEMS_MAX], f"{more} more are in the log.") if more > 0 else tuple(problems)


class _Fits:
    """Compares characters with workflows, each of which is planned once."""

    def __init__(self, workflows: Mapping[str, WorkflowSource], default_workflow: str) -> None:
        self._workflows = workflows
        self._default = default_workflow
        self._ready: dict[str, ReadyWorkflow] = {}

    def mistakes(self, path: str, character: Character) -> list[Mistake]:
        """What does not fit. `path`: that of the character."""
        found: dict[tuple[str, str], Mistake] = {}
        for premade in (False, True):
            defaults = character.defaults(premade=premade)
            name = defaults.workflow or self._default
            source = self._workflows.get(name)
            if source is None:
                hint = "Restart the daemon if you have just configured it."
                missing = Mistake(f"{path}.workflow", f"The daemon runs without the workflow {name!r}.", hint)
                found.setdefault((name, ""), missing)
            if source is None or source.graph is None:
                continue
            if name not in self._ready:
                self._ready[name] = made_ready(source)
            try:
                filling(defaults, self._ready[name])
            except Refused as refusal:
                text = f"It does not fit the workflow {name}: {refusal.message}"
                found.setdefault((refusal.path, text), Mistake(f"{path}.{refusal.path}", text, refusal.hint))
        return list(found.values())
