"""Names of images: from a typed user and character to a series, and from a series and a number to a name.

Templates and typed text go in, values come out; nothing is looked up and nothing counted here. Which letters survive
is settled in `slugs`; here are the templates, the components of the path, the budgets and the identity of a counter.

    typed user ──portable──┐
    typed character ──slug─┴─▶ cut to fit ──▶ templates ──▶ escapes ──▶ Series ──number──▶ Name

- **The number is the last run of digits of a leaf.** A literal non-digit stands before `{number}`, literal text
  without any digit (or nothing) after it. So a leaf can be read back in one way only, and two names of different
  series, even under different templates, are never equal.
- **A series is its rendered text**, folded. Typed names that end up alike (`Areg` and `areg`, `a_b` + `c` and
  `a` + `b_c`, `con` and `x-con`) share one counter, while each folder keeps the spelling typed. Nothing here needs to
  be injective for numbers to stay unique.
- **Escapes.** A component gets `x-` in front if it is a reserved Windows name (`con`, `com1`, also `con.txt`; with `$`
  none can be written), if it looks like a version of Cloudinary (`v1`), or, as the first folder, like a transformation
  (`u_2`, `w_200`: a key of its transformation reference before `_`; `bob_smith` stays) or a signature.
- **Budgets.** A component has 255 bytes of UTF-8, of which a leaf leaves room for 15 digits, an extension and a
  temporary suffix; a whole public_id has 255 characters (Cloudinary's limit; one beyond the BMP counts as two). What
  is too long is the user's and the character's: the longer of them is cut, at a character, and ends in `-` and 8 hex
  digits of the SHA-256 of all of it, folded. Numbers and literals are never cut. More than 1,000 typed characters are
  refused.
- **A medium has a series of its own** if the file template has `{medium}`: `image`, `video`, `audio`, `model`, `file`.
  It is a word of ours like the literals, so it is never cut, and `image` gives the names of before.
- **A medium has a series of its own** where the file template has `{medium}`. It is a word of ours like the literals,
  so it is never cut, and `image` gives the names that were given before there were media.
- **Reading back** (`series_in`) finds every name that can be given, escapes and cuts included, and more: what stands
  for a typed text may be any text, since nobody knows what was typed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final, get_args
from unicodedata import normalize

import msgspec

from comfyledger.core.media import Medium
from comfyledger.core.naming.slugs import fold, portable, slug
from comfyledger.errors import Refused

NUMBER_DIGITS_MAX: Final = 15
COMPONENT_BYTES_MAX: Final = 255
PUBLIC_ID_CHARACTERS_MAX: Final = 255
TYPED_CHARACTERS_MAX: Final = 1_000
EXTENSION_BYTES: Final = 5
"""A dot and four letters: `.webp`."""
TEMPORARY_SUFFIX_BYTES: Final = 33
"""A dot and 32 bytes, for the name of a file that is still being written."""
STEM_BYTES_MAX: Final = COMPONENT_BYTES_MAX - NUMBER_DIGITS_MAX - EXTENSION_BYTES - TEMPORARY_SUFFIX_BYTES

_CUT_BYTES_MIN: Final = 16
"""No value is cut shorter: templates must leave that much room. One character of four bytes and the hash fit."""
_HASH_DIGITS: Final = 8
_ESCAPE: Final = "x-"
_SUFFIX_MARK: Final = "#"
"""Between prefix and suffix of a series key; no name can hold it."""

_OUTLIER_MIN: Final = 10_000
_OUTLIER_TIMES: Final = 100

_NUMBERED: Final = re.compile(rf"(.*[^0-9])([0-9]{{1,{NUMBER_DIGITS_MAX}}})([^0-9]*)", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_KNOWN: Final = frozenset({"username", "collection", "character", "number", "medium"})
_MEDIA: Final = "|".join(get_args(Medium))
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}
)
_RESERVED_WITH_NUMBER: Final = frozenset({"com", "lpt", "v"})
_DOTS_INSIDE: Final = re.compile(r"[^.]+(\.[^.]+)*")
_VERSION: Final = re.compile(r"v[0-9]+")
_TRANSFORMATION: Final = re.compile(
    r"(a|ac|af|ar|b|bl|bo|br|c|co|cs|d|dl|dn|dpr|du|e|eo|f|fl|fn|fps|g|h|if|ki|l|o|p|pg|q|r|so|sp|t|u|vc|vs|w|x|y|z)_|s--"
)
"""The keys of Cloudinary's transformation reference; an unversioned URL would take such a folder for one of them."""


