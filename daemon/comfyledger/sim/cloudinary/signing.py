"""Who a request comes from, as Cloudinary checks it: signatures, HTTP Basic, the age of a timestamp.

Pure: parameters and secrets in, a verdict out. Written independently of the official package, so that a mistake of
either one shows. Nothing here knows of HTTP or of stored assets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

SIGNATURE_AGE_S_MAX: Final = 3600
_NOT_SIGNED: Final = frozenset({"file", "cloud_name", "resource_type", "api_key", "signature"})
_DIGESTS: Final = {40: "sha1", 64: "sha256"}


def string_to_sign(parameters: Mapping[str, str], version: int = 2) -> str:
    """`k=v` sorted and joined by `&`, empty values dropped; version 2 writes an `&` inside a pair as `%26`."""
    pairs = [f"{key}={value}" for key, value in parameters.items() if value and key not in _NOT_SIGNED]
    if version >= 2:
        pairs = [pair.replace("&", "%26") for pair in pairs]
    return "&".join(sorted(pairs))


def sign(text: str, secret: str, digest: str = "sha1") -> str:
    """The digest of the text followed by the secret, in hexadecimal."""
    return hashlib.new(digest, (text + secret).encode()).hexdigest()


def is_signed(parameters: Mapping[str, str], signature: str, secret: str) -> bool:
    """Whether the signature belongs to these parameters, in version 1 or 2, by SHA-1 or SHA-256."""
    digest = _DIGESTS.get(len(signature))
    if digest is None or not signature.isascii():
        return False
    wanted = [sign(string_to_sign(parameters, version), secret, digest) for version in (1, 2)]
    return any(hmac.compare_digest(signature, each) for each in wanted)


def sign_answer(public_id: str, version: int, secret: str) -> str:
    """The signature in an answer, by which a client recognizes a forged one: by the rule of version 1."""
    return sign(string_to_sign({"public_id": public_id, "version": str(version)}, 1), secret)


def basic_pair(header: str | None) -> tuple[str, str] | None:
    """The key and the secret of an Authorization header; None if there is none or it cannot be read."""
    kind, _, coded = (header or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        key, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return key, secret


def refuse_signature(parameters: Mapping[str, str], signature: str) -> str:
    """The error text for a wrong signature. It names what should have been signed, never the secret."""
    return f"Invalid Signature {signature}. String to sign - '{string_to_sign(parameters)}'."


def refuse_age(timestamp: str, now_s: float) -> str | None:
    """The error text for a timestamp that is older than an hour or not a number; None for a good one."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        return f"Invalid timestamp {timestamp}"
    if now_s - int(timestamp) <= SIGNATURE_AGE_S_MAX:
        return None
    sent_at = datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d %H:%M:%S +0000")
    return f"Stale request - reported time is {sent_at} which is more than 1 hour ago"
