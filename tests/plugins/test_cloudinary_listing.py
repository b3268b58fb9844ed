"""Laws of the highest number: what counts as one, and what is doubted."""

from __future__ import annotations

import unicodedata

import pytest
from msgspec import structs

from comfyledger.plugin_api import Held, Series
from comfyledger_cloudinary.listing import Numbers, held, held_of, prefix_of

FOLDER = "Areg/characters/opal-fever/images"
SERIES = Series(FOLDER, "Areg_opal-fever_image_")
STEM = f"{FOLDER}/Areg_opal-fever_image_"


def numbers(*names: str, series: Series = SERIES) -> Numbers:
    found = Numbers(series)
    found.add(f"{prefix_of(series)}{name}" for name in names)
    return found


@pytest.mark.parametrize(
    "stranger",
    ["", "x", "9x", "9/8", "-9", "+9", "9 ", "٩", "９", "1" * 16, "9_final", "9\n", "/9"],
)
def test_only_one_to_fifteen_plain_digits_are_a_number(stranger: str) -> None:
    assert numbers("7", stranger).highest() == 7
    assert numbers("0" * 13 + "57").highest() == 57


def test_an_extension_within_the_public_id_is_passed_over() -> None:
    assert numbers("7", "8.png", "9.tar.gz").highest() == 9


def test_another_folder_or_suffix_is_another_series() -> None:
    with_suffix = Series(FOLDER, "a_", "_v")
    assert numbers("1_v", "2", "3_v", "4_w", series=with_suffix).highest() == 3
    other = Numbers(SERIES)
    other.add([f"x/{STEM}9", f"{STEM}sub/9", "Areg_opal-fever_image_9"])
    assert other.highest() == 0


def test_spellings_that_fold_alike_are_one_series() -> None:
    found = Numbers(Series("Zoé/x", "Zoé_"))
    found.add([unicodedata.normalize("NFD", "ZOÉ/X/zoé_12")])
    assert found.highest() == 12


def test_a_series_in_the_root_has_a_prefix_without_slash() -> None:
    assert prefix_of(Series("", "a_")) == "a_"


@pytest.mark.parametrize(
    ("names", "doubted", "below"),
    [
        (("56", "57", "20251122"), "20251122", 57),
        (("57", "20251121", "20251122"), "20251121", 57),
        (("20251122",), "20251122", 0),
        (("1", "1732300000"), "1732300000", 1),
        (("57", "251122"), "251122", 57),
        (("1000", "100001"), "100001", 1_000),
    ],
)
def test_a_number_far_above_the_one_below_is_doubted(names: tuple[str, ...], doubted: str, below: int) -> None:
    assert numbers(*names).doubted() == (f"{STEM}{doubted}", below)


@pytest.mark.parametrize("names", [(), ("10000",), ("57", "1057"), ("1000", "100000"), ("57", "2025")])
def test_gaps_that_happen_are_believed(names: tuple[str, ...]) -> None:
    assert numbers(*names).doubted()[0] == ""


def test_a_resource_becomes_what_is_held() -> None:
    resource = {
        "public_id": f"{STEM}1",
        "format": "png",
        "bytes": 9,
        "created_at": "2023-11-14T22:13:20Z",
        "context": {"custom": {"sha256": "5ha", "md5": "said", "image": "B1/1"}},
        "new_key": {},
    }
    expected = Held(f"{STEM}1", "png", 9, "", "5ha", "B1/1", 1_700_000_000_000)
    assert held(resource) == expected
    for etag, md5 in (("0" * 32, "0" * 32), (f"{'0' * 32}-2", "")):
        assert held({**resource, "etag": etag}) == structs.replace(expected, md5=md5)
    assert held_of({"resources": [resource, 7, {"bytes": 1}, {**resource, "placeholder": True}]}) == (expected,)


def test_an_odd_listing_holds_nothing() -> None:
    assert held_of({}) == ()
    assert held({"public_id": "a", "bytes": "many", "created_at": "once"}) == Held("a", "", 0)
