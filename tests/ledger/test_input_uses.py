"""Who uses an input: what the table says is what the rows say."""

from __future__ import annotations

import re

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.keys import BatchInputs, InputUses
from comfyledger.ledger.ports import Ledger
from comfyledger.ledger.sqlite import image_uses, input_rows, input_uses
from comfyledger.ledger.sqlite.writer import Ledger as SqliteLedger
from support.core_builders import (
    PlainLedger,
    adding,
    failing,
    forget,
    given,
    loading,
    made_from,
    one_kept,
    one_stored,
    pinned,
    retry,
    sources_of,
    submit,
)
from support.ledger_builders import take

OF_FILES = re.compile(r"(INTO|FROM|JOIN|UPDATE) (inputs|input_uses|input_labels|image_uses)\b")
LIFE: list[Message] = [
    adding("1f"),
    adding("1f", "other"),
    submit("b1", 1, loads=(loading("1f"),)),
    submit("b2", 2, label="other", loads=(loading("1f"),)),
    *one_kept(batch="b1"),
    submit("b3", 1, loads=(made_from(), loading("1f"))),
    sources_of("b3", made_from(sha256=pinned(1).sha256), loading("1f")),
    *one_stored(1, batch="b2"),
    *one_stored(2, batch="b2"),
    forget(1, batch="b2"),
    forget(2, batch="b2"),
    forget(batch="b3"),
]


def uses(state: Ledger | PlainLedger) -> list[tuple[int, tuple[str, ...]]]:
    """Of the input as a whole, and seen from the first batch."""
    found = [state.load((key,)).input_use("1f") for key in (InputUses("1f"), BatchInputs("b1"))]
    return [(use.open, use.elsewhere) for use in found]


def test_the_table_agrees_with_the_rows_after_each_message(ledger: Ledger) -> None:
    plain = given()
    for message in LIFE:
        plain.given(message)
        take(ledger, message)
        assert uses(ledger) == uses(plain), message


def test_a_batch_that_is_opened_again_needs_its_input_again(ledger: Ledger) -> None:
    take(ledger, adding("1f"), submit("b1", 1, loads=(loading("1f"),)), *failing(batch="b1"))
    assert ledger.load([InputUses("1f")]).input_use("1f").open == 0
    take(ledger, retry(batch="b1"))
    assert ledger.load([InputUses("1f")]).input_use("1f").open == 1


def test_the_last_use_is_when_the_last_batch_was_settled(ledger: Ledger) -> None:
    take(ledger, *LIFE[:3])
    assert ledger.load([InputUses("1f")]).input_use("1f").ended_ms == 0
    take(ledger, *one_stored(batch="b1"))
    assert ledger.load([InputUses("1f")]).input_use("1f").ended_ms > 0


def test_a_batch_that_loads_nothing_costs_no_statement_about_files(ledger: SqliteLedger) -> None:
    """From its request until it is forgotten, and whatever others load meanwhile."""
    take(ledger, *LIFE[:3])
    said: list[str] = []
    ledger._connection.set_trace_callback(said.append)
    take(ledger, submit("b9", 1), *one_stored(batch="b9"))
    ledger._connection.set_trace_callback(None)
    assert [sql for sql in said if OF_FILES.search(sql)] == []


def _sql(name: str, value: object) -> bool:
    return name.startswith("_") and isinstance(value, str) and value.startswith(("SELECT", "WITH", "UPDATE"))


STATEMENTS = [
    pytest.param(value, id=f"{module.__name__.rpartition('.')[2]}.{name}")
    for module in (input_uses, input_rows, image_uses)
    for name, value in vars(module).items()
    if _sql(name, value)
]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_each_statement_reads_along_a_key_however_much_there_is(ledger: SqliteLedger, sql: str) -> None:
    count = max([int(number) for number in re.findall(r"\?(\d)", sql)], default=sql.count("?"))
    plan = [step for *_, step in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql}", ["[]"] * count)]
    tables = "inputs|input_uses|input_labels|image_uses|prompts|images|[ilup]"
    whole = [step for step in plan if re.match(rf"SCAN ({tables})\b(?! USING INDEX inputs_ending)", step)]
    assert (whole, [step for step in plan if "TEMP B-TREE FOR DISTINCT" in step]) == ([], [])
