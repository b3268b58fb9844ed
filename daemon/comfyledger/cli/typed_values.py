"""What is typed on the command line, or stands in a file named there, as values of a request."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click

from comfyledger import wire
from comfyledger.cli.adding import FileToAdd
from comfyledger.client import read_workflow
from comfyledger.errors import Refused

HEAD_BYTES: Final = 65_536
_INPUT: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PART_OF_INPUT: Final = re.compile(r"sha256:[0-9a-fA-F]*")
_IMAGE: Final = re.compile(r"image:(\S.*)")


def input_pair(given: str) -> tuple[str, wire.InputValue | FileToAdd]:
    """Parse NAME=VALUE. VALUE is as in `input_value`, or `@FILE` for a file.

    A file of text is its text; any other file becomes an input file.
    """
    name, found, text = given.partition("=")
    if not found or not name:
        raise click.BadParameter(f"{given!r} is not NAME=VALUE.")
    if not text.startswith("@"):
        return name, input_value(text)
    if _is_binary(text[1:]):
        return name, FileToAdd(Path(text[1:]))
    return name, _read(text[1:]).removesuffix("\n")


def input_values(given: str) -> tuple[str, list[wire.InputValue]]:
    """Parse NAME=V1,V2: each as in `input_value`. Texts with commas come as a JSON list, and files there as objects."""
    name, found, text = given.partition("=")
    if not found or not name:
        raise click.BadParameter(f"{given!r} is not NAME=V1,V2.")
    if not text.startswith("["):
        return name, [input_value(one) for one in text.split(",")]
    values: list[wire.InputValue] = _json(text, list, "list")
    return name, values


def input_value(text: str) -> wire.InputValue:
    """An input file, `sha256:` and 64 digits; an earlier image, `image:` and its name; else as `scalar`. A text that
    begins so is written as in JSON, in quotes.
    """
    if _INPUT.fullmatch(text):
        return wire.FileAsked(input=text)
    if _PART_OF_INPUT.fullmatch(text):
        raise click.BadParameter(f"{text!r} is no input file: 64 digits of 0-9 and a-f follow `sha256:`.")
    image = _IMAGE.fullmatch(text)
    return wire.FileAsked(image=image[1]) if image is not None else scalar(text)


def workflow_or_graph(given: str) -> str | dict[str, Any]:
    """The name of a configured workflow, or the workflow in a file: a path, or a name that ends as such files do."""
    if "/" not in given and not given.lower().endswith((".json", ".png", ".webp")):
        return given
    try:
        return read_workflow(given)
    except Refused as refusal:
        raise click.BadParameter(f"{given!r}: {refusal.message} {refusal.hint}") from refusal


def seed_or_change(given: str) -> int | str:
    """A number, `random`, or `+` and a number."""
    if given == "random" or re.fullmatch(r"\+[0-9]{1,16}", given):
        return given
    try:
        return int(given)
    except ValueError as error:
        raise click.BadParameter(f"{given!r} is not a number, `random` or `+1`.") from error


def images_file(path: str) -> list[Any]:
    images: list[Any] = _json(_read(path), list, "list")
    return images


def json_object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = _json(text, dict, "object")
    return found


def _is_binary(path: str) -> bool:
    """Whether a file holds what is no text in UTF-8, as far as its beginning shows. A pipe is read as text."""
    if path == "-":
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    except OSError as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error}") from error
    return b"\0" in head


def _read(path: str) -> str:
    """The text of a file; `-` is standard input."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
        return text.removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error}") from error


def _json(text: str, kind: type, called: str) -> Any:
    try:
        found = json.loads(text, object_pairs_hook=without_double)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"This is not JSON: {error}") from error
    if not isinstance(found, kind):
        raise click.BadParameter(f"This is not a JSON {called}.")
    return found


def without_double(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError if a key is there twice: nobody can tell which value was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        double = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {double[:100]!r} is there twice in one object")
    return found


def scalar(text: str) -> wire.Scalar:
    """A number, true, false, null or a quoted string, as in JSON; any other text stays text."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool | None) else text
