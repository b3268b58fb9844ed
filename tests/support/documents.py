"""The documents as the tests read them: their blocks, headings and tables, and types in the words of the tables.

The documents keep a few habits: a field table stands under a heading of the message's or type's name, and a fenced
block may have a comment right above it that says what it is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = (".", "docs", "tests/fixtures")
DOCUMENTS = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
WIRE = (ROOT / "docs" / "wire.md").read_text("utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text("utf-8")
EVENTS = (ROOT / "docs" / "events.md").read_text("utf-8")
CLI = (ROOT / "docs" / "cli.md").read_text("utf-8")
CLIENT = (ROOT / "docs" / "client.md").read_text("utf-8")
TYPESCRIPT = (ROOT / "docs" / "typescript.md").read_text("utf-8")
STORES = (ROOT / "docs" / "stores.md").read_text("utf-8")
WEBHOOKS = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
BACKENDS = (ROOT / "docs" / "backends.md").read_text("utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text("utf-8")
PROMISES = (ROOT / "docs" / "promises.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
CONFIG = (ROOT / "config.toml").read_text("utf-8")


# ---- reading documents


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language, each with the comment right above it (empty if there is none)."""
    tokens = _parsed(text)
    return [
        (_comment_above(tokens, place), token.content)
        for place, token in enumerate(tokens)
        if token.type == "fence" and token.info == language
    ]


def _comment_above(tokens: Sequence[Token], place: int) -> str:
    above = tokens[place - 1] if place else None
    if above is None or above.type != "html_block" or _lines(above)[1] != _lines(tokens[place])[0]:
        return ""
    return above.content.strip().removeprefix("<!--").removesuffix("-->").strip()


def headings(text: str) -> list[str]:
    return [title for title, _, _ in _headed(text)]


def section(text: str, title: str, level: str = "###") -> str:
    """What is under a heading, up to the next one of its level or above."""
    begin, end = None, None
    for found, depth, lines in _headed(text):
        if begin is None and (found, depth) == (title, len(level)):
            begin = lines[1]
        elif begin is not None and depth <= len(level):
            end = lines[0]
            break
    assert begin is not None, f"there is no heading {level} {title}"
    return "".join(text.splitlines(keepends=True)[begin:end])


def _headed(text: str) -> list[tuple[str, int, tuple[int, int]]]:
    """Every heading with its depth, and its lines: the first one, and the one after it."""
    tokens = _parsed(text)
    return [
        (tokens[place + 1].content, len(token.markup), _lines(token))
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def rows(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    return next(iter(tables(text)), [])


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table in a text, without their heads."""
    found: list[list[list[str]]] = []
    for place, token in enumerate(tokens := _parsed(text)):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open" and tokens[place - 1].type != "thead_open":
            found[-1].append([])
        elif token.type == "td_open":
            found[-1][-1].append(tokens[place + 1].content)
    return found


@cache
def _parsed(text: str) -> Sequence[Token]:
    """A document as GitHub reads it, tables included."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def _lines(token: Token) -> tuple[int, int]:
    assert token.map is not None
    return token.map[0], token.map[1]


def without_links(text: str) -> str:
    """A text with the words of its links alone."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def conversation() -> list[tuple[str, str]]:
    """The frames of the conversation in docs/wire.md, each with its direction."""
    (body,) = [body for mark, body in blocks(WIRE, "text") if mark == "run: conversation"]
    return [(line[0], line[2:]) for line in body.splitlines()]


def shell_lines(text: str, program: str, mark: str | None = None) -> list[str]:
    """The lines of shell blocks that call a program, or of those blocks alone that have a mark."""
    lines = [line for found, body in blocks(text, "bash") if mark in {None, found} for line in body.splitlines()]
    return [called for line in lines if (called := line.rpartition("/bin/")[2]).startswith(f"{program} ")]


# ---- types as the documents write them


def components(types: list[type]) -> dict[str, Any]:
    return msgspec.json.schema_components(types, ref_template="#/$defs/{name}")[1]


SCALARS: Final = ["string", "integer", "number", "boolean", "null"]


def default_in_words(field: dict[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}`" if "default" in field else "absent"


def in_words(schema: dict[str, Any]) -> str:
    """A type as the tables show it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [choice.get("type") for choice in schema["anyOf"]]
        others = [choice for choice in schema["anyOf"] if choice.get("type") not in SCALARS]
        is_scalar = [kind for kind in kinds if kind in SCALARS] == SCALARS
        words = ["scalar", *map(in_words, others)] if is_scalar else map(in_words, schema["anyOf"])
        return " or ".join(words)
    match schema.get("type"):
        case "array":
            most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
            return f"list of {in_words(schema['items'])}{most}"
        case "object":
            return (
                f"object of {in_words(schema['additionalProperties'])}"
                if "additionalProperties" in schema
                else "object"
            )
        case kind:
            return (kind or "any JSON") + bounds_in_words(schema)


def bounds_in_words(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum", schema.get("minLength")), schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if schema.get("type") == "string" else ""
    if low is not None and high is not None:
        return f", {low} to {high}{unit}"
    return f", at least {low}{unit}" if low is not None else f", at most {high}{unit}" if high is not None else ""


def fields_in_words(schema: dict[str, Any]) -> list[list[str]]:
    """Name, type, default and meaning of each field, as a table has them."""
    return [
        [
            f"`{name}`",
            in_words(field),
            "required" if name in schema["required"] else default_in_words(field),
            field["description"],
        ]
        for name, field in schema["properties"].items()
    ]
