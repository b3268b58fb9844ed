"""`submit --csv` and `--jsonl`: what a file's rows ask for, under which ids, and what is said of each."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.cli.commands.submit import submit_rows
from comfyledger.cli.rows import send_rows
from comfyledger.cli.rows.row_file import RowFile
from comfyledger.cli.rows.row_request import RequestIds, fields_of
from comfyledger.errors import Refused

HEAD = "username,character,prompt\n"


def rows_of(text: str | bytes, is_csv: bool = True) -> list[tuple[int, Any]]:
    content = text if isinstance(text, bytes) else text.encode()
    return [(row.line, row.fault or row.cells) for row in RowFile(io.BytesIO(content), is_csv)]


def unreadable(text: str | bytes, is_csv: bool = True) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        rows_of(text, is_csv)
    return str(caught.value)


# ---- the file


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_spreadsheets_file_is_read_whatever_it_is_written_with(separator: str, ending: str, mark: str) -> None:
    lines = [["username", "character", "6.text"], ["Areg", "Opal Fever", "a red coat"], ["", "", ""], ["Bo", "", "7"]]
    text = mark + "".join(separator.join(line) + ending for line in lines)
    whole = {"username": "Areg", "character": "Opal Fever", "6.text": "a red coat"}
    assert rows_of(text) == [(2, whole), (4, {"username": "Bo", "6.text": 7})]


def test_a_quoted_cell_may_have_separators_quotes_and_lines() -> None:
    text = HEAD + 'Areg,Opal,"a ""red"" coat,\nand; a hat"\nBo,Jade,x\n'
    first = {"username": "Areg", "character": "Opal", "prompt": 'a "red" coat,\nand; a hat'}
    assert rows_of(text) == [(2, first), (4, {"username": "Bo", "character": "Jade", "prompt": "x"})]


def test_a_cell_may_name_a_file_and_quotes_make_it_a_text() -> None:
    sha256 = f"sha256:{'ab' * 32}"
    text = f'username,p,q,r\nAreg,{sha256},image:a/b_1,image: a fox\nBo,"""{sha256}""","""image:fox""",x\n'
    files = {"p": {"input": sha256}, "q": {"image": "a/b_1"}}
    assert rows_of(text) == [
        (2, {"username": "Areg", **files, "r": "image: a fox"}),
        (3, {"username": "Bo", "p": sha256, "q": "image:fox", "r": "x"}),
    ]
    assert fields_of(rows_of(text)[0][1])["inputs"] == {**files, "r": "image: a fox"}


def test_a_line_of_json_names_a_file_as_the_wire_does() -> None:
    cells = {"p": {"image": {"request_id": "r", "index": 2}}, "q": "image:fox"}
    ((_, found),) = rows_of(json.dumps(cells), is_csv=False)
    assert fields_of(found)["inputs"] == cells


def test_a_row_may_have_fewer_cells_and_empty_ones_too_many() -> None:
    assert rows_of("username,character,,\nAreg\n") == [(2, {"username": "Areg"})]
    assert rows_of("username,character,,\nAreg,b,,,\n") == [(2, {"username": "Areg", "character": "b"})]
    assert rows_of(HEAD + "a,b,c,d\n") == [(2, "The row has 4 cells, and the header 3.")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header"),
        ("\n\n", "no header"),
        ("username,,prompt\n", "Column 2 of the header, line 1, has no name"),
        ("username,prompt,prompt\n", "'prompt' twice"),
        (HEAD + 'a,b,"c\nd,e,f\n', "begins at line 2 is not CSV"),
        (HEAD + 'a,b,c\na,b,"c"d\n', "begins at line 3 is not CSV"),
        (HEAD + "a,b," + "x" * 2**20, "Line 2 has more than"),
        (HEAD.encode() + b"a,b,\xe9\n", "not UTF-8"),
        (HEAD.encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_understood_says_where(text: str | bytes, said: str) -> None:
    assert said in unreadable(text)


def test_each_line_of_json_is_a_row_and_a_wrong_one_leaves_the_others() -> None:
    text = '{"username": "a", "x": null}\r\n\n[1]\n{"a": 1, "a": 2}\n{"a": NaN}\n{"b"\n{"y": 7}'
    (first, *wrong, last) = rows_of(text, is_csv=False)
    assert (first, last) == ((1, {"username": "a", "x": None}), (7, {"y": 7}))
    assert [(line, type(fault)) for line, fault in wrong] == [(line, str) for line in (3, 4, 5, 6)]


# ---- the request


def test_known_columns_are_fields_and_all_others_are_inputs() -> None:
    text = "username,character,quantity,premade,seed,workflow,priority,tags,output,images_per_prompt,steps,6.text,on\n"
    text += '007,12,60,TRUE,-1,w,high,"shop, new",9,4,30,"""12""",true\n'
    ((_, cells),) = rows_of(text)
    assert fields_of(cells) == {
        "username": "007",
        "character": "12",
        "quantity": 60,
        "premade": True,
        "seed": -1,
        "workflow": "w",
        "priority": "high",
        "tags": ["shop", "new"],
        "output": "9",
        "images_per_prompt": 4,
        "inputs": {"steps": 30, "6.text": "12", "on": True},
    }


@pytest.mark.parametrize(
    "cells",
    [
        *({"quantity": cell} for cell in ("six", "6.0", True, "9" * 5_000)),
        *({"premade": cell} for cell in ("maybe", 1)),
        *({"tags": cell} for cell in ([1], 1)),
        {"username": 7},
        {"seed": "+1"},
        {"prompt": ["a"]},
        {"inputs": {"a": 1}},
    ],
)
def test_a_cell_of_another_kind_is_refused_with_its_column(cells: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        fields_of(cells)
    assert (caught.value.code, caught.value.path) == ("invalid_field", next(iter(cells)))


def ids_of(*rows: dict[str, Any], run: str = "") -> list[str]:
    ids = RequestIds(run)
    return [ids.next(row) for row in rows]


def test_each_row_has_an_id_of_its_own_and_the_same_file_the_same_ids() -> None:
    one, other = {"username": "a", "inputs": {"x": 1, "y": 2}}, {"username": "b"}
    first = ids_of(one, other, one, one)
    assert len(set(first)) == 4
    assert all(len(one) <= wire.REQUEST_ID_BYTES_MAX for one in first)
    assert ids_of({"inputs": {"y": 2, "x": 1}, "username": "a"}, other, one, one) == first
    assert not set(ids_of(one, other, one, one, run="again")) & set(first)


def test_an_edited_row_changes_its_own_id_alone() -> None:
    rows = [{"username": "a", "inputs": {"x": place}} for place in range(5)]
    before = ids_of(*rows)
    rows[2] = {"username": "a", "inputs": {"x": "2"}}
    assert [place for place in range(5) if ids_of(*rows)[place] != before[place]] == [2]


# ---- the command


class Ledger:
    """Answers each submission as the daemon would: once new, then repeated."""

    def __init__(self, door: Any) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self.refuse: Callable[[dict[str, Any]], None] = lambda _: None
        door.answers["submit_batch"] = self.answer

    def answer(self, data: dict[str, Any]) -> wire.BatchAccepted:
        self.refuse(data)
        body = {key: data[key] for key in data if key != "request_id"}
        if data.get("dry_run"):
            return wire.BatchAccepted("", "e1", 1, 1, dry_run=True)
        before = self.bodies.setdefault(data["request_id"], body)
        if before != body:
            raise Refused("request_id_conflict")
        return wire.BatchAccepted("B", "e1", 1, 1, repeated=before is not body)


@pytest.fixture
def ledger(door: Any, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(send_rows, "WAIT_FIRST_S", 0.01)
    return Ledger(door)


@pytest.fixture
def submit(run: Any, tmp_path: Path) -> Any:
    def submit(text: str, *words: str, kind: str = "csv") -> Any:
        path = tmp_path / f"rows.{kind}"
        path.write_bytes(text.encode())
        return run("submit", *words, f"--{kind}", str(path))

    return submit


def counts(result: Any) -> dict[str, int]:
    found: dict[str, int] = json.loads(result.stdout.splitlines()[-1])
    return {name: count for name, count in found.items() if count and name != "rows"}


def test_a_second_run_submits_nothing_and_an_edited_row_is_one_new_batch(ledger: Ledger, submit: Any) -> None:
    text = HEAD + "".join(f"Areg,c{number % 7},p{number % 15}\n" for number in range(30))
    assert counts(submit(text, "--json")) == {"new": 30}
    assert counts(submit(text, "--json")) == {"before": 30}
    assert counts(submit(text.replace("c3,p3\n", "c3,edited\n", 1), "--json")) == {"new": 1, "before": 29}
    assert counts(submit(text, "--json", "--run", "two")) == {"new": 30}
    assert "30 rows of 30: 0 new, 30 submitted before; 0 refused." in submit(text).stdout


def test_rows_of_a_character_are_accepted_in_their_order(ledger: Ledger, submit: Any) -> None:
    tried = []

    def refuse(data: dict[str, Any]) -> None:
        tried.append(data["request_id"])
        if tried.count(data["request_id"]) == 1 and data["inputs"]["prompt"] % 5 == 0:
            raise Refused("busy")

    ledger.refuse = refuse
    result = submit(HEAD + "".join(f"Areg,c{number % 3},{number}\n" for number in range(60)))
    assert result.stderr.count("waiting") == 1
    sent = [(body["character"], body["inputs"]["prompt"]) for body in ledger.bodies.values()]
    for character in range(3):
        assert [place for name, place in sent if name == f"c{character}"] == list(range(character, 60, 3))


def test_options_are_the_defaults_of_what_a_row_lacks(ledger: Ledger, submit: Any) -> None:
    words = ("--quantity", "4", "--tag", "t", "--workflow", "w", "--output", "9", "--input", "steps=30", "--premade")
    submit("character,quantity,output,prompt,steps\nOpal,2,12,a,\nJade,,,b,50\n", "Areg", *words)
    one, other = ledger.bodies.values()
    common = {"username": "Areg", "premade": True, "tags": ["t"], "workflow": "w"}
    assert one == {**common, "character": "Opal", "quantity": 2, "output": "12", "inputs": {"prompt": "a", "steps": 30}}
    jade = {"character": "Jade", "quantity": 4, "outputs": ["9"], "inputs": {"prompt": "b", "steps": 50}}
    assert other == {**common, **jade}


def test_a_refused_row_is_named_with_its_line_and_stops_no_other(ledger: Ledger, submit: Any) -> None:
    def refuse(data: dict[str, Any]) -> None:
        if data["inputs"]["prompt"] == "bad":
            raise Refused("unknown_input", "No such input.", hint="Do that.", path="$.data.inputs.prompt")

    ledger.refuse = refuse
    text = HEAD + "a,b,good\na,b,bad\na,b,c,d\na,,x\na,b,good\na,c,bad\n"
    result = submit(text)
    assert result.exit_code == base.REFUSED
    said = sorted(line for line in result.stderr.splitlines() if line.startswith("line "))
    assert [line.partition(":")[0] for line in said] == ["line 3", "line 4", "line 5", "line 7"]
    assert result.stderr.count("Do that.") == 1
    assert len(ledger.bodies) == 2
    assert counts(submit(text, "--json")) == {"before": 2, "refused": 4}


def test_other_options_for_rows_that_were_submitted_are_refused(ledger: Ledger, submit: Any) -> None:
    submit(HEAD + "a,b,c\n")
    result = submit(HEAD + "a,b,c\n", "--quantity", "7")
    assert result.exit_code == base.REFUSED
    assert "request_id_conflict" in result.stderr
    assert "--run" in result.stderr


@pytest.mark.parametrize("code", ["too_many_open", "busy", "storage_full", "not_running"])
def test_at_a_limit_the_rows_wait_and_it_is_said_once(
    ledger: Ledger, submit: Any, door: Any, batch: Any, code: str
) -> None:
    left = [5]

    def refuse(_: Any) -> None:
        left[0] -= 1
        if left[0] > 0:
            raise Refused(code, f"Wait {left[0]}.")

    ledger.refuse = refuse
    door.answers["list_batches"] = wire.Batches([batch()], False)
    result = submit(HEAD + "a,b,1\na,b,2\n", "--json")
    assert (result.exit_code, counts(result)) == (base.DONE, {"new": 2})
    assert result.stderr.count("waiting") == 1
    assert len({data["request_id"] for data in door.requests("submit_batch")}) == 2


def test_a_batch_that_finds_no_room_even_alone_is_refused(ledger: Ledger, submit: Any, door: Any, refuse: Any) -> None:
    door.answers |= {"submit_batch": refuse("too_many_open"), "list_batches": wire.Batches([], False)}
    assert counts(submit(HEAD + "a,b,1\n", "--json")) == {"refused": 1}


@pytest.mark.parametrize("code", ["forbidden", "internal", "timeout"])
def test_what_is_not_about_one_row_ends_and_says_how_to_continue(
    submit: Any, door: Any, refuse: Any, code: str
) -> None:
    door.answers["submit_batch"] = refuse(code)
    result = submit(HEAD + "".join(f"a,{number},c\n" for number in range(100)))
    assert result.exit_code != base.DONE
    assert "run the same command again" in result.stderr
    assert len(door.requests("submit_batch")) <= send_rows.AT_ONCE


async def test_an_interrupted_command_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    class Silent:
        asked = asyncio.Event()

        async def submit(self, **_: Any) -> None:
            self.asked.set()
            await asyncio.Event().wait()

    rows, client = RowFile(io.BytesIO(HEAD.encode() + b"a,b,c\n" * 20), is_csv=True), Silent()
    sending = asyncio.create_task(submit_rows(cast("Any", client), rows, RequestIds(""), {}, as_json=False))
    await client.asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    said = capsys.readouterr()
    assert "run the same command again" in said.err
    assert "0 new" in said.out


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("usernme,character\na,b\n", (), "no column username"),
        ("usernme,character\na,b\n", (), "'usernme'"),
        (HEAD + 'a,b,"c\n', (), "line 2"),
        (HEAD, ("--watch",), "comfyledger watch"),
        (HEAD, ("--request-id", "r"), "--run"),
        (HEAD, ("--like", "n_1"), "--like"),
        (HEAD, ("--csv", "/no/such/file"), "cannot be read"),
        (HEAD, ("--jsonl", "{path}"), "either"),
    ],
)
def test_what_cannot_be_understood_asks_nobody(
    submit: Any, door: Any, tmp_path: Path, text: str, words: tuple[str, ...], said: str
) -> None:
    named = tuple(word.format(path=tmp_path / "rows.csv") for word in words)
    result = submit(text, *named) if "--csv" not in words else submit(text, *named, kind="jsonl")
    assert result.exit_code == base.USAGE
    assert said in " ".join(result.stderr.split())
    assert not door.asked


@pytest.mark.parametrize("words", [(), ("a",), ("a", "b", "--run", "x")])
def test_without_a_file_both_names_are_needed_and_there_is_no_run(run: Any, door: Any, words: tuple[str, ...]) -> None:
    assert run("submit", *words).exit_code == base.USAGE
    assert not door.asked


def test_a_dry_run_checks_every_row(ledger: Ledger, submit: Any) -> None:
    result = submit('{"username": "a", "character": "b"}\n{"character": "b"}\n', "--dry-run", kind="jsonl")
    assert result.exit_code == base.REFUSED
    assert "line 2" in result.stderr
    assert "2 rows of 2: 1 would be submitted; no number was given; 1 refused." in result.stdout
    assert not ledger.bodies


def test_a_workflow_of_a_row_may_be_a_file(ledger: Ledger, submit: Any, tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text('{"1": {"class_type": "X"}}')
    result = submit(f"username,character,workflow\na,b,{tmp_path}/g.json\na,c,/no/such.json\na,d,named\n")
    assert [body["workflow"] for body in ledger.bodies.values()] == [{"1": {"class_type": "X"}}, "named"]
    assert "line 3: workflow_invalid" in result.stderr