class Templates(msgspec.Struct, frozen=True):
    """How folders and files are called. Literal text is ASCII: letters, digits, `-`, `_`, `.` and, in folders, `/`.

    `{medium}` may stand in `file` alone. Without it, files of all media share one series.
    """

    folder: str = "{username}/{collection}/{character}/images"
    file: str = "{username}_{character}_{medium}_{number}"
    collection_premade: str = "premade_characters"
    collection_own: str = "characters"


class Series(msgspec.Struct, frozen=True):
    """All that a name has besides its number. `folder`, `stem` and `suffix` are as written, not folded."""

    key: str
    """The identity of the counter: folder, `/` and stem, folded; then `#` and the folded suffix if there is one."""
    folder: str
    stem: str
    suffix: str


class Name(msgspec.Struct, frozen=True):
    """One name given. `file` has no extension; `key` is the folding of folder, `/` and file, for the UNIQUE table."""

    folder: str
    file: str
    key: str

    @property
    def public_id(self) -> str:
        return f"{self.folder}/{self.file}"


def series_of(templates: Templates, username: str, character: str, premade: bool, medium: Medium = "image") -> Series:
    """The series that a typed user and character belong to, under templates that `check_templates` accepts.

    Any spelling of the same text (NFC, NFD) gives the same series. Raises Refused `name_unusable` with the path of
    the field if no letter or digit remains of it or it is too long to be a name, and `config_invalid` if the
    templates leave no room.
    """
    user = _usable(portable(_bounded(username, "username")), "username")
    what = _usable(slug(_bounded(character, "character")), "character")
    collection = templates.collection_premade if premade else templates.collection_own
    of_medium = _with_medium(templates, medium)
    whole = _render(of_medium, user, what, collection)
    return whole if _fits(whole) else _render_cut(of_medium, user, what, collection)


def name_of(series: Series, number: int) -> Name:
    """The name of one number, 1 to 10**15-1. Raises Refused `name_unusable` for a number that has no name."""
    if not 1 <= number < 10**NUMBER_DIGITS_MAX:
        raise Refused(
            "name_unusable",
            f"The series {series.key} has no name for the number {number}.",
            hint="A number has at most 15 digits. Another user or character begins a new series.",
        )
    prefix, _, suffix = series.key.partition(_SUFFIX_MARK)
    return Name(series.folder, f"{series.stem}{number}{series.suffix}", f"{prefix}{number}{suffix}")


def name_after(folder: str, file: str, number: int) -> Name:
    """The name with another number of the series that a name given belongs to; no digit follows a number in a name.

    Raises ValueError for what is no name given, Refused `name_unusable` like `name_of`.
    """
    read = _NUMBERED.fullmatch(file)
    if read is None:
        raise ValueError(f"no name given: {folder}/{file}")
    return name_of(_series(folder, read[1], read[3]), number)


def number_of(series: Series, file: str, folder: str) -> int | None:
    """The number of a file that a store holds (leaf without extension), or None if it is not of this series.

    However it is spelled: names are compared folded. Only 1 to 15 ASCII digits are a number (`int` and `\\d` would
    take those of other scripts as well); leading zeros are, too, so that `image_007` holds the place of 7.
    """
    prefix, _, suffix = series.key.partition(_SUFFIX_MARK)
    key = fold(f"{folder}/{file}")
    if not key.startswith(prefix) or not key.endswith(suffix):
        return None
    digits = key[len(prefix) : len(key) - len(suffix)]
    if len(digits) > NUMBER_DIGITS_MAX or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)


def series_in(templates: Templates, public_id: str) -> tuple[Series, int] | None:
    """The series and number of a file that a store holds, or None if no name under the templates can look like it.

    For whatever was typed, `series_in(templates, name_of(series_of(...), n).public_id)` is that series and n. Other
    spellings of a name (case, NFD) have the same key, but keep the folder and stem that they are written with.
    """
    folder, _, file = normalize("NFC", public_id).rpartition("/")
    read = _NUMBERED.fullmatch(file)
    suffix = templates.file.partition("{number}")[2]
    if read is None or fold(read[3]) != fold(suffix) or _SUFFIX_MARK in public_id:
        return None
    series = _series(folder, read[1], read[3])
    of_folder, of_stem = _written(templates)
    is_ours = _fits(series) and of_folder.fullmatch(fold(folder)) and of_stem.fullmatch(fold(series.stem))
    return (series, int(read[2])) if is_ours and int(read[2]) else None


