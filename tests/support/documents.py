"""The documents as the tests read them: their blocks, headings and tables, and types in the words of the tables.

The documents keep a few habits: a field table stands under a heading of the message's or type's name, and a fenced
block may have a comment right above it that says what it is for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = (".", "docs", "tests/fixtures")
DOCUMENTS = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
WIRE = (ROOT / "docs" / "wire.md").read_text("utf-8")
EVENTS = (ROOT / "docs" / "events.md").read_text("utf-8")
CLI = (ROOT / "docs" / "cli.md").read_text("utf-8")
CLIENT = (ROOT / "docs" / "client.md").read_text("utf-8")
STORES = (ROOT / "docs" / "stores.md").read_text("utf-8")
PROMISES = (ROOT / "docs" / "promises.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
CONFIG = (ROOT / "config.toml").read_text("utf-8")


# ---- reading documents


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language, each with the comment right above it (empty if there is none)."""
    found = re.findall(rf"(?:<!-- ([^>]*) -->\n)?^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(mark, body) for mark, body in found]


def headings(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", prose, re.MULTILINE)


def section(text: str, title: str, level: str = "###") -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(
        rf"^{level} {re.escape(title)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found, f"there is no heading {level} {title}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    return next(iter(tables(text)), [])


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table in a text, without their heads."""
    found = re.findall(r"^\|.*\n\|[-|]+\n((?:\|.*\n)*)", text, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()] for table in found]


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


def in_words(schema: dict[str, Any]) -> str:
    """A type as the tables show it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [choice.get("type") for choice in schema["anyOf"]]
        scalar = kinds == ["string", "integer", "number", "boolean", "null"]
        return "scalar" if scalar else " or ".join(map(in_words, schema["anyOf"]))
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
            "required" if name in schema["required"] else f"`{json.dumps(field['default'])}`",
            field["description"],
        ]
        for name, field in schema["properties"].items()
    ]
