"""Signed addresses of Azure, by an account key. PURE.

Those that obstore signs are refused for names that an address spells otherwise, such as names with a space or an
umlaut: it signs the spelling, and Azure compares the name. They also begin to be valid at this moment, by our clock,
which is too early for a server whose clock is behind.
Source: learn.microsoft.com/rest/api/storageservices/create-service-sas.
"""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

from comfyledger_objects.options import Options

VERSION: Final = "2023-11-03"
PERMISSIONS: Final = {"GET": "r", "PUT": "w", "DELETE": "d"}


def signed_address(options: Options, account_key: str, method: str, key: str, ends_at_s: float) -> str:
    """An address for one method and key until a time, in seconds since 1970. Raises ValueError for an odd key."""
    account = dict(options.account)["account_name"]
    place = options.endpoint or f"https://{account}.blob.core.windows.net"
    ends_at = datetime.fromtimestamp(ends_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    resource = f"/blob/{account}/{options.bucket}/{key}"
    fields = (PERMISSIONS[method], "", ends_at, resource, "", "", "", VERSION, "b", *[""] * 7)
    digest = hmac.digest(base64.b64decode(account_key), "\n".join(fields).encode(), "sha256")
    said = {
        "sp": PERMISSIONS[method],
        "se": ends_at,
        "sv": VERSION,
        "sr": "b",
        "sig": base64.b64encode(digest).decode(),
    }
    return f"{place}/{options.bucket}/{quote(key)}?{urlencode(said)}"
