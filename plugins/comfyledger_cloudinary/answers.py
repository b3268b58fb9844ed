"""What an answer of Cloudinary means: status, headers and body, or a fault on the way, become an outcome. PURE.

The whole table is here: no clock, no network, no SDK. Status and text together decide whether the image or the account
is at fault, because Cloudinary uses one status for several things.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from comfyledger.plugin_api import Deleted, Deletion, Deposit, Foreign, Held, ImageFault, LaneFault, Outcome, Stored
from comfyledger_cloudinary.kinds import name_in_account

TEXT_CHARS_MAX: Final = 2_000
DETAIL_CHARS_MAX: Final = 200
RETRY_AFTER_MIN_S: Final = 1.0
RETRY_AFTER_MAX_S: Final = 86_400.0
"""A day. The lane is tried again by then, whatever the server says."""

LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")
CONFLICT_TRIES: Final = 3
STALE_TRIES: Final = 2
_TRY_AGAIN: Final = re.compile(
    r"try again on ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) utc", re.IGNORECASE
)
_MD5: Final = re.compile("[0-9a-f]{32}")
_DETAILS: Final = ("asset_id", "version", "bytes", "width", "height", "etag")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer as it came. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def judge(deposit: Deposit, answer: Answer, now_s: float) -> Outcome:
    """The outcome of one upload. `now_s`: seconds since 1970, used only where the answer does not say its own time."""
    if 200 <= answer.status < 300:
        return _accepted(deposit, answer)
    return refusal(answer, now_s)


def is_stale(answer: Answer) -> bool:
    """Whether a signature was too old: the clocks differ, or the request was on its way for an hour."""
    return answer.status == 400 and "stale request" in words(answer).casefold()


def is_unfinished(answer: Answer) -> bool:
    """Whether a chunk of an upload was taken and Cloudinary waits for the next one."""
    return 200 <= answer.status < 300 and parsed(answer.body).get("done") is False


def broken(*, begun: bool, text: str) -> LaneFault:
    """A fault without an answer. `begun`: a byte of the body may have left, so that nobody knows what was stored."""
    return LaneFault("unknown" if begun else "not_reached", bounded(text))


def deserves_another_try(outcome: Outcome, answer: Answer, tries: int) -> bool:
    """Whether to sign and send again at once: a stale signature once, a conflict twice. `tries` so far, from 1."""
    if isinstance(outcome, LaneFault) and outcome.code == "clock":
        return tries < STALE_TRIES
    return answer.status == 409 and tries < CONFLICT_TRIES


def refusal(answer: Answer, now_s: float) -> ImageFault | LaneFault:
    """What a status other than 2xx means. What is not in the table is `unknown` and is sent again."""
    text = words(answer)
    folded = text.casefold()
    match answer.status:
        case 420 if "active subscription" in folded:
            return LaneFault("configuration", text)
        case 420 | 429:
            return LaneFault("throttled", text, retry_after_s(answer, now_s))
        case 400 if is_stale(answer):
            return LaneFault("clock", _about_the_clock(answer, text, now_s))
        case 400 if not _is_cloudinarys(answer):
            return LaneFault("unknown", text)  # A proxy's: parking images for it would be wrong.
        case 400 | 409 | 413:
            return ImageFault("refused", text)
        case 401 | 403 | 404:
            return LaneFault("configuration", text)
        case _:
            return LaneFault("unknown", text)


def admin_fault(answer: Answer, now_s: float) -> LaneFault:
    """The same for a question about the account, which belongs to no image."""
    fault = refusal(answer, now_s)
    return fault if isinstance(fault, LaneFault) else LaneFault("unknown", fault.text)


def judge_destroyed(answer: Answer, now_s: float) -> Deletion:
    """The outcome of a deletion. A missing asset counts as deleted. `now_s`: as in `judge`."""
    result = parsed(answer.body).get("result") if 200 <= answer.status < 300 else None
    if result in {"ok", "not found"}:
        return Deleted(found=result == "ok")
    if result is not None:
        return LaneFault("unknown", f"The answer does not say that the image is deleted: {words(answer)}")
    return admin_fault(answer, now_s)


def is_ours(found: Held, ours: Held) -> bool:
    """Whether an asset is ours, by its bytes or, if the account changed them, by its context at the upload."""
    pairs = ((found.md5, ours.md5), (found.sha256, ours.sha256), (found.image_id, ours.image_id))
    return any(one and one == other for one, other in pairs)


def foreign(found: Held, ours: Held) -> Foreign:
    return Foreign(f"{found.public_id} has other content (etag {found.md5}, ours {ours.md5}).")


def retry_after_s(answer: Answer, now_s: float) -> float | None:
    """How long a throttled caller should wait, from 1 s to a day; None if the answer does not say.

    Moments are compared with the answer's own `Date`, so that our clock need not be right.
    """
    until_s = resets_at(answer, now_s)
    if until_s is None:
        return None
    return min(max(until_s - now_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)


def resets_at(answer: Answer, now_s: float) -> float | None:
    """The moment, by our clock, from which an answer allows more calls; None if it does not say."""
    said = _TRY_AGAIN.search(words(answer))
    after = answer.headers.get("retry-after", "").strip()
    if not said and re.fullmatch("[0-9]{1,9}", after):
        return now_s + int(after)
    if said:
        moment: float | None = datetime.fromisoformat(said[1]).replace(tzinfo=UTC).timestamp()
    else:
        moment = _moment(after) or _moment(answer.headers.get("x-featureratelimit-reset", ""))
    return None if moment is None else moment + now_s - server_time(answer, now_s)


def server_time(answer: Answer, now_s: float) -> float:
    """Seconds since 1970 by the server's own clock, ours if it does not say."""
    return _moment(answer.headers.get("date", "")) or now_s


