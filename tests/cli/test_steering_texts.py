"""No text of a user or another server controls the terminal, in any output of the command line."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from typing import Any

import click
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.cli.commands.export import _csv_writer, _line_writer
from comfyledger.cli.typed_values import json_object
from comfyledger.cli.ui.terminal import clean, escaped_json
from comfyledger.maintenance.export import ExportedEvent, ExportedImage

STEERS = [
    "\x1b[2J",
    "\x07",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u2069",
    "\u2028",
    "\u2029",
    "\u200b",
    "\ufeff",
    "\x7f",
    "\r",
]
OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def obeyed(text: str) -> set[str]:
    return {sign for sign in text if unicodedata.category(sign) in OBEYED} - {"\n", "\u200c", "\u200d"}


@given(st.text())
def test_what_is_cleaned_steers_nothing(text: str) -> None:
    assert not obeyed(clean(text)) | ({"\n"} & set(clean(text)))


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_escaped_json_steers_nothing_and_says_the_same(value: Any) -> None:
    document = json.dumps(value, ensure_ascii=False)
    escaped = escaped_json(document)
    assert not obeyed(escaped)
    assert json.loads(escaped) == json.loads(document)


def image(username: str, url: str = "https://example.org/x") -> ExportedImage:
    texts = dict.fromkeys(ExportedImage.__struct_fields__, "x")
    counts = dict.fromkeys(("number", "image", "requested_at_ms", "width", "height", "size_bytes"), 1)
    return ExportedImage(**{**texts, **counts, "username": username, "urls": {"folder": url}})


def cells(one: ExportedImage) -> dict[str, str]:
    file = io.StringIO()
    _csv_writer(file)(one)
    assert not obeyed(file.getvalue())
    return next(csv.DictReader(io.StringIO(file.getvalue())))


@pytest.mark.parametrize("sign", STEERS)
def test_a_csv_file_steers_no_terminal(sign: str) -> None:
    assert cells(image(f"a{sign}b"))["username"] == "a" + sign.encode("unicode_escape").decode() + "b"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x"])
def test_no_cell_is_a_formula(text: str) -> None:
    found = cells(image(text, url=text))
    assert found["username"] == found["urls"] == f"'{text}"


def test_a_cell_that_begins_with_a_line_end_is_no_formula_either() -> None:
    assert cells(image("\t=1"))["username"] == "\\t=1"


@pytest.mark.parametrize("sign", STEERS)
def test_an_exported_line_steers_no_terminal(sign: str) -> None:
    text = f"a{sign}b"
    data = msgspec.Raw(msgspec.json.encode({"username": text}))
    file = io.StringIO()
    _line_writer(file)(ExportedEvent(1, 1, "s", "k", 1, "h", data, {"d": text}))
    assert not obeyed(file.getvalue())
    found = json.loads(file.getvalue())
    assert found["data"]["username"] == found["texts"]["d"] == text


@pytest.mark.parametrize("sign", STEERS)
def test_a_mistake_of_the_command_line_is_shown_escaped(sign: str, run: Any) -> None:
    wrong = (
        ["explain", f"--no{sign}"],
        ["images", "--limit", f"x{sign}"],
        ["submit", "a", "b", "--images", f"x{sign}"],
    )
    for words in wrong:
        result = run(*words)
        assert result.exit_code == 2
        assert not obeyed(result.stderr)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": {"b": [{"c": 1, "c": 1}]}}', '{"a": 1, "\\u0061": 2}'])
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is there twice"):
        json_object(text)
