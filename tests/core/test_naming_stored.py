"""Laws of reading back: what a store holds is found again under the series and number that it was given under."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series, Templates, is_outlier, name_of, number_of, series_in, series_of
from comfyledger.errors import Refused

TEMPLATES = Templates()
VARIANTS = (
    TEMPLATES,
    Templates(folder="{character}/{username}", file="{username}{character}_{number}"),
    Templates(folder="all", file="{character}-{username}.{number}.Raw"),
    Templates(folder="{collection}{username}{collection}", file="{username}_{number}_"),
    Templates(folder="all/v1", file="com{number}"),
    Templates(folder="{username}{character}", file="{collection}.i_{number}"),
    Templates(folder="u_2/{username}.{character}", file="{username}{username}{character}_X{number}"),
    Templates(collection_premade="C.x", collection_own="c"),
    Templates(file="{username}{medium}_{character}_image_{number}"),
    Templates(file="{username}_{character}_image_{number}"),
)
NASTY = [
    *("..", "/", "-", "_", " ", "CON", "nul", "com1", "lpt", "v1", "v", "u_2", "w_200", "x-", "_image_1", "1", "007"),
    *("é", "e\u0301", "\u0345", "α", "ß", "İ", "ŉ", "\u212a", "\u1112", "\u1161", "\u11ab", "한", "か\u3099", "١"),
    *("שלום", "🔥", "𠮷", "𝓐", "a" * 70, "山" * 60, "premade_characters", "images", "#"),
]
typed = st.lists(st.sampled_from(NASTY) | st.text(max_size=4), max_size=9).map("".join)
long = st.builds(lambda part, times: (part * times)[:1_000], typed, st.integers(1, 200))
numbers = st.integers(1, 200) | st.integers(1, 10**15 - 1) | st.just(10**15 - 1)
MEDIA = get_args(Medium)
FOLDER = "Areg/characters/opal-fever/images"


@given(st.sampled_from(VARIANTS), typed | long, typed | long, numbers, st.booleans(), st.sampled_from(MEDIA))
def test_every_name_that_can_be_given_is_found_again(
    templates: Templates, username: str, character: str, number: int, premade: bool, medium: Medium
) -> None:
    try:
        series = series_of(templates, username, character, premade, medium)
    except Refused:  # Nothing usable was typed.
        return
    assert series_in(templates, name_of(series, number).public_id) == (series, number)


@given(st.sampled_from(VARIANTS), typed, typed, numbers)
def test_what_is_found_has_the_number_that_its_own_series_reads(
    templates: Templates, folder: str, file: str, number: int
) -> None:
    found = series_in(templates, f"{folder}/{file}_image_{number}")
    if found is not None:
        series, highest = found
        assert number_of(series, f"{file}_image_{number}", folder) == highest


@pytest.mark.parametrize("spelled", ["areg/CHARACTERS/Opal-Fever/images/AREG_opal-fever_Image_0057"])
def test_another_spelling_is_the_same_series_and_keeps_what_is_written(spelled: str) -> None:
    found = series_in(TEMPLATES, spelled)
    assert found is not None
    assert found[1] == 57
    assert found[0].key == series_of(TEMPLATES, "Areg", "Opal Fever", False).key
    assert found[0].folder == "areg/CHARACTERS/Opal-Fever/images"


def test_neighbours_that_composed_into_one_sign_are_found() -> None:
    templates = Templates(folder="{username}{character}", file="i_{number}")
    series = series_of(templates, "\u1112", "\u1161", False)
    assert series.folder == "하"
    assert series_in(templates, name_of(series, 7).public_id) == (series, 7)


def test_decomposed_names_are_read_composed() -> None:
    found = series_in(TEMPLATES, "Zoe\u0308/characters/x/images/Zoe\u0308_x_image_1")
    assert found == (series_of(TEMPLATES, "Zoë", "x", False), 1)


@pytest.mark.parametrize(
    "public_id",
    [
        "",
        "57",
        "Areg_opal-fever_image_57",
        f"{FOLDER}/Areg_opal-fever_image_",
        f"{FOLDER}/Areg_opal-fever_image_0",
        f"{FOLDER}/Areg_opal-fever_image_1234567890123456",
        f"{FOLDER}/Areg_opal-fever_image_١",
        f"{FOLDER}/Areg_opal-fever_image_5-final",
        f"{FOLDER}/Areg_opal-fever_picture_5",
        f"{FOLDER}/opal-fever_image_5",
        f"{FOLDER}/_x_image_5",
        f"{FOLDER}/deeper/Areg_opal-fever_image_5",
        f"x/{FOLDER}/Areg_opal-fever_image_5",
        "Areg/others/opal-fever/images/Areg_opal-fever_image_5",
        "Areg/characters//images/Areg_opal-fever_image_5",
        f"{FOLDER}/Areg_opal#fever_image_5",
        f"{FOLDER}/{'a' * 200}_x_image_5",
    ],
)
def test_what_no_name_looks_like_is_of_no_series(public_id: str) -> None:
    assert series_in(TEMPLATES, public_id) is None


def test_the_number_is_the_last_run_of_digits() -> None:
    found = series_in(TEMPLATES, f"{FOLDER}/Areg_opal_image_7_image_58")
    assert found == (Series(f"{FOLDER.lower()}/areg_opal_image_7_image_", FOLDER, "Areg_opal_image_7_image_", ""), 58)


@pytest.mark.parametrize(
    ("highest", "second", "expected"),
    [
        (57, 0, False),
        (10_000, 0, False),
        (10_001, 0, True),
        (10_001, 100, True),
        (10_001, 101, False),
        (20_251_122, 57, True),
        (20_251_122, 20_251_121, False),
        (162_000, 161_000, False),
    ],
)
def test_a_maximum_far_above_the_second_highest_is_doubted(highest: int, second: int, expected: bool) -> None:
    assert is_outlier(highest, second) is expected
