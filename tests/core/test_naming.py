"""Laws of names: where they may lie, which may be equal, what never changes. Whatever is typed."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, get_args
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Name, Series, Templates, check_templates, name_of, number_of, series_of
from comfyledger.core.naming.slugs import fold, portable, slug
from comfyledger.errors import Refused

GOLDEN = json.loads((Path(__file__).parent / "golden_names.json").read_text("utf-8"))
TEMPLATES = Templates()
BEFORE_MEDIA = Templates(file="{username}_{character}_image_{number}")
BIGGEST = 10**15 - 1
VARIANTS = (
    TEMPLATES,
    Templates(folder="{character}/{username}", file="{username}{character}_{number}"),
    Templates(folder="all", file="{character}-{username}.{number}.raw"),
    Templates(folder="all", file="{username}_{number}_"),
    Templates(folder="all/v1", file="com{number}"),
    Templates(folder="{username}{character}", file="i_{number}"),
    Templates(collection_premade="c", collection_own="c"),
    Templates(folder="all", file="{medium}-{username}{medium}{character}_{number}"),
    BEFORE_MEDIA,
)
MEDIA = get_args(Medium)
media = st.sampled_from(MEDIA)
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|v[0-9]+")
NASTY = [
    *("..", "/", "\\", "../", ".", "-", "_", " ", "\x00", "\n", "%2e", ":", "?", "#", "~", "$"),
    *("CON", "nul", "com1", "COM¹", "lpt", "v1", "v", "u_2", "w_200", "x-", "_image_1", "1", "0", "007"),
    *("é", "e\u0301", "\u0301", "\u0345", "\u0323", "α", "ß", "ſ", "İ", "ı", "ŉ", "\u212b", "\u212a", "Ⓐ", "．"),
    *("\u1112", "\u1161", "\u11ab", "한", "か\u3099", "هـ", "١", "１", "²", "שלום", "\u202e", "\u200b", "\ufe0f"),
    *("🔥", "👩\u200d🚀", "𠮷", "𝓐", "\U0001d165", "\ud800", "\U000e0041", "\u0378", "a" * 70, "山" * 60),
]
typed = st.lists(st.sampled_from(NASTY) | st.text(max_size=4) | st.text("aB1_-.", max_size=4), max_size=9).map("".join)
long = st.builds(lambda part, times: (part * times)[:1_000], typed, st.integers(1, 200))
numbers = st.integers(1, 200) | st.integers(1, BIGGEST) | st.just(BIGGEST)
templates_good = st.sampled_from(VARIANTS)


def series_or_none(
    templates: Templates, username: str, character: str, premade: bool = True, medium: Medium = "image"
) -> Series | None:
    try:
        return series_of(templates, username, character, premade, medium)
    except Refused as refused:
        if refused.code == "name_unusable" and refused.path in {"username", "character"}:
            return None
        raise


def given_name(username: str, character: str, number: int, premade: bool = True) -> Name:
    return name_of(series_of(TEMPLATES, username, character, premade), number)


TRANSFORMATIONS = (
    "a|ac|af|ar|b|bl|bo|br|c|co|cs|d|dl|dn|dpr|du|e|eo|f|fl|fn|fps|g|h|if|ki|l|o|p|pg|q|r|so|sp|t|u|vc|vs|w|x|y|z"
)


def test_the_second_image_of_opal_fever_for_areg() -> None:
    name = given_name("Areg", "Opal Fever", 2)
    assert name.folder == "Areg/premade_characters/opal-fever/images"
    assert name.file == "Areg_opal-fever_image_2"
    assert name.public_id == "Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_2"
    assert name.key == "areg/premade_characters/opal-fever/images/areg_opal-fever_image_2"


def test_a_users_own_character_lies_in_another_collection() -> None:
    assert given_name("Areg", "Opal Fever", 2, premade=False).folder == "Areg/characters/opal-fever/images"


@pytest.mark.parametrize("row", GOLDEN["names"], ids=lambda row: ascii(row["username"] + "+" + row["character"])[:40])
def test_golden_names_never_change(row: dict[str, Any]) -> None:
    if "refused" in row:
        with pytest.raises(Refused) as caught:
            given_name(row["username"], row["character"], row["number"], row["premade"])
        assert (caught.value.code, caught.value.path) == ("name_unusable", row["refused"])
    else:
        name = given_name(row["username"], row["character"], row["number"], row["premade"])
        assert (name.public_id, name.key) == (row["public_id"], row["key"])


def test_no_code_point_changes_its_spelling_under_a_newer_python() -> None:
    # Planes 4 to 13 are empty, 15 and 16 private: nothing of them can be kept.
    every = "\n".join(map(chr, [*range(0x33480), *range(0xE0000, 0xE1000)]))
    kept = portable(every)
    spellings = {
        "portable": kept,
        "slug": slug(every),
        "folded": fold(kept),
        "decomposed": normalize("NFD", kept),
    }
    digests = {name: sha256(text.encode()).hexdigest() for name, text in spellings.items()}
    assert digests == GOLDEN["alphabet_sha256"]


def test_a_letter_that_only_a_newer_python_knows_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # U+1CCD6 is unassigned up to Unicode 15 and becomes "A" by NFKC from Unicode 16 on.
    monkeypatch.setattr(
        "comfyledger.core.naming.slugs.normalize", lambda form, text: normalize(form, text.replace("\U0001ccd6", "A"))
    )
    assert (portable("x\U0001ccd6y"), slug("x\U0001ccd6y")) == ("x-y", "x-y")


@given(templates_good, typed | long, typed | long, numbers, st.booleans(), media)
def test_nothing_leaves_its_folder_and_every_component_is_portable(
    templates: Templates, username: str, character: str, number: int, premade: bool, medium: Medium
) -> None:
    series = series_or_none(templates, username, character, premade, medium)
    if series is None:
        return
    name = name_of(series, number)
    components = name.public_id.split("/")
    assert len(components) == templates.folder.count("/") + 2
    for component in components:
        assert not re.search(r'[\s\x00-\x1f/\\:%?&#<>+|"*$~{}]', component)
        assert portable(component).strip("-._") != ""
        assert not component.startswith(".")
        assert not component.endswith(".")
        assert ".." not in component
        assert not RESERVED.fullmatch(fold(component))
        assert normalize("NFC", component) == component
        assert len(component.encode()) <= 255
    assert not re.match(rf"({TRANSFORMATIONS})_|v[0-9]+(/|\Z)|s--", fold(name.folder))
    assert len(f"{name.file}.webp.".encode()) + 32 <= 255
    assert len(name_of(series, BIGGEST).public_id) <= 255


@given(templates_good, typed, typed)
def test_every_spelling_of_a_text_is_the_same_series(templates: Templates, username: str, character: str) -> None:
    as_typed = series_or_none(templates, username, character)
    for form in ("NFC", "NFD"):
        assert series_or_none(templates, normalize(form, username), normalize(form, character)) == as_typed
    assert series_or_none(templates, username, character) == as_typed


@given(templates_good, typed)
def test_what_folds_alike_shares_a_counter(templates: Templates, username: str) -> None:
    spelled = portable(username)[:20]
    series, folded = series_or_none(templates, spelled, "c"), series_or_none(templates, fold(spelled), "c")
    assert (series and series.key) == (folded and folded.key)


def test_spellings_share_a_counter_and_keep_their_folders() -> None:
    one, other = series_of(TEMPLATES, "Areg", "Opal Fever", True), series_of(TEMPLATES, "areg", "OPAL  fever", True)
    assert one.key == other.key
    assert (one.folder.split("/")[0], other.folder.split("/")[0]) == ("Areg", "areg")


@given(typed)
def test_what_is_portable_stays_as_it_is(text: str) -> None:
    assert portable(portable(text)) == portable(text)
    assert slug(slug(text)) == slug(text) == fold(slug(text))


@given(templates_good, typed, typed, numbers, numbers)
def test_two_numbers_never_share_a_name(
    templates: Templates, username: str, character: str, one: int, other: int
) -> None:
    series = series_or_none(templates, username, character)
    if series is not None:
        assert (name_of(series, one).key == name_of(series, other).key) == (one == other)


@given(templates_good, templates_good, typed, typed, typed, typed, numbers, numbers, media)
def test_two_series_never_share_a_name(
    one: Templates, other: Templates, user: str, character: str, user2: str, character2: str, n: int, m: int, of: Medium
) -> None:
    first, second = series_or_none(one, user, character), series_or_none(other, user2, character2, medium=of)
    if first is not None and second is not None and first.key != second.key:
        assert name_of(first, n).key != name_of(second, m).key


@given(typed | long, typed | long, st.booleans())
def test_pictures_are_named_as_before_there_were_media(username: str, character: str, premade: bool) -> None:
    before = series_or_none(BEFORE_MEDIA, username, character, premade)
    assert series_or_none(TEMPLATES, username, character, premade) == before


@given(typed | long, typed | long)
def test_each_medium_counts_for_itself_where_the_template_says_so(username: str, character: str) -> None:
    found = {series_or_none(TEMPLATES, username, character, medium=medium) for medium in MEDIA}
    assert len({series and series.key for series in found}) == (1 if None in found else len(MEDIA))


def test_a_template_without_medium_gives_one_series_for_all_media() -> None:
    assert len({series_of(BEFORE_MEDIA, "Areg", "Opal Fever", True, medium) for medium in MEDIA}) == 1


def test_a_video_lies_beside_the_images_and_says_what_it_is() -> None:
    name = name_of(series_of(TEMPLATES, "Areg", "Opal Fever", True, "video"), 1)
    assert name.public_id == "Areg/premade_characters/opal-fever/images/Areg_opal-fever_video_1"


def test_no_names_meet_where_digits_and_separators_abut() -> None:
    short = ["".join(signs) for count in (1, 2) for signs in product("ab1_", repeat=count)]
    texts = [*filter(lambda text: text.strip("_"), short), "a_b", "b_c", "a_1_b", "x_image_1", "1_image_1"]
    owners: dict[str, tuple[str, int]] = {}
    for templates, user, character, number in product(VARIANTS, texts, texts, (1, 11, 111)):
        series = series_of(templates, user, character, True)
        name = name_of(series, number)
        assert owners.setdefault(name.key, (series.key, number)) == (series.key, number)


def test_a_b_with_c_and_a_with_b_c_share_a_counter_for_equal_names() -> None:
    flat = Templates(folder="all")
    check_templates(flat)
    assert series_of(flat, "a_b", "c", True).key == series_of(flat, "a", "b_c", True).key
    assert series_of(TEMPLATES, "a_b", "c", True).key != series_of(TEMPLATES, "a", "b_c", True).key


@given(templates_good, typed | long, typed | long, numbers, st.sampled_from(["NFC", "NFD"]), st.booleans())
def test_a_name_read_back_gives_its_number(
    templates: Templates, username: str, character: str, number: int, form: str, folded: bool
) -> None:
    series = series_or_none(templates, username, character)
    if series is None:
        return
    name = name_of(series, number)
    file, folder = (normalize(form, fold(text) if folded else text) for text in (name.file, name.folder))
    assert number_of(series, file, folder) == number


@pytest.mark.parametrize(
    ("file", "number"),
    [
        ("Areg_opal-fever_image_7", 7),
        ("AREG_Opal-Fever_IMAGE_007", 7),
        ("Areg_opal-fever_image_000000000000007", 7),
        ("Areg_opal-fever_image_0", 0),
        ("Areg_opal-fever_image_0000000000000007", None),
        ("Areg_opal-fever_image_", None),
        ("Areg_opal-fever_image_١", None),
        ("Areg_opal-fever_image_１", None),
        ("Areg_opal-fever_image_²", None),
        ("Areg_opal-fever_image_-7", None),
        ("Areg_opal-fever_image_7_copy", None),
        ("Areg_opal-fever_image_1_image_7", None),
        ("Areg_opal-fever_imag", None),
    ],
)
def test_only_ascii_digits_between_stem_and_suffix_are_a_number(file: str, number: int | None) -> None:
    series = series_of(TEMPLATES, "Areg", "Opal Fever", True)
    assert number_of(series, file, series.folder) == number
    assert number_of(series, file, "Areg/characters/opal-fever/images") is None


def test_stem_and_suffix_do_not_overlap_when_a_name_is_read() -> None:
    series = series_of(Templates(folder="all", file="a_{number}_"), "x", "y", True)
    assert number_of(series, "a_", "all") is None
    assert number_of(series, "a_12x", "all") is None
    assert number_of(series, "a_12_", "all") == 12


@pytest.mark.parametrize("number", [0, -1, 10**15])
def test_a_number_outside_fifteen_digits_has_no_name(number: int) -> None:
    with pytest.raises(Refused, match="has no name"):
        name_of(series_of(TEMPLATES, "Areg", "Opal Fever", True), number)


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = (series_of(TEMPLATES, "a" * 300 + end, "x", True) for end in "bc")
    assert one.key != other.key
    assert re.search(r"/a{20,}-[0-9a-f]{8}_x_image_\Z".replace("/", ""), one.stem)


@pytest.mark.parametrize("text", ["a ", "ba ", "a.", "山 "])
def test_a_cut_leaves_no_separator_before_the_hash(text: str) -> None:
    for lead in ("", "b", "bb"):
        assert re.match(r"[^-.](.*[^-.])?-[0-9a-f]{8}_", series_of(TEMPLATES, lead + text * 300, "x", True).stem)


def test_a_leaf_uses_its_bytes_to_the_last_and_no_more() -> None:
    series = series_of(Templates(folder="all"), "a" * 300, "x", True)
    longest = name_of(series, BIGGEST).file + ".webp" + "." + "t" * 32
    assert len(longest.encode()) == 255


def test_a_folder_never_has_more_than_255_bytes() -> None:
    wide = Templates(folder="{username}{character}", file="i_{number}")
    assert 250 <= len(series_of(wide, "山" * 80, "川" * 80, True).folder.encode()) <= 255


def test_what_the_number_would_make_reserved_is_escaped() -> None:
    for literal in ("com", "LPT", "v"):
        series = series_of(Templates(folder="all", file=literal + "{number}"), "Areg", "Opal Fever", True)
        assert name_of(series, 1).public_id == f"all/x-{literal}1"


def test_values_side_by_side_are_composed() -> None:
    series = series_of(Templates(folder="all", file="{username}{character}_{number}"), "\u1112", "\u1161", True)
    assert (series.stem, series.key) == ("\ud558_", "all/\ud558_")


def test_what_fits_exactly_is_not_cut() -> None:
    whole = series_of(TEMPLATES, "a" * 51, "b" * 51, True)
    assert whole.stem == f"{'a' * 51}_{'b' * 51}_image_"
    assert len(name_of(whole, BIGGEST).public_id) == 255


def test_the_longer_of_two_values_is_cut() -> None:
    assert series_of(TEMPLATES, "Areg", "word " * 60, True).stem.startswith("Areg_word-word-")


@pytest.mark.parametrize(
    ("templates", "field"),
    [
        (Templates(file="{username}_{character}_image"), "file"),
        (Templates(file="{username}_{number}_{number}"), "file"),
        (Templates(file="{number}"), "file"),
        (Templates(file="{username}{number}"), "file"),
        (Templates(file="{username}_2{number}"), "file"),
        (Templates(file="{username}_{number}0"), "file"),
        (Templates(file="{username}_{number}_v2"), "file"),
        (Templates(file="{username}_{number}{character}"), "file"),
        (Templates(file="{username}_{number}_{character}"), "file"),
        (Templates(file="{user}_{number}"), "file"),
        (Templates(file="{}_{number}"), "file"),
        (Templates(file="{username!r}_{number}"), "file"),
        (Templates(file="{{username}}_{number}"), "file"),
        (Templates(file="{username}/{character}_{number}"), "file"),
        (Templates(file="{username} {number}"), "file"),
        (Templates(file="é_{number}"), "file"),
        (Templates(file="a_{number}\n"), "file"),
        (Templates(file=".{username}_{number}"), "file"),
        (Templates(file="{username}_{number}."), "file"),
        (Templates(file="{username}..{number}"), "file"),
        (Templates(file="a" * 190 + "{username}_{number}"), "file"),
        (Templates(file="{username}" * 20 + "_{number}"), "file"),
        (Templates(folder=""), "folder"),
        (Templates(folder="/{username}"), "folder"),
        (Templates(folder="{username}/"), "folder"),
        (Templates(folder="{username}//images"), "folder"),
        (Templates(folder="{username}/../images"), "folder"),
        (Templates(folder="{username}/./images"), "folder"),
        (Templates(folder="{username}/.images"), "folder"),
        (Templates(folder="{username}./images"), "folder"),
        (Templates(folder="{username}/{number}"), "folder"),
        (Templates(folder="{username}/{medium}"), "folder"),
        (Templates(file="{username}_{medium}{number}"), "file"),
        (Templates(file="{username}_{number}_{medium}"), "file"),
        (Templates(collection_own="{medium}"), "collection_own"),
        (Templates(folder="{username}:images"), "folder"),
        (Templates(folder="{who}/images"), "folder"),
        (Templates(collection_own=""), "collection_own"),
        (Templates(collection_own="a/b"), "collection_own"),
        (Templates(collection_premade=".."), "collection_premade"),
        (Templates(collection_premade="{username}"), "collection_premade"),
        (Templates(collection_premade="c" * 200), "file"),
        (Templates(collection_own="c" * 200), "file"),
    ],
    ids=repr,
)
def test_templates_that_could_give_bad_or_equal_names_are_refused(templates: Templates, field: str) -> None:
    with pytest.raises(Refused) as caught:
        check_templates(templates)
    assert (caught.value.code, caught.value.path) == ("config_invalid", field)
    assert repr(getattr(TEMPLATES, field)) in caught.value.hint


@pytest.mark.parametrize("templates", VARIANTS, ids=repr)
def test_good_templates_are_taken(templates: Templates) -> None:
    check_templates(templates)


@given(long, long)
def test_templates_that_were_taken_leave_room_for_every_name(username: str, character: str) -> None:
    tight = Templates(file="a" * 99 + "{username}{character}_{number}", folder="u_{username}/{character}")
    check_templates(tight)
    series_or_none(tight, username, character)


def test_templates_without_room_are_refused_when_used_unchecked() -> None:
    with pytest.raises(Refused) as caught:
        series_of(Templates(file="a" * 250 + "_{number}"), "Areg", "Opal Fever", True)
    assert caught.value.code == "config_invalid"
