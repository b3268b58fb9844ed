"""A service account of Google that no service knows: a private key, and the file in which Google gives one out."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def made_key() -> str:
    """A new private key. Stand-ins want a token that it has signed, and check none."""
    made = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return str(made.private_bytes(*form), "ascii")


def account_of(key: str) -> dict[str, str]:
    """What the file of an account says."""
    return {"type": "service_account", "private_key": key, "private_key_id": "1", "client_email": "tests@localhost"}


def account_file(folder: Path, key: str) -> Path:
    """The file of an account, in this folder."""
    file = folder / "account.json"
    file.write_text(json.dumps(account_of(key)))
    return file
