"""Every test can fail, and no test sleeps."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

TESTS = Path(__file__).parent
MAY_SLEEP = {"support/waiting.py", "service/boot.py", "service/life.py"}
"""The one module that polls, and two programs that run where the package `support` is missing."""
PROGRAMS = {"fixtures", "page", "service", "types", "typescript"}
"""What runs alone, or in a browser."""
EVERYTHING = {"AssertionError", "Exception", "BaseException"}
FAILS = {"raises", "until", "until_without_a_loop", "check_call", "check_graph", "check_classes", "check_no_secrets"}
FAILS |= {"check_templates"}
"""Calls that raise unless something holds. The checks are of the daemon itself: to accept is not to raise."""
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@cache
def nodes() -> dict[type, list[tuple[Path, ast.AST]]]:
    """Every node of every module, by kind. It takes seconds, so only the process that runs these tests reads them."""
    kinds = defaultdict[type, list[tuple[Path, ast.AST]]](list)
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            kinds[type(node)].append((path, node))
    return kinds


def found(*kinds: type) -> Iterator[tuple[str, ast.AST]]:
    """All nodes of these kinds in all tests, each with its place."""
    for path, node in (one for kind in kinds for one in nodes()[kind]):
        yield f"{path.relative_to(TESTS)}:{node.lineno}", node  # type: ignore[attr-defined]


def who_can_fail() -> set[str]:
    """The functions and classes of the tests that assert or raise, by themselves or by what they call."""
    called: list[tuple[str, set[str]]] = []
    able = set(FAILS)
    for _, node in found(*Function, ast.ClassDef):
        within = [one for one in ast.walk(node) if isinstance(one, (ast.Call, ast.Assert, ast.Raise))]
        called.append((node.name, {name_of(one.func) for one in within if isinstance(one, ast.Call)}))  # type: ignore[attr-defined]
        if any(isinstance(one, (ast.Assert, ast.Raise)) for one in within):
            able.add(node.name)  # type: ignore[attr-defined]
    while more := {name for name, names in called if names & able} - able:
        able |= more
    return able


def test_every_test_can_fail() -> None:
    able = who_can_fail()
    tests = [(place, node.name) for place, node in found(*Function)]  # type: ignore[attr-defined]
    assert [place for place, name in tests if name.startswith("test_") and name not in able] == []


def swallows(node: ast.ExceptHandler) -> bool:
    """It catches failed assertions, raises nothing, and does not even read what it caught."""
    kinds = {"BaseException"} if node.type is None else {name_of(one) for one in ast.walk(node.type)}  # type: ignore[arg-type]
    reads = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    raises = any(isinstance(one, ast.Raise) for one in ast.walk(node))
    return bool(kinds & EVERYTHING) and not raises and node.name not in reads


def test_no_assertion_is_swallowed() -> None:
    handlers = [place for place, node in found(ast.ExceptHandler) if swallows(node)]  # type: ignore[arg-type]
    suppressed = [
        place
        for place, node in found(ast.Call)
        if isinstance(node, ast.Call) and name_of(node.func) == "suppress" and EVERYTHING & set(map(name_of, node.args))
    ]
    assert handlers + suppressed == []


def is_always_true(test: ast.expr) -> bool:
    """A constant, a value compared with itself, or an answer that is only said to be there."""
    match test:
        case ast.Constant() | ast.JoinedStr() | ast.Tuple(elts=[_, *_]):
            return True
        case ast.Compare(left=ast.Await(value=ast.Call()), ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return True
        case ast.Compare(ops=[ast.Eq() | ast.Is() | ast.LtE() | ast.GtE()]):
            sides = [test.left, *test.comparators]
            plain = not any(isinstance(one, ast.Call | ast.Await) for side in sides for one in ast.walk(side))
            return plain and any(ast.dump(left) == ast.dump(right) for left, right in pairwise(sides))
    return False


def test_no_assertion_is_always_true() -> None:
    assert [place for place, node in found(ast.Assert) if is_always_true(node.test)] == []  # type: ignore[attr-defined]


def deadline(call: ast.Call) -> float:
    """Within how many seconds the machine must have done something, if the call says so by a number; else 0."""
    given = {word.arg: word.value for word in call.keywords}
    found = given.get("timeout", given.get("deadline_s"))
    match name_of(call.func), call.args:
        case "timeout", [found]:
            pass
        case "wait_for", [_, found]:
            pass
    return float(found.value) if isinstance(found, ast.Constant) and isinstance(found.value, int | float) else 0.0


def test_no_deadline_is_short() -> None:
    """A busy machine would miss it. `support.waiting.DEADLINE_S` costs nothing when all is well.

    What takes less than a second is a limit that the test wants to be over.
    """
    short = [place for place, node in found(ast.Call) if 1.0 <= deadline(node) < 30.0]  # type: ignore[arg-type]
    assert [place for place in short if place.partition("/")[0] not in PROGRAMS] == []


def is_wall_time(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in {"monotonic", "perf_counter"}


def test_no_assertion_is_about_a_fast_machine() -> None:
    """How long something took at most depends on what else runs. Processor time does not, and neither does an order."""
    fast = [
        place
        for place, node in found(ast.Compare)
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.BinOp)
        and is_wall_time(node.left.left)
        and isinstance(node.ops[0], ast.Lt | ast.LtE)
    ]
    assert fast == []


def test_no_test_sleeps() -> None:
    """`sleep(0)` lets other tasks run. A wait is `support.waiting.until`."""
    slept = [
        place
        for place, node in found(ast.Call)
        if isinstance(node, ast.Call) and name_of(node.func) == "sleep" and ast.unparse(node.args[0]) != "0"
    ]
    assert {place.partition(":")[0] for place in slept} <= MAY_SLEEP, slept


def test_fixtures_of_the_web_page_run_in_the_one_event_loop_of_its_tests() -> None:
    """In a loop of its own, a server that a fixture has begun would answer nobody while the test runs."""
    own = [
        place
        for place, node in found(ast.AsyncFunctionDef)
        if place.startswith("page/") and [ast.unparse(one) for one in node.decorator_list] == ["pytest.fixture"]  # type: ignore[attr-defined]
    ]
    assert own == []
