"""Rules of what a module may know that import-linter cannot state: of plugins, and of the wire."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent.parent / "plugins"
CORE = Path(__file__).parent.parent / "daemon" / "comfyledger" / "core"


def imported(path: Path) -> set[str]:
    """The full names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*.py")), ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_plugin_imports_the_plugin_api_alone_of_the_daemon(path: Path) -> None:
    ours = {name for name in imported(path) if name.split(".")[0] == "comfyledger"}
    assert ours <= {"comfyledger.plugin_api"}


@pytest.mark.parametrize(
    "path",
    sorted(path for path in PLUGINS.iterdir() if path.is_dir() and path.name != "__pycache__"),
    ids=lambda path: path.name,
)
def test_a_plugin_names_itself_so_that_it_hides_no_sdk(path: Path) -> None:
    assert path.stem.startswith("comfyledger_")
    assert path.stem not in sys.stdlib_module_names


def test_the_plain_package_costs_nothing_to_import() -> None:
    assert imported(Path(__file__).parent.parent / "daemon/comfyledger/__init__.py") == set()


def test_the_core_names_plain_fields_and_no_path_of_the_wire() -> None:
    modules = [*CORE.rglob("*.py")]
    assert len(modules) > 20
    assert [path.name for path in modules if "$." in path.read_text(encoding="utf-8")] == []
