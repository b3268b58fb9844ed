"""Adds a workflow to a configuration file: its section at the end, and its graph in a file beside it.

What the file had stays as it is, byte for byte. The result is read as `config check` reads it before it takes the
place of the old one, and whatever is refused or fails on the way leaves the old one there. A process that dies in
between may leave the graph, which the next call finds and uses.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from comfyledger.admission.suggest import suggested_inputs
from comfyledger.comfyui.graph.nodes import printable
from comfyledger.comfyui.graph.read import Named, findings, plan_workflow, secrets_in
from comfyledger.errors import Refused

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names that are keys of TOML and names of files as they are."""
FOLDER: Final = "workflows"
BESIDE: Final = ".with-workflow"
OTHERS: Final = 0o007
"""The bits of a mode that are about everybody else: a graph with secrets is none of their business."""


class Addition(NamedTuple):
    """What is added to a configuration file, and where."""

    config: Path
    graph_path: Path
    graph: bytes
    section: str
    """The lines that are appended."""
    inputs: dict[str, str]
    """The names that are suggested for inputs, with their addresses."""
    secrets: list[str]
    """Addresses of what looks like a secret in the graph."""


def addition(name: str, config: Path, graph: Mapping[str, Any], outputs: Sequence[str]) -> Addition:
    """`outputs`: nodes that a person names; none if the daemon is to find them.

    Raises Refused: name_unusable, name_taken, config_invalid, and as `plan_workflow` does.
    """
    if not NAME.fullmatch(name):
        hint = "Use 1 to 64 letters, digits, - and _."
        raise Refused("name_unusable", f"{name[:64]!r} cannot be the name of a workflow.", hint=hint)
    config = config.resolve()
    configured = _parsed(_read(config), config).get("workflows", {})
    if isinstance(configured, dict) and name in configured:
        raise Refused("name_taken", f"{config} has a section [workflows.{name}].", hint="Choose another name.")
    path, content = config.parent / FOLDER / f"{name}.json", json.dumps(graph, indent=2).encode()
    if path.exists() and _read(path) != content:
        raise Refused("name_taken", f"{path} exists, with another graph.", hint="Choose another name.")
    secrets = secrets_in(graph)
    planned, plan = plan_workflow(graph, Named(outputs=tuple(outputs) or None, secrets=tuple(secrets)))
    inputs = suggested_inputs(planned, plan)
    section = ("" if configured else _samples()) + _section(name, outputs, inputs, planned, findings(plan, planned))
    return Addition(config, path, content, section, inputs, list(secrets))


def _samples() -> str:
    """The samples as they are configured while no workflow is."""
    from comfyledger.settings.sections import SAMPLES_BY_DEFAULT

    text = "\n# The samples, which are there by themselves only while no workflow is configured.\n"
    return text + "".join(f'[workflows.{name}]\nfile = "{one.file}"\n' for name, one in SAMPLES_BY_DEFAULT.items())


def _section(
    name: str, outputs: Sequence[str], inputs: Mapping[str, str], graph: Mapping[str, Any], told: Sequence[str]
) -> str:
    lines = ["", f"[workflows.{name}]", *(f"# {line}" for line in told), f'file = "{FOLDER}/{name}.json"']
    if outputs:
        listed = ", ".join(map(_text, outputs))
        lines.append(f"outputs = [{listed}]" if len(outputs) > 1 else f"output = {listed}")
    if inputs:
        lines += ["", f"[workflows.{name}.inputs]"]
        classes = {at: printable(graph[at.partition(".")[0]]["class_type"]) for at in inputs.values()}
        lines += [f"{key} = {_text(at)}  # {classes[at]}" for key, at in inputs.items()]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A text in TOML. Addresses are printable, so JSON's form is TOML's."""
    return json.dumps(value, ensure_ascii=False)


# ---- writing


def write(added: Addition) -> None:
    """Raises Refused: config_invalid if the configuration would have mistakes that it has not now; then, and if
    anything fails, nothing has changed.
    """
    from comfyledger.durable import write_whole

    try:
        old, status = added.config.read_bytes(), added.config.stat()
        new = (old if old.endswith(b"\n") or not old else old + b"\n") + added.section.encode()
        _parsed(new, added.config)

        own = partial(_owned, status)
        with _taken_back(added.graph_path):
            write_whole(added.graph_path, added.graph, partial(own, hidden=OTHERS if added.secrets else 0))
            _check(added.config, new)
            if added.config.read_bytes() != old:
                raise Refused("config_invalid", f"{added.config} has just been changed.", hint="Try again.")
            write_whole(added.config, new, own)
    except OSError as error:
        hint = "Run the command as the user who owns the configuration."
        raise Refused("config_invalid", f"{error.filename} cannot be written: {error.strerror}.", hint=hint) from error


def _owned(like: os.stat_result, fd: int, hidden: int = 0) -> None:
    """Give a file owner and mode of another one, without the bits `hidden`."""
    os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, like.st_mode & 0o777 & ~hidden)


@contextmanager
def _taken_back(path: Path) -> Iterator[None]:
    """What is made at a path is removed again if anything fails, and so is its folder if it was made for it."""
    was_there, had_folder = path.exists(), path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    try:
        yield
    except BaseException:
        if not was_there:
            path.unlink(missing_ok=True)
        if not had_folder:
            path.parent.rmdir()
        raise


def _check(config: Path, content: bytes) -> None:
    """Raises Refused (config_invalid) for the first mistake that the old content does not have."""
    from comfyledger import settings
    from comfyledger.durable import write_whole
    from comfyledger.startup.usable import mistakes_of

    beside = config.with_name(f".{config.name}{BESIDE}")
    found = []
    for path in (config, beside):
        if path is beside:
            write_whole(beside, content, lambda _: None)
        try:
            read = settings.examine(path)
            found.append([*read.mistakes, *mistakes_of(read.settings, os.environ)])
        finally:
            beside.unlink(missing_ok=True)
    for mistake in found[1]:
        if mistake not in found[0]:
            text = f"With the workflow the configuration cannot be used. {mistake.path}: {mistake.message}"
            raise Refused("config_invalid", text, hint=mistake.hint)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "`comfyledger config example --out FOLDER` writes one."
        raise Refused("config_invalid", f"{path} cannot be read: {error.strerror}.", hint=hint) from error


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        hint = "Correct the file, or write the section by hand: --dry-run shows it."
        raise Refused("config_invalid", f"{path} would not be TOML: {error}.", hint=hint) from error
