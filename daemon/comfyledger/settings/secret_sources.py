"""Where a secret is: the configuration names a place and never contains the secret itself.

`env:NAME`, `file:PATH` (relative to the configuration) or `credential:NAME`, which systemd passes
($CREDENTIALS_DIRECTORY: systemd.exec(5), LoadCredential=).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from comfyledger.errors import Refused
from comfyledger.settings.sections import Secret

HINT: Final = "Correct the place of the secret, or let the user of the daemon read the file."
_KINDS: Final = frozenset({"env", "file", "credential"})


def is_source(text: str) -> bool:
    kind, _, rest = text.partition(":")
    return kind in _KINDS and bool(rest) and not (kind == "credential" and "/" in rest)


def read_secret(source: str, environ: Mapping[str, str]) -> Secret:
    """The secret at a source, without the line end that an editor adds. Raises Refused(config_invalid)."""
    kind, _, rest = source.partition(":")
    found = environ.get(rest, "") if kind == "env" else _read(kind, rest, environ)
    if not found.strip():
        hint = "Provide the secret there, or remove this setting from the configuration."
        raise Refused("config_invalid", f"There is no secret at {source}.", hint=hint)
    return Secret(found.strip())


def _read(kind: str, rest: str, environ: Mapping[str, str]) -> str:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if kind == "credential" and not folder:
        hint = "Add LoadCredential= to the service, or use a file."
        raise Refused("config_invalid", f"systemd passed no credentials, so there is no credential {rest}.", hint=hint)
    path = Path(rest) if kind == "file" else Path(folder or "") / rest
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Refused("config_invalid", f"{kind}:{rest} cannot be read: {reason}.", hint=HINT) from error
