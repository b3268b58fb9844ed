"""Characters: what can be said of them without their workflows, and the files that hold one each.

A mistake in the configuration stops the start, as every other. A file with a mistake is reported, and the other
characters are used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.core.naming.slugs import slug
from comfyledger.settings.converting import convert_character
from comfyledger.settings.mistakes import Mistake
from comfyledger.settings.sections import Character

FILES_MAX: Final = 20_000
FILE_BYTES_MAX: Final = 65_536
PLACE: Final = "{prompt}"
"""Stands in a template for the prompt of the request."""


class CharacterFile(msgspec.Struct, frozen=True):
    """A file of `characters_dir`. `character`: None if it has mistakes. `key`: what its name is matched by."""

    key: str
    name: str
    path: str
    character: Character | None
    mistakes: tuple[Mistake, ...] = ()


def character_mistakes(characters: Mapping[str, Character], workflows: Collection[str]) -> Iterator[Mistake]:
    """What is wrong with the characters of the configuration."""
    seen: dict[str, str] = {}
    for name, character in characters.items():
        yield from _mistakes(name, character, workflows)
        first = seen.setdefault(slug(name), name)
        if first != name:
            text = f"{name!r} and {first!r} are the same character: both become {slug(name)!r}."
            yield Mistake(f"characters.{name}", text, "Keep one of the two.")


def _mistakes(name: str, character: Character, workflows: Collection[str]) -> Iterator[Mistake]:
    path = f"characters.{name}"
    if not slug(name).strip("-_."):
        text = "The name has no letter or digit that a file name can hold."
        yield Mistake(path, text, "Use letters or digits of any language.")
    for place, one in ((path, character), (f"{path}.premade", character.premade), (f"{path}.own", character.own)):
        if one.workflow and one.workflow not in workflows:
            hint = f"Choose one of: {', '.join(sorted(workflows))}."
            yield Mistake(f"{place}.workflow", f"{one.workflow!r} is not configured.", hint)
        if one.prompt and PLACE not in one.prompt:
            text = f"The template has no {PLACE}, so the prompt of a request would be lost."
            yield Mistake(f"{place}.prompt", text, f"Write {PLACE} where it goes, or set `inputs` to a fixed prompt.")


def read_character_files(folder: Path, workflows: Collection[str]) -> tuple[list[CharacterFile], list[str]]:
    """Every file NAME.toml of a folder, in the order of their names, and what is wrong with the folder as a whole.

    Raises nothing: a file that cannot be read has mistakes.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith("."))
    except OSError as error:
        return [], [f"{folder} cannot be read: {error.strerror}."]
    found, first = [_read(path, workflows) for path in paths[:FILES_MAX]], dict[str, str]()
    for place, one in enumerate(found):
        if first.setdefault(one.key, one.name) != one.name:
            same = Mistake("", f"It is the same character as {first[one.key]}.toml.", "Keep one of the two.")
            found[place] = msgspec.structs.replace(one, character=None, mistakes=(same,))
    more = len(paths) - FILES_MAX
    return found, [f"{folder} has {more} files more than {FILES_MAX}."] if more > 0 else []


def _read(path: Path, workflows: Collection[str]) -> CharacterFile:
    mistakes: list[Mistake] = []
    character, where = Character(), f"characters.{path.stem}"
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return CharacterFile(slug(path.stem), path.stem, str(path), None, (Mistake("", "It is not a file."),))
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            mistakes.append(Mistake("", f"It has more than {FILE_BYTES_MAX:,} bytes."))
        else:
            character = convert_character(tomllib.loads(content.decode("utf-8-sig")), where, mistakes)
            mistakes += _mistakes(path.stem, character, workflows)
    except OSError as error:
        mistakes.append(Mistake("", f"It cannot be read: {error.strerror}."))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        mistakes.append(Mistake("", f"It is not TOML: {error}."))
    return CharacterFile(slug(path.stem), path.stem, str(path), None if mistakes else character, tuple(mistakes))