def is_outlier(highest: int, second: int) -> bool:
    """Whether the highest number of a series is not a count but a date (`image_20251122`) or a foreign id.

    It is if it is above 10,000 and above a hundred times the second highest (0 if there is none). Whoever numbers one
    by one and deletes now and then stays far below that.
    """
    return highest > _OUTLIER_MIN and highest > _OUTLIER_TIMES * second


def outlier_in(numbers: Iterable[int], below: int = 0) -> tuple[int, int] | None:
    """The lowest of these numbers that is an outlier above the one below it, and that one (`below` for the first).

    What lies above an outlier is no better: two dates do not make each other a counter's.
    """
    for number in sorted(numbers):
        if is_outlier(number, below):
            return number, below
        below = number
    return None


def extremes(numbers: Iterable[int]) -> tuple[int, ...]:
    """The lowest and the highest number of each count of digits, in order: 30 at most.

    `outlier_in` says the same of these as of all, since a leap of a hundred times skips a whole count of digits.
    """
    found: dict[int, tuple[int, int]] = {}
    for number in numbers:
        digits = len(str(number))
        least, most = found.get(digits, (number, number))
        found[digits] = min(least, number), max(most, number)
    return tuple(sorted({number for pair in found.values() for number in pair}))


def check_templates(templates: Templates) -> None:
    """Raises Refused `config_invalid` for templates that could give bad or equal names; its path is the field."""
    _check_text("folder", templates.folder, r"[A-Za-z0-9._/-]*")
    _check_text("file", templates.file, r"[A-Za-z0-9._-]*")
    _check_number(templates)
    for field in ("collection_premade", "collection_own"):
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", getattr(templates, field)):
            raise _config(field, "must be one folder of ASCII letters, digits, '-', '_' and single dots between them")
    _check_rendered(templates, templates.collection_premade)
    _check_rendered(templates, templates.collection_own)


def _check_text(field: str, template: str, literals: str) -> None:
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in _KNOWN]
    if unknown:
        raise _config(field, f"has the unknown placeholder {{{unknown[0]}}}")
    if not re.fullmatch(literals, _PLACEHOLDER.sub("", template)):
        raise _config(field, "may have only ASCII letters, digits, '-', '_' and '.' besides its placeholders")


def _check_number(templates: Templates) -> None:
    for name in ("number", "medium"):
        if f"{{{name}}}" in templates.folder:
            raise _config("folder", f"must not have {{{name}}}")
    before, *after = templates.file.split("{number}")
    if len(after) != 1:
        raise _config("file", "must have {number} exactly once")
    if not re.search(r"[A-Za-z._-]\Z", before):
        raise _config("file", "needs a letter, '-', '_' or '.' right before {number}")
    if re.search(r"[0-9{]", after[0]):
        raise _config("file", "must not have a digit or a placeholder after {number}")


def _check_rendered(templates: Templates, collection: str) -> None:
    # No value begins or ends with a dot, and an escape adds two characters: what holds for this value holds for all.
    value = "n" * (_CUT_BYTES_MIN + len(_ESCAPE))
    longest = max(get_args(Medium), key=len)
    series = _render(_with_medium(templates, longest), value, value, collection)
    paths = (("folder", series.folder), ("file", f"{series.stem}1{series.suffix}"))
    for field, path in paths:
        if not all(_DOTS_INSIDE.fullmatch(component) for component in path.split("/")):
            raise _config(field, "gives a part of a path that is empty, has a dot at an end, or has two dots together")
    if not _fits(series):
        raise _config("file", "is so long together with its folder that no name fits")


def _config(field: str, sentence: str) -> Refused:
    hint = f"Remove the key to use the default, {getattr(Templates(), field)!r}."
    return Refused("config_invalid", f"The name template {field!r} {sentence}.", hint=hint, path=field)


def _bounded(typed: str, field: str) -> str:
    if len(typed) > TYPED_CHARACTERS_MAX:
        raise _unusable(field, f"is longer than {TYPED_CHARACTERS_MAX} characters", "Send a shorter one.")
    return typed


