"""Who a request comes from: version 4 of AWS's signatures, in headers or in a signed address, and its age.

Pure: parts of a request and the account in, nothing or a refusal out. Written after the documentation ("Authenticating
Requests: AWS Signature Version 4"), independently of any client.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

import msgspec

from comfyledger.sim.objects.answers import Refused

SKEW_S_MAX: Final = 900
_HEADER: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)"
)
_CREDENTIAL: Final = re.compile(r"([^/]+)/(\d{8})/([^/]+)/s3/aws4_request")


class Account(msgspec.Struct, frozen=True):
    """Who may use the stand-in, and where its buckets are said to be."""

    key_id: str
    secret: str
    region: str
    session_token: str = ""


class Signed(msgspec.Struct, frozen=True):
    """What is said about a signature in headers or in a query."""

    key_id: str
    day: str
    region: str
    names: str
    signature: str
    at: str


def check_signature(
    account: Account, method: str, target: str, headers: Mapping[str, str], payload: str, now_s: float
) -> None:
    """Raises Refused unless the account has signed this request, less than 15 minutes from now.

    `target`: path and query as they were sent. `headers`: by small names. `payload`: as the client names the digest.
    """
    path, _, query = target.partition("?")
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    is_address = "X-Amz-Signature" in pairs
    signed = _of_address(pairs) if is_address else _of_header(headers)
    if signed.key_id != account.key_id:
        raise Refused("InvalidAccessKeyId")
    token = pairs.get("X-Amz-Security-Token", "") if is_address else headers.get("x-amz-security-token", "")
    if token != account.session_token:
        raise Refused("ExpiredToken" if account.session_token else "InvalidAccessKeyId")
    if signed.region != account.region:
        message = f"The authorization header is malformed; the region '{signed.region}' is wrong; expecting "
        raise Refused("AuthorizationHeaderMalformed", f"{message}'{account.region}'")
    _check_age(signed.at, now_s, int(pairs.get("X-Amz-Expires", "0")) if is_address else None)
    named = "&".join(sorted(f"{_quoted(key)}={_quoted(pairs[key])}" for key in pairs if key != "X-Amz-Signature"))
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed.names.split(";"))
    request = "\n".join(
        (method, _quoted(unquote(path), "/"), named, lines, signed.names, "UNSIGNED-PAYLOAD" if is_address else payload)
    )
    if not hmac.compare_digest(_signature(account, signed, request), signed.signature):
        raise Refused("SignatureDoesNotMatch")


def _of_header(headers: Mapping[str, str]) -> Signed:
    found = _HEADER.fullmatch(headers.get("authorization", ""))
    if found is None or not headers.get("x-amz-date"):
        raise Refused("AccessDenied")
    key_id, day, region, names, signature = found.groups()
    return Signed(key_id, day, region, names, signature, headers["x-amz-date"])


def _of_address(pairs: Mapping[str, str]) -> Signed:
    found = _CREDENTIAL.fullmatch(pairs.get("X-Amz-Credential", ""))
    if found is None or not pairs.get("X-Amz-Date"):
        raise Refused("AccessDenied")
    names = pairs.get("X-Amz-SignedHeaders", "")
    return Signed(found[1], found[2], found[3], names, pairs["X-Amz-Signature"], pairs["X-Amz-Date"])


def _check_age(at: str, now_s: float, lifetime_s: int | None) -> None:
    """Of a header: at most 15 minutes to either side. Of an address: until its end."""
    try:
        sent_at_s = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise Refused("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from error
    if lifetime_s is None and abs(now_s - sent_at_s) > SKEW_S_MAX:
        raise Refused("RequestTimeTooSkewed")
    if lifetime_s is not None and now_s > sent_at_s + lifetime_s:
        raise Refused("AccessDenied", "Request has expired")


def _signature(account: Account, signed: Signed, request: str) -> str:
    scope = f"{signed.day}/{signed.region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{account.secret}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{signed.at}\n{scope}\n{digest}"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _quoted(text: str, safe: str = "") -> str:
    """As the signature wants it, however the client or a proxy has written it."""
    return quote(text, safe=f"{safe}-_.~")
