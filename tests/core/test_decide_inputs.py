"""Laws of inputs: who may use them, how long they stay, and where they are removed."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from comfyledger.core.commands import DropCopies, ForgetInput
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.inputs import AGAIN_MS
from comfyledger.core.inputs import InputRow
from comfyledger.core.reports import InputFound, InputGone, InputRemoving, InputUnused
from comfyledger.core.results import InputKnown, Wanted
from comfyledger.core.values import ImageAt
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    Then,
    adding,
    forget,
    given,
    loading,
    lost,
    made_from,
    name_of,
    one_kept,
    one_stored,
    sending,
    sources_of,
    submit,
)


def row_of(ledger: PlainLedger, sha256: str = "1f") -> InputRow:
    return ledger.rows["input", sha256, ""]  # type: ignore[return-value]


def test_the_same_bytes_are_one_input_of_every_label_that_uploads_them() -> None:
    ledger = given()
    assert ledger.when(adding("1f")).answer == InputKnown("1f", new=True)
    assert ledger.when(adding("1f")).kinds == []
    assert ledger.when(adding("1f", "other")).answer == InputKnown("1f", new=True)
    assert row_of(ledger).labels == ("app", "other")


def test_who_adds_an_input_again_has_it_as_long_as_if_it_were_new() -> None:
    ledger = given(adding("1f"))
    ledger.now_ms += AGAIN_MS
    again = ledger.when(adding("1f"))
    assert (again.answer, again.kinds) == (InputKnown("1f", new=False), ["InputAdded"])
    assert row_of(ledger).added_ms == ledger.now_ms
    assert ledger.when(adding("1f")).kinds == []


def test_a_batch_with_an_input_that_is_not_there_is_refused_and_uses_no_number() -> None:
    ledger = given()
    with pytest.raises(Refused) as refused:
        ledger.when(submit(loads=(loading("1f"),)))
    assert (refused.value.code, ledger.log) == ("input_missing", [])
    assert ledger.given(adding("1f")).when(submit(loads=(loading("1f"),))).kinds[-1] == "BatchRequested"


def test_what_was_missing_and_is_found_again_is_everybodys_again() -> None:
    ledger = given(adding("1f"), adding("1f", "other"))
    assert ledger.when(InputUnused("1f", "missing")).kinds == ["InputErased", "InputRemoved"]
    assert (row_of(ledger).labels, row_of(ledger).here) == ((), "")
    assert ledger.when(InputFound("1f")).kinds == ["InputAdded", "InputAdded"]
    assert (row_of(ledger).labels, row_of(ledger).is_usable) == (("app", "other"), True)
    assert ledger.when(InputFound("1f")) == Then(Wanted(go=True), ())


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_was_forgotten_is_not_taken_back(when: str) -> None:
    ledger = given(adding("1f"), *([ForgetInput("app", "1f", ("app",))] if when == "before" else []))
    ledger.given(InputUnused("1f", "missing"))
    ledger.given(*([ForgetInput("app", "1f", ("app",))] if when == "meanwhile" else []))
    assert ledger.when(InputFound("1f")) == Then(Wanted(go=False), ())
    assert ledger.when(InputFound("2e")) == Then(Wanted(go=False), ())


def test_what_an_open_batch_needs_is_not_erased() -> None:
    ledger = given(adding("1f"), submit(quantity=1, loads=(loading("1f"),)))
    assert ledger.when(InputUnused("1f", "expired")).answer == Wanted(go=False)
    ledger.given(one_stored())
    assert ledger.when(InputUnused("1f", "expired")).kinds == ["InputErased"]
    assert (row_of(ledger).here, row_of(ledger).is_usable) == ("removing", False)


def test_an_expired_input_keeps_its_copies_and_a_forgotten_one_loses_them_everywhere() -> None:
    ledger = given(adding("1f"), sending("1f", "main"), sending("1f", "big"))
    ledger.given(InputUnused("1f", "expired"))
    assert [copy.state for copy in row_of(ledger).copies] == ["sent", "sent"]
    ledger.given(adding("1f"), ForgetInput("app", "1f"))
    assert [copy.state for copy in row_of(ledger).copies] == ["removing", "removing"]
    name = name_of("1f")
    ledger.given(InputGone("1f", "big", name), InputGone("1f", ""), InputGone("1f", "main", name, found=False))
    assert not row_of(ledger).is_going
    assert row_of(ledger).here == ""


def test_a_forgotten_input_stays_until_the_last_open_batch_has_ended() -> None:
    ledger = given(adding("1f"), submit(quantity=1, loads=(loading("1f"),)))
    assert ledger.when(ForgetInput("app", "1f")).kinds == ["InputForgotten"]
    with pytest.raises(Refused, match="no input"):
        ledger.when(submit("b2", loads=(loading("1f"),)))
    assert ledger.when(sending("1f")).kinds == ["InputSent"]
    ledger.given(one_stored())
    assert ledger.when(InputUnused("1f", "forgotten")).kinds == ["InputErased"]


def test_one_label_gives_up_its_own_input_only() -> None:
    ledger = given(adding("1f"), adding("1f", "other"))
    assert ledger.when(ForgetInput("app", "1f", ("app",))).kinds == ["InputForgotten"]
    assert row_of(ledger).is_usable
    with pytest.raises(Refused, match="no input"):
        ledger.when(ForgetInput("app", "1f", ("app",)))


def test_an_input_goes_with_the_last_batch_that_was_made_from_it() -> None:
    ledger = given(adding("1f"), *(submit(batch, 1, loads=(loading("1f"),)) for batch in ("b1", "b2")))
    ledger.given(one_stored(), one_stored(batch="b2"))
    assert "InputForgotten" not in ledger.when(forget()).kinds
    assert ledger.when(forget(batch="b2")).kinds[-2:] == ["InputForgotten", "InputErased"]


def test_a_label_keeps_its_input_though_another_label_forgets_its_batches() -> None:
    ledger = given(adding("1f"), adding("1f", "other"))
    ledger.given(submit("b1", 1, loads=(loading("1f"),)), one_stored())
    ledger.given(submit("b2", 1, label="other", loads=(loading("1f"),)), one_stored(batch="b2"))
    assert ledger.when(forget()).answer.inputs == 1
    assert (row_of(ledger).labels, row_of(ledger).is_usable) == (("other",), True)
    assert ledger.when(forget(batch="b2")).kinds[-2:] == ["InputForgotten", "InputErased"]


def test_an_input_that_a_label_only_borrowed_stays_until_it_is_given_back() -> None:
    ledger = given(adding("1f"), *(submit(f"b{number}", 1, loads=(loading("1f"),)) for number in (1, 3)))
    ledger.given(submit("b2", 1, label="reads all", loads=(loading("1f"),)))
    ledger.given(*(one_stored(batch=batch) for batch in ("b1", "b2", "b3")))
    assert [ledger.when(forget(batch=batch)).answer.inputs for batch in ("b1", "b2", "b3")] == [0, 0, 1]


def test_forgetting_one_image_of_a_batch_leaves_what_the_others_were_made_from() -> None:
    ledger = given(adding("1f"), submit(quantity=2, loads=(loading("1f"),)), one_stored(1), one_stored(2))
    assert ledger.when(forget(1)).answer.inputs == 0
    assert ledger.when(forget(2)).answer.inputs == 1


def test_forgetting_an_image_removes_the_copies_that_others_load() -> None:
    ledger = given(submit(quantity=1), one_kept(), submit("b2", 1, loads=(made_from(),)))
    sha256 = ledger.image().sha256
    ledger.given(
        sources_of("b2", made_from(sha256=sha256)), sending(sha256, source=ImageAt("b1", 1)), one_stored(batch="b2")
    )
    assert ledger.when(forget()).kinds[-2:] == ["InputForgotten", "InputErased"]
    assert [copy.state for copy in row_of(ledger, sha256).copies] == ["removing"]


def test_copies_of_an_image_that_is_lost_go_once_nothing_open_loads_them() -> None:
    ledger = given(submit(quantity=1), one_kept(), submit("b2", 1, loads=(made_from(),)))
    sha256 = ledger.image().sha256
    ledger.given(sources_of("b2", made_from(sha256=sha256)), sending(sha256, source=ImageAt("b1", 1)))
    assert ledger.when(lost()).kinds == ["ImageLost", "InputForgotten"]
    assert [copy.state for copy in row_of(ledger, sha256).copies] == ["sent"]
    ledger.given(one_stored(batch="b2"))
    assert ledger.when(InputUnused(sha256, "forgotten")).kinds == ["InputErased"]
    assert [copy.state for copy in row_of(ledger, sha256).copies] == ["removing"]


def test_an_input_that_is_added_again_is_not_removed() -> None:
    ledger = given(adding("1f"), sending("1f"), ForgetInput("app", "1f"), adding("1f"))
    for place in (("", ""), ("main", name_of("1f"))):
        assert ledger.when(InputRemoving("1f", *place)).answer == Wanted(go=False)
        assert ledger.when(InputGone("1f", *place)).kinds == []
    assert row_of(ledger).is_usable


def test_one_backend_may_have_a_file_under_two_names_and_loses_both() -> None:
    other = msgspec.structs.replace(sending("1f"), name="comfyledger-1f.png")
    ledger = given(adding("1f"), sending("1f"))
    assert ledger.when(other).kinds == ["InputSent"]
    assert [ledger.when(report).kinds for report in (sending("1f"), other)] == [[], []]
    ledger.given(ForgetInput("app", "1f"), InputGone("1f", other.backend, other.name))
    assert [(copy.name, copy.state) for copy in row_of(ledger).copies] == [
        (other.name, "removed"),
        (name_of("1f"), "removing"),
    ]
    assert ledger.given(adding("1f")).when(other).kinds == ["InputSent"]


def test_a_backend_that_is_given_up_is_owed_nothing_now_nor_later() -> None:
    ledger = given(adding("1f"), sending("1f"), sending("1f", "old"), adding("2e"), sending("2e", "old"))
    ledger.given(ForgetInput("app", "1f"))
    then = ledger.when(DropCopies("app", "old", ("1f", "2e", "3d")))
    assert (then.kinds, then.answer.images) == (["InputRemoved"] * 2, 2)
    assert [copy.state for copy in row_of(ledger).copies] == ["removing", "removed"]
    ledger.given(ForgetInput("app", "2e"), InputGone("2e", ""))
    assert not row_of(ledger, "2e").is_going
    assert ledger.when(DropCopies("app", "old", ("1f", "2e"))).kinds == []


def test_what_is_forgotten_goes_to_no_backend_any_more() -> None:
    ledger = given(adding("1f"), submit(quantity=1, loads=(loading("1f"),)), ForgetInput("app", "1f"))
    assert ledger.when(sending("1f")).answer == Wanted(go=True)
    ledger.given(one_stored())
    for report in (sending("1f"), sending("1f", "big"), sending("2e")):
        assert ledger.when(report) == Then(Wanted(go=False), ())


@pytest.mark.parametrize("way", [forget(), lost()], ids=["forgotten", "lost"])
def test_an_image_that_has_gone_goes_to_no_backend(way: Message) -> None:
    ledger = given(submit(quantity=1), one_kept(), submit("b2", 1, loads=(made_from(),)))
    sha256 = ledger.image().sha256
    ledger.given(sources_of("b2", made_from(sha256=sha256)))
    assert ledger.when(sending(sha256, "big", ImageAt("b1", 1))).answer == Wanted(go=True)
    ledger.given(way)
    assert ledger.when(sending(sha256, source=ImageAt("b1", 1))) == Then(Wanted(go=False), ())


def test_each_label_sees_bytes_of_no_known_kind_under_the_extension_that_it_gave_them() -> None:
    ledger = given(replace(adding("1f"), extension="foo"), replace(adding("1f", "other"), extension="bar"))
    row = row_of(ledger)
    assert (row.extension, row.extension_for("app"), row.extension_for("other")) == ("foo", "foo", "bar")
    ledger.given(ForgetInput("other", "1f", ("other",)), replace(adding("1f"), extension="baz"))
    assert (row_of(ledger).extension_for("app"), row_of(ledger).extension_for("other")) == ("baz", "foo")
    ledger.given(ForgetInput("app", "1f"), InputGone("1f", ""), replace(adding("1f", "other"), extension="bar"))
    assert (row_of(ledger).extension, row_of(ledger).also_named) == ("bar", {})