def calls_left(answer: Answer) -> int | None:
    """Calls that are left of the hour's budget; None if the answer does not say."""
    left = answer.headers.get("x-featureratelimit-remaining", "").strip()
    return int(left) if re.fullmatch("[0-9]{1,9}", left) else None


def words(answer: Answer) -> str:
    """The error's text, bounded: Cloudinary's message, else its header, else the beginning of the body."""
    said = _message(answer) or answer.body[:DETAIL_CHARS_MAX].decode(errors="replace").strip()
    if 300 <= answer.status < 400:
        said = f"a redirect, which is not followed: is upload_prefix the address of Cloudinary itself? {said}".strip()
    return bounded(f"HTTP {answer.status}: {said}" if said else f"HTTP {answer.status}")


def bounded(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"


def parsed(body: bytes) -> dict[str, Any]:
    """The object of a JSON answer; empty for anything else, cut off or not JSON."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def context_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """The context that was sent with an asset: `context.custom`, or `context` itself in older answers."""
    context = fields.get("context")
    context = context.get("custom", context) if isinstance(context, dict) else {}
    items = context.items() if isinstance(context, dict) else ()
    return {key: value for key, value in items if isinstance(value, str)}


def text_of(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def etag_of(fields: Mapping[str, Any]) -> str:
    return text_of(fields, "etag").strip('"').lower()


def md5_of(fields: Mapping[str, Any]) -> str:
    """The MD5 of the stored bytes; empty if the etag is none, as object storages have it for files sent in parts."""
    etag = etag_of(fields)
    return etag if _MD5.fullmatch(etag) else ""


def _accepted(deposit: Deposit, answer: Answer) -> Outcome:
    fields = parsed(answer.body)
    public_id, url, etag = text_of(fields, "public_id"), text_of(fields, "secure_url"), etag_of(fields)
    if not (public_id and url and etag) or fields.get("status") == "pending":
        return LaneFault("unknown", f"The answer does not say that the image is stored: {words(answer)}")
    if not is_safe_address(url):
        return LaneFault(
            "unknown", bounded(f"The answer's secure_url is no https address: {url[:DETAIL_CHARS_MAX]!r}.")
        )
    asked = name_in_account(deposit.public_id, deposit.extension)
    if public_id != asked:
        return ImageFault("misnamed", bounded(f"Cloudinary calls it {public_id!r} instead of {asked!r}."))
    details = _details(fields)
    if fields.get("existing"):
        return _existing(deposit, fields, url, details)
    return Stored(url, details=details) if _has_ours(deposit, fields) else _altered(deposit, etag, url)


def _has_ours(deposit: Deposit, fields: Mapping[str, Any]) -> bool:
    """Whether an asset has our bytes: by its MD5, or by its size where the etag is no MD5."""
    md5 = md5_of(fields)
    return md5 == deposit.md5 if md5 else fields.get("bytes") == deposit.size_bytes


def _existing(deposit: Deposit, fields: Mapping[str, Any], url: str, details: dict[str, str | int]) -> Outcome:
    """Something has the name already: our bytes, our bytes changed by the account, our image, or a foreign asset."""
    etag, said = etag_of(fields), context_of(fields)
    again: dict[str, str | int] = {**details, "first_attempt": 1} if deposit.first_attempt else details
    is_said = said.get("sha256") == deposit.sha256
    if _has_ours(deposit, fields) and (md5_of(fields) or is_said):
        return Stored(url, replayed=True, details=again)
    if is_said:
        return _altered(deposit, etag, url)
    if said.get("image") == deposit.image_id:
        return Stored(url, replayed=True, details={**again, "adopted": etag})
    text = f"{deposit.public_id} exists already and has other content (etag {etag}, ours {deposit.md5}): {url}"
    return ImageFault("collision", bounded(text))


def _altered(deposit: Deposit, etag: str, url: str) -> ImageFault:
    """The account changed our bytes, so no upload of them can be verified."""
    text = (
        f"Cloudinary holds other bytes than were sent as {deposit.public_id} (etag {etag}, ours {deposit.md5}): {url}. "
        "Does the account change files at upload (an incoming transformation)? Switch that off, delete the asset, and "
        "retry the image."
    )
    return ImageFault("altered", bounded(text))


def is_safe_address(text: str) -> bool:
    """Whether an address may be given to users: https, or http on loopback, with a host and without a login."""
    try:
        url = urlsplit(text)
        host = url.hostname or ""
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text and "@" not in url.netloc
    return is_plain and bool(host) and (url.scheme == "https" or (url.scheme == "http" and is_loopback(host)))


def is_loopback(host: str) -> bool:
    return LOOPBACK.fullmatch(host) is not None


def _details(fields: Mapping[str, Any]) -> dict[str, str | int]:
    known = {key: fields.get(key) for key in _DETAILS}
    return {
        key: value[:DETAIL_CHARS_MAX] if isinstance(value, str) else value
        for key, value in known.items()
        if isinstance(value, str | int)
    }


def _message(answer: Answer) -> str:
    error = parsed(answer.body).get("error")
    return (text_of(error, "message") if isinstance(error, dict) else "") or answer.headers.get("x-cld-error", "")


def _is_cloudinarys(answer: Answer) -> bool:
    return bool(_message(answer))


def _about_the_clock(answer: Answer, text: str, now_s: float) -> str:
    off_s = now_s - server_time(answer, now_s)
    return bounded(f"{text} This machine's clock is {off_s:+.0f} s off Cloudinary's: is its time set?")


def _moment(text: str) -> float | None:
    """Seconds since 1970 of a date as HTTP writes it, or of such a number; without a zone it is UTC."""
    if re.fullmatch("[0-9]{9,11}", text.strip()):
        return float(text)
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
