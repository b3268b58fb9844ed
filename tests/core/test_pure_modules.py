"""The pure modules reach for nothing: no clock, no randomness, no file, no socket. Their imports are held to a list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent.parent / "daemon" / "comfyledger"
PURE = sorted(
    [
        *(PACKAGE / "core").rglob("*.py"),
        *(PACKAGE / "wire").rglob("*.py"),
        *(PACKAGE / "comfyui" / "graph").rglob("*.py"),
        *(PACKAGE / "comfyui" / name for name in ("messages.py", "fields.py", "object_info.py")),
    ]
)
ALLOWED = {
    *("__future__", "base64", "binascii", "bisect", "collections", "collections.abc", "difflib", "enum", "functools"),
    *("hashlib", "heapq", "hmac", "ipaddress", "itertools", "json", "math", "operator", "re", "string", "struct"),
    *("types", "typing", "unicodedata", "urllib.parse", "zlib"),
    *("msgspec", "msgspec.structs"),
}
FROM_UUID = {"UUID", "uuid5"}
"""Identity computed from names. The others of uuid's functions read the clock, the network card or the dice."""
BUILTINS = {"open", "input", "print", "exec", "eval", "__import__", "breakpoint"}


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports; `from a import b` as `a`, but `a.b` where b is a module of ours."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            inside = [f"{module}.{alias.name}" for alias in node.names if _is_ours(f"{module}.{alias.name}")]
            yield from inside or [module]


def _path_of(module: str) -> Path:
    return PACKAGE.parent / Path(*module.split("."))


def _is_ours(module: str) -> bool:
    path = _path_of(module)
    return module.startswith("comfyledger") and (path.is_dir() or path.with_suffix(".py").is_file())


def allowed(module: str) -> bool:
    if module.startswith("comfyledger"):
        files = (_path_of(module).with_suffix(".py"), _path_of(module) / "__init__.py")
        return module == "comfyledger.errors" or any(file in PURE for file in files)
    return module in ALLOWED or module == "uuid"


def test_a_pure_module_imports_pure_things_alone() -> None:
    assert [(path, module) for path in PURE for module in imports(path) if not allowed(module)] == []


def test_a_pure_module_takes_only_computed_ids_from_uuid() -> None:
    for path in PURE:
        for node in nodes(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "uuid":
                assert node.attr in FROM_UUID, path
            if isinstance(node, ast.ImportFrom) and node.module == "uuid":
                assert {alias.name for alias in node.names} <= FROM_UUID, path


def test_a_pure_module_calls_no_builtin_that_reaches_out() -> None:
    assert [(path, name) for path in PURE for name in called(path) if name in BUILTINS] == []


def called(path: Path) -> set[str]:
    called = (node.func for node in nodes(path) if isinstance(node, ast.Call))
    return {function.id for function in called if isinstance(function, ast.Name)}


def test_errors_import_nothing_but_typing() -> None:
    assert set(imports(PACKAGE / "errors.py")) <= {"__future__", "typing"}


def test_every_pure_module_is_there() -> None:
    assert all(path.is_file() for path in PURE)
    assert {"decide.py", "evolve.py", "pending_work.py", "rows.py", "names.py"} <= {path.name for path in PURE}
