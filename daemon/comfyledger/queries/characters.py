"""The characters that requests may take defaults from, as they are now. A reload replaces them all at once."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from comfyledger.core.naming.slugs import slug
from comfyledger.settings import Character, InputFile


class NamedCharacter(msgspec.Struct, frozen=True):
    """A character that can be used. `file`: empty if the configuration itself has it."""

    name: str
    character: Character
    file: str = ""


class CharacterSet(msgspec.Struct, frozen=True):
    """All characters by `slug`, in its order. `labels`: patterns of the labels that need not ask for defaults.

    `problems`: sentences about files that cannot be used.
    """

    by_slug: Mapping[str, NamedCharacter] = {}
    labels: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def named(self, typed: str) -> NamedCharacter | None:
        """The character that a request means, in any spelling that gives the same names of files."""
        return self.by_slug.get(slug(typed)) if self.by_slug else None

    def gives(self, sha256: str) -> bool:
        """Whether a character has an input file."""
        file = InputFile(f"sha256:{sha256}")
        return any(file in one.character.every_input for one in self.by_slug.values())

    def inputs(self) -> set[str]:
        """The input files of all characters, by SHA-256."""
        given = (value for one in self.by_slug.values() for value in one.character.every_input)
        return {value.input.removeprefix("sha256:") for value in given if isinstance(value, InputFile)}

    def is_default_for(self, label: str) -> bool:
        """Whether the operator wants defaults for this label."""
        return any(_matches(label, pattern) for pattern in self.labels)


def _matches(label: str, pattern: str) -> bool:
    """`*` stands for any text, and every other character for itself."""
    return fnmatchcase(label, pattern.replace("[", "[[]").replace("?", "[?]"))


NO_CHARACTERS: Final = CharacterSet()


class Characters:
    """The characters of the daemon. Whoever answers a request looks at `now` once.

    `not_reread`: why the last reload changed nothing; empty if it did.
    """

    def __init__(self, first: CharacterSet = NO_CHARACTERS) -> None:
        self.now = first
        self.not_reread = ""

    def problems(self) -> list[str]:
        """What an operator should mend."""
        stale = [f"The configuration was not read again: {self.not_reread}"] if self.not_reread else []
        return [*stale, *self.now.problems]