def _usable(value: str, field: str) -> str:
    if not value.strip("-_."):
        what, hint = "has no letter or digit that a file name can hold", "Use letters or digits of any language."
        raise _unusable(field, what, hint)
    return value


def _unusable(field: str, sentence: str, hint: str) -> Refused:
    return Refused("name_unusable", f"The {field} {sentence}.", hint=hint, path=field)


def _with_medium(templates: Templates, medium: Medium) -> Templates:
    """The templates with `{medium}` filled in: from here on it is literal text, never cut."""
    return msgspec.structs.replace(templates, file=templates.file.replace("{medium}", medium))


def _render(templates: Templates, user: str, character: str, collection: str) -> Series:
    values = {"{username}": user, "{character}": character, "{collection}": collection}
    before, _, suffix = templates.file.partition("{number}")
    first, *rest = _fill(templates.folder, values).split("/")
    folder = "/".join([_first_folder(first), *map(_component, rest)])
    return _series(folder, _stem(_fill(before, values)), suffix)


def _series(folder: str, stem: str, suffix: str) -> Series:
    prefix = fold(f"{folder}/{stem}")
    key = f"{prefix}{_SUFFIX_MARK}{fold(suffix)}" if suffix else prefix
    return Series(key=key, folder=folder, stem=stem, suffix=suffix)


@lru_cache(maxsize=8)
def _written(templates: Templates) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What a folder and a stem, folded, look like under the templates."""
    components = (_pattern(templates, component) for component in templates.folder.split("/"))
    stem = _pattern(templates, templates.file.partition("{number}")[0])
    return re.compile("/".join(components), re.DOTALL), re.compile(stem, re.DOTALL)


def _pattern(templates: Templates, component: str) -> str:
    """Neighbouring values are one here: they may have composed into one sign."""
    collections = "|".join(re.escape(fold(name)) for name in (templates.collection_premade, templates.collection_own))
    parts = re.split(r"((?:\{(?:username|character)\})+|\{collection\}|\{medium\})", component)
    written = {"{collection}": f"(?:{collections})", "{medium}": f"(?:{_MEDIA})"}
    shown = (written.get(part, "[^/]+") if part.startswith("{") else re.escape(fold(part)) for part in parts)
    return f"(?:{_ESCAPE})?" + "".join(shown)


def _fill(template: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return normalize("NFC", template)  # two values side by side may compose (Hangul jamo)


def _first_folder(text: str) -> str:
    return _ESCAPE + text if _TRANSFORMATION.match(fold(text)) else _component(text)


def _component(text: str) -> str:
    folded = fold(text)
    taken = folded.partition(".")[0] in _RESERVED or _VERSION.fullmatch(folded)
    return _ESCAPE + text if taken else text


def _stem(text: str) -> str:
    """What the number will follow: `com` before 1 is as reserved as `com1`."""
    return _ESCAPE + text if fold(text) in _RESERVED_WITH_NUMBER else _component(text)


def _fits(series: Series) -> bool:
    whole = f"{series.folder}/{series.stem}{series.suffix}"
    return (
        _bytes(series.stem + series.suffix) <= STEM_BYTES_MAX
        and all(_bytes(component) <= COMPONENT_BYTES_MAX for component in series.folder.split("/"))
        and len(whole.encode("utf-16-le")) // 2 + NUMBER_DIGITS_MAX <= PUBLIC_ID_CHARACTERS_MAX
    )


def _render_cut(templates: Templates, user: str, character: str, collection: str) -> Series:
    """The longest rendering that fits, with no value above one common length in bytes."""

    def rendered(bytes_max: int) -> Series:
        return _render(templates, _cut(user, bytes_max), _cut(character, bytes_max), collection)

    lengths = range(_CUT_BYTES_MIN, COMPONENT_BYTES_MAX + 1)
    too_long = bisect_left(lengths, True, key=lambda length: not _fits(rendered(length)))
    if too_long == 0:
        raise _config("file", "leaves no room for names")
    return rendered(lengths[too_long - 1])


def _cut(value: str, bytes_max: int) -> str:
    if _bytes(value) <= bytes_max:
        return value
    head = value.encode()[: bytes_max - _HASH_DIGITS - 1].decode(errors="ignore").rstrip("-.")
    return f"{head}-{sha256(fold(value).encode()).hexdigest()[:_HASH_DIGITS]}"


def _bytes(text: str) -> int:
    return len(text.encode())
