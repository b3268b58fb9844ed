"""Hints, error texts and documents name commands that exist, with the options and arguments that they need."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

import click
import pytest

from comfyledger.cli.main import cli
from comfyledger.maintenance.audit.findings import MENDS
from support.documents import DOCUMENTS, ROOT

SOURCES = [path for folder in ("daemon", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
NAMED = re.compile(r"`(comfyledger [a-z][^`]*)`")
IN_A_MEND = re.compile(r"comfyledger [a-z]+(?: --[a-z-]+| [A-Z]+)*")


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text in a module, with a number in each place that is filled in later."""
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {part for node in joined for part in node.values}
    for node in joined:
        yield "".join(part.value if isinstance(part, ast.Constant) else "1" for part in node.values)  # type: ignore[misc]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.value


def named() -> set[str]:
    sources = [text for path in SOURCES if "`comfyledger " in (text := path.read_text("utf-8"))]
    in_sources = {text for source in sources for text in texts(ast.parse(source))}
    in_documents = {path.read_text("utf-8") for path in DOCUMENTS if path.name != "CHANGELOG.md"}
    found = {command for text in in_sources | in_documents for command in NAMED.findall(" ".join(text.split()))}
    return found | {command for mend in MENDS.values() for command in IN_A_MEND.findall(mend)}


def understood(line: str) -> click.Context:
    """The context of a command line, with values for its placeholders. Raises click.UsageError."""
    line = re.sub(r"--right (1|RIGHT)", "--right submit", line)
    words = shlex.split(re.sub(r"\b(?!--)[A-Z]{3,}\b", "1", line))[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    return command.make_context(str(command.name), words, resilient_parsing="--help" in words or not words)


def test_every_command_that_a_text_names_is_understood() -> None:
    for line in named():
        with understood(line) as context:
            assert not context.args, line


def test_a_command_that_is_not_whole_is_found_out() -> None:
    with pytest.raises(click.UsageError, match="requires an argument"):
        understood("comfyledger images --batch")
