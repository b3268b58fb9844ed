"""Laws of Cloudinary's answers: each row of the table is a test, and so is what a hostile answer may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyledger.plugin_api import Deposit, ImageFault, LaneFault, Outcome, Stored
from comfyledger_cloudinary.answers import (
    TEXT_CHARS_MAX,
    Answer,
    admin_fault,
    broken,
    deserves_another_try,
    judge,
    resets_at,
)

NAME = "Areg/characters/opal-fever/images/Areg_opal-fever_image_1"
URL = f"https://res.cloudinary.com/demo/image/upload/v1700000000/{NAME}.png"
NOW_S = 1_700_000_000.0
OURS, OTHER = "a" * 32, "b" * 32


def deposit(*, first: bool = False) -> Deposit:
    return Deposit("B1/1", NAME, "png", Path("spool/1.png"), "5ha", OURS, 9, first)


def said(status: int = 200, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    return Answer(status, headers or {}, json.dumps(fields).encode())


def stored(**fields: Any) -> Answer:
    known = {"public_id": NAME, "secure_url": URL, "etag": OURS, "asset_id": "as1", "version": 1_700_000_000}
    return said(**{**known, "bytes": 9, "width": 2, "height": 3, "format": "png", "something_new": [1], **fields})


PENDING = Answer(200, {}, stored().body.replace(b"{", b'{"status": "pending", ', 1))


def error(status: int, message: str, **headers: str) -> Answer:
    return said(status, headers, error={"message": message})


def outcome(answer: Answer, *, first: bool = False) -> Outcome:
    return judge(deposit(first=first), answer, NOW_S)


def details(answer: Answer, *, first: bool = False) -> dict[str, str | int]:
    found = outcome(answer, first=first)
    assert isinstance(found, Stored)
    assert found.replayed is ("existing" in json.loads(answer.body))
    assert found.url == URL
    return found.details


def code(answer: Answer) -> tuple[type[Outcome], str]:
    found = outcome(answer)
    assert not isinstance(found, Stored)
    return type(found), found.code


PLAIN = {"asset_id": "as1", "version": 1_700_000_000, "bytes": 9, "width": 2, "height": 3, "etag": OURS}


def test_a_new_asset_with_our_md5_is_stored() -> None:
    assert details(stored(), first=True) == PLAIN


def test_an_etag_in_quotes_and_capitals_is_the_same_etag() -> None:
    assert "altered" not in details(stored(etag=f'"{OURS.upper()}"'))


def test_the_same_bytes_found_there_are_a_replay() -> None:
    assert details(stored(existing=True)) == PLAIN


def test_the_same_bytes_found_there_on_a_first_attempt_are_told() -> None:
    assert details(stored(existing=True), first=True) == {**PLAIN, "first_attempt": 1}


@pytest.mark.parametrize(
    "context",
    [None, {}, {"custom": {"sha256": "other", "image": "B2/1"}}, {"custom": "x"}, "x", {"custom": {"image": 7}}],
)
def test_other_bytes_under_our_name_are_a_collision(context: object) -> None:
    assert code(stored(existing=True, etag=OTHER, context=context)) == (ImageFault, "collision")


@pytest.mark.parametrize("wrap", [True, False])
def test_other_bytes_made_of_ours_are_altered_and_not_stored(wrap: bool) -> None:
    context: dict[str, Any] = {"sha256": "5ha"}
    answer = stored(existing=True, etag=OTHER, context={"custom": context} if wrap else context)
    assert code(answer) == (ImageFault, "altered")


def test_other_bytes_of_our_own_image_are_adopted_with_their_digest() -> None:
    answer = stored(existing=True, etag=OTHER, context={"custom": {"sha256": "older", "image": "B1/1"}})
    assert details(answer) == {**PLAIN, "etag": OTHER, "adopted": OTHER}


def test_a_new_asset_with_another_md5_is_altered_and_not_stored() -> None:
    assert code(stored(etag=OTHER)) == (ImageFault, "altered")


@pytest.mark.parametrize(
    ("size", "sha256", "new", "found"),
    [
        (9, "5ha", Stored, Stored),
        (8, "5ha", "altered", "altered"),
        (9, "other", Stored, "collision"),
        (8, "other", "altered", "collision"),
    ],
)
def test_an_etag_that_is_no_md5_leaves_it_to_size_and_context(size: int, sha256: str, new: Any, found: Any) -> None:
    """Object storages have such etags for files that were sent in parts."""
    more: dict[str, Any] = {"etag": f"{OTHER}-2", "bytes": size, "context": {"custom": {"sha256": sha256}}}
    for answer, expected in ((stored(**more), new), (stored(existing=True, **more), found)):
        seen = outcome(answer)
        assert type(seen) is expected if expected is Stored else code(answer) == (ImageFault, expected)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:80/x.png", "http://localhost/x.png", "https://res.cloudinary.com/x"]
)
def test_an_https_address_or_one_on_loopback_is_handed_out(address: str) -> None:
    found = outcome(stored(secure_url=address))
    assert isinstance(found, Stored)
    assert found.url == address


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://res.cloudinary.com/x.png",
            "javascript:alert(1)",
            "ftp://h/x",
            "file:///etc/passwd",
            "data:text/html,x",
        ),
        *(
            "https://",
            "https:///x",
            "//res.cloudinary.com/x",
            "x.png",
            "https://user:pw@h/x",
            "https://h/a b",
            "https://[h/",
        ),
        *("http://127.0.0.1.evil.example/x", "https://h/x\n", "HTTPS:x"),
    ],
)
def test_an_address_that_cannot_be_handed_out_is_no_word_of_a_stored_image(address: str) -> None:
    assert code(stored(secure_url=address)) == (LaneFault, "unknown")
    assert code(stored(secure_url=address, existing=True)) == (LaneFault, "unknown")


@pytest.mark.parametrize("existing", [{}, {"existing": True}])
def test_another_public_id_is_misnamed(existing: dict[str, bool]) -> None:
    assert code(stored(public_id=f"{NAME}_abc", **existing)) == (ImageFault, "misnamed")


@pytest.mark.parametrize(
    "answer",
    [
        PENDING,
        Answer(200, {}, b""),
        Answer(200, {}, b"<html>hello</html>"),
        Answer(200, {}, b'{"public_id": "Areg/cha'),
        Answer(200, {}, b"[1, 2]"),
        Answer(200, {}, b"[" * 100_000),
        Answer(200, {}, b"\xff\xfe"),
        stored(etag=None),
        stored(secure_url=""),
        said(200, error={"message": "odd"}),
    ],
)
def test_an_answer_that_does_not_say_stored_is_unknown(answer: Answer) -> None:
    assert code(answer) == (LaneFault, "unknown")


def test_a_fault_before_the_body_is_not_reached_and_after_it_unknown() -> None:
    assert broken(begun=False, text="refused") == LaneFault("not_reached", "refused")
    assert broken(begun=True, text="reset") == LaneFault("unknown", "reset")


@pytest.mark.parametrize("status", [423, 499, 500, 502, 503, 504, 302, 418, 520])
def test_what_may_pass_is_unknown_and_sent_again(status: int) -> None:
    assert code(error(status, "Odd")) == (LaneFault, "unknown")
    assert code(Answer(status, {}, b"<html>Bad Gateway</html>")) == (LaneFault, "unknown")


def throttled(answer: Answer) -> float | None:
    found = outcome(answer)
    assert isinstance(found, LaneFault)
    assert found.code == "throttled"
    return found.retry_after_s


LIMIT = "Rate Limit Exceeded. Limit of 500 api operations reached. Try again on 2023-11-14 22:43:20 UTC"


@pytest.mark.parametrize("status", [420, 429])
def test_throttled_says_until_when(status: int) -> None:
    assert throttled(error(status, LIMIT)) == 1_800
    assert throttled(error(status, "Slow down", **{"retry-after": "17"})) == 17
    assert throttled(error(status, "Slow down", **{"retry-after": "Tue, 14 Nov 2023 22:14:20 GMT"})) == 60
    assert throttled(error(status, "", **{"x-featureratelimit-reset": "Tue, 14 Nov 2023 22:15:20 GMT"})) == 120
    assert throttled(error(status, "Slow down")) is None
    assert throttled(error(status, "Slow down", **{"retry-after": "soon"})) is None


def test_how_long_to_wait_does_not_depend_on_our_clock_and_has_bounds() -> None:
    assert throttled(error(420, LIMIT, date="Tue, 14 Nov 2023 22:43:10 GMT")) == 10
    assert resets_at(error(420, LIMIT, date="Tue, 14 Nov 2023 22:43:10 GMT"), NOW_S) == NOW_S + 10
    assert throttled(error(420, LIMIT.replace("2023", "2020"))) == 1
    assert throttled(error(420, LIMIT.replace("2023", "2199"))) == 86_400


def test_a_missing_subscription_is_the_configuration() -> None:
    text = "You don't have an active subscription or a trial"
    assert code(error(420, text)) == (LaneFault, "configuration")


def test_a_stale_request_is_the_clock_and_signed_again_once() -> None:
    text = "Stale request - reported time is 2023-11-14 20:00:00 UTC which is more than 1 hour ago"
    answer = error(400, text, date="Tue, 14 Nov 2023 22:13:20 GMT")
    found = judge(deposit(), answer, NOW_S - 7_200)
    assert isinstance(found, LaneFault)
    assert found.code == "clock"
    assert "-7200 s" in found.text
    assert [deserves_another_try(found, answer, tries) for tries in (1, 2)] == [True, False]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "File size too large. Got 10485761. Maximum is 10485760."),
        (400, "Invalid image file"),
        (400, "public_id (a?b) is invalid"),
        (400, "Missing required parameter - file"),
        (413, "Request Entity Too Large"),
    ],
)
def test_what_is_wrong_with_the_image_is_refused_and_not_tried_again(status: int, text: str) -> None:
    found = outcome(error(status, text))
    assert found == ImageFault("refused", f"HTTP {status}: {text}")
    assert not deserves_another_try(found, error(status, text), 1)


def test_a_413_of_a_proxy_is_refused_but_its_400_parks_nothing() -> None:
    assert code(Answer(413, {}, b"<html>")) == (ImageFault, "refused")
    assert code(Answer(400, {}, b"<html>")) == (LaneFault, "unknown")
    assert code(Answer(400, {"x-cld-error": "Invalid image file"}, b"")) == (ImageFault, "refused")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_wrong_with_the_account_is_the_configuration(status: int) -> None:
    assert code(error(status, "Invalid Signature ab12. String to sign - 'x'.")) == (LaneFault, "configuration")


def test_a_conflict_is_tried_a_few_times_and_then_parked() -> None:
    answer = error(409, "Conflict")
    assert code(answer) == (ImageFault, "refused")
    assert [deserves_another_try(outcome(answer), answer, tries) for tries in (1, 2, 3)] == [True, True, False]


def test_foreign_words_are_bounded() -> None:
    found = outcome(error(400, "x" * 100_000))
    assert isinstance(found, ImageFault)
    assert len(found.text) == TEXT_CHARS_MAX
    assert all(len(str(value)) <= 200 for value in details(stored(asset_id="y" * 9_000)).values())


def test_a_question_about_the_account_is_never_an_images_fault() -> None:
    assert admin_fault(error(400, "Invalid cursor"), NOW_S) == LaneFault("unknown", "HTTP 400: Invalid cursor")
    assert admin_fault(error(420, LIMIT), NOW_S).retry_after_s == 1_800
