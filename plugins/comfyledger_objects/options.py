"""Which bucket it is and how uploads shall look: the options of one section, checked once, at the start.

Options and the environment come in; a frozen `Options` goes out. Nothing here goes out to the network. What the
options leave out (credentials, mostly) obstore itself looks for: in the variables of the environment that the
provider's own tools use, and in the services that give credentials to machines and containers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

Kind = Literal["s3", "gcs", "azure"]
CONCURRENT_MAX: Final = 64
TIMEOUT_MAX_S: Final = 3_600.0
URL_LIFETIME_MAX_S: Final = 604_800
"""A week, the longest that S3 and Google sign."""
LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")
ENCRYPTIONS: Final = {"aes256": "AES256", "aws:kms": "aws:kms"}
PLACES: Final[Mapping[Kind, str]] = {
    "s3": "https://s3.amazonaws.com",
    "gcs": "https://storage.googleapis.com",
    "azure": "https://blob.core.windows.net",
}
"""Where a kind is without `endpoint`. S3 puts its region into the host, Azure its account."""
PLAIN: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s3": ("skip_signature", "virtual_hosted_style_request", "unsigned_payload", "s3_express", "request_payer"),
    "gcs": ("skip_signature",),
    "azure": ("skip_signature", "use_emulator", "use_fabric_endpoint"),
}
"""What obstore would read from the environment if it were not told that it is off, by its names."""
RIVALS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s3": (),
    "gcs": ("GOOGLE_BEARER_TOKEN", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT"),
    "azure": (),
}
"""Variables of the environment that obstore would use instead of a configured account, or refuse beside it."""


class Secret:
    """A secret that is masked when it is printed."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of one section of the configuration. The defaults are those of `config.toml`."""

    kind: Kind
    bucket: str
    prefix: str = ""
    endpoint: str = ""
    account: tuple[tuple[str, str], ...] = ()
    """The parts of the account that are not secret, by the names that obstore has for them."""
    secrets: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    """The parts that are secret, by the names that obstore has for them."""
    cache_control: str = ""
    storage_class: str = ""
    server_side_encryption: str = ""
    kms_key_id: str = ""
    url_template: str = ""
    url_lifetime_s: int = 0
    unsafe_overwrite_check: str = ""
    uploads_concurrent_max: int = 8
    connect_timeout_s: float = 10.0
    request_timeout_s: float = 120.0

    @property
    def told(self) -> dict[str, str | bool]:
        """What obstore is told, by its names, secrets included, so that the environment does not say it instead."""
        keyed = {"credential_type": "access_key"} if self.kind == "azure" and self.secrets else {}
        secrets = {name: secret.reveal() for name, secret in self.secrets}
        return {**dict.fromkeys(PLAIN[self.kind], False), **keyed, **dict(self.account), **secrets}

    @property
    def identity(self) -> str:
        """The place, spelled in one way."""
        where = urlsplit(self.endpoint or PLACES[self.kind])
        host = (where.hostname or "").lower()
        if self.kind == "s3" and re.fullmatch(r"s3[.-]?[a-z0-9-]*\.amazonaws\.com", host):
            host = "s3.amazonaws.com"
        if self.kind == "azure" and not self.endpoint:
            host = f"{dict(self.account).get('account_name', '')}.{host}"
        is_usual = where.port in {None, {"https": 443, "http": 80}[where.scheme]}
        place = f"{host}{'' if is_usual else f':{where.port}'}{where.path.rstrip('/')}"
        return f"{self.kind}:{place}/{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def asks_first(self) -> bool:
        """Whether uploads carry no condition, and the server is asked before each of them instead."""
        return self.unsafe_overwrite_check == "head"

    @property
    def is_plain(self) -> bool:
        """Whether what is sent can be read on the way."""
        url = urlsplit(self.endpoint)
        return url.scheme == "http" and not LOOPBACK.fullmatch(url.hostname or "")

    def masked(self, text: str) -> str:
        """The text with each secret masked, if it holds it."""
        for _, secret in self.secrets:
            text = text.replace(secret.reveal(), "****")
        return text


def options_from(name: str, kind: Kind, given: Mapping[str, Any], environment: Mapping[str, str]) -> Options:
    """Check and complete the options of the store `name`. Raises ValueError with a sentence that holds no secret."""
    try:
        for option in given:
            if option not in KNOWN[kind]:
                near = difflib.get_close_matches(option, KNOWN[kind], 1, 0.0)[0]
                raise ValueError(f"unknown option {option!r}; did you mean {near!r}?")
        settled = {option: check(option, given[option]) for option, check in CHECKS.items() if option in given}
        if not settled.get("bucket"):
            raise ValueError("bucket is missing")
        settled["endpoint"] = _endpoint(kind, given.get("endpoint", ""), environment)
        if settled.get("kms_key_id") and settled.get("server_side_encryption") != "aws:kms":
            raise ValueError('kms_key_id needs server_side_encryption = "aws:kms"')
        return Options(
            kind=kind, account=_account(kind, given, environment), secrets=_secrets(kind, given, environment), **settled
        )
    except ValueError as error:
        raise ValueError(f"stores.{name}: {error}") from None


def _from_environment(kind: Kind, environment: Mapping[str, str]) -> str:
    """obstore would read these as well. They say which place it is, so they are read here."""
    return next((environment[name] for name in _ENDPOINTS[kind] if environment.get(name)), "")


def _endpoint(kind: Kind, given: Any, environment: Mapping[str, str]) -> str:
    text = _text("endpoint", given) or _from_environment(kind, environment)
    if not text:
        return ""
    url = _parsed(text)
    if url is None or url.scheme not in {"https", "http"} or "?" in text or "#" in text:
        raise ValueError("endpoint must be an http:// or https:// address alone, without user, query or fragment")
    if kind == "gcs" and url.scheme == "http" and not LOOPBACK.fullmatch(url.hostname or ""):
        raise ValueError("endpoint must be an https:// address: Google's credentials are sent as they are")
    return text.rstrip("/")


def _parsed(text: str) -> SplitResult | None:
    """The parts of an address that has a host and no user; None if it is none."""
    try:
        url = urlsplit(text)
        is_fit = bool(url.hostname) and "@" not in url.netloc and " " not in text and url.port != 0
    except ValueError:
        return None
    return url if is_fit else None


def _account(kind: Kind, given: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    said = {option: _text(option, given[option]) for option in _ACCOUNT[kind] if given.get(option)}
    if kind == "s3":
        said.setdefault("region", environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1")
    if kind == "azure":
        said.setdefault("account_name", environment.get("AZURE_STORAGE_ACCOUNT_NAME", ""))
        if not said["account_name"]:
            raise ValueError("account_name is missing: set it, or AZURE_STORAGE_ACCOUNT_NAME")
    return tuple(said.items())


def _secrets(kind: Kind, given: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[tuple[str, Secret], ...]:
    """The secret has one source. A session token goes with it."""
    option, key = _SECRET[kind], _SECRET_KEY[kind]
    sources = [source for source in (option, f"{option}_file", "credential") if given.get(source)]
    if len(sources) > 1:
        raise ValueError(f"{' and '.join(sources)} both say where the secret is: keep one of them")
    token = _text("session_token", given.get("session_token", "")) if kind == "s3" else ""
    found = [("session_token", Secret(token))] if token else []
    if sources:
        found.append((key, Secret(_secret(sources[0], given[sources[0]], environment))))
        if rival := next((name for name in RIVALS[kind] if environment.get(name)), ""):
            raise ValueError(f"{sources[0]} cannot be used while the environment has {rival}: unset one of them")
    if kind == "s3" and bool(sources) != bool(given.get("access_key_id")):
        raise ValueError(f"access_key_id and {option} belong together: set both, or neither to use the environment")
    if token and not sources:
        raise ValueError(f"session_token needs access_key_id and {option}")
    return tuple(found)


def _secret(source: str, value: Any, environment: Mapping[str, str]) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{source} must be a text")
    if source == "credential":
        folder = environment.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ValueError("credential is set, but systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set)")
        if "/" in value:
            raise ValueError("credential is the name of a systemd credential, not a path")
        return _read(source, Path(folder) / value)
    return _read(source, Path(value).expanduser()) if source.endswith("_file") else value


def _read(option: str, path: Path) -> str:
    if not path.is_absolute():
        raise ValueError(f"{option} must be an absolute path (a leading ~ is expanded)")
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"{option}: {path} cannot be read: {reason}") from None
    if not text:
        raise ValueError(f"{option}: {path} is empty")
    return text


def _text(option: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ValueError(f"{option} must be a text of ASCII characters")
    return value


def _bucket(option: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", value):
        raise ValueError(f"{option} must be the name of a bucket: letters, digits, -, _ and . only")
    return value


def _prefix(option: str, value: Any) -> str:
    text = value.strip("/") if isinstance(value, str) else None
    parts = text.split("/") if text else []
    if text is None or not text.isprintable() or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{option} must be a path without empty parts, . and ..")
    return text


def _seconds(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= TIMEOUT_MAX_S:
        raise ValueError(f"{option} must be a number of seconds, above 0 and at most {TIMEOUT_MAX_S:g}")
    return float(value)


def _concurrent(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= CONCURRENT_MAX:
        raise ValueError(f"{option} must be a whole number from 1 to {CONCURRENT_MAX}")
    return value


def _encryption(option: str, value: Any) -> str:
    text = _text(option, value)
    if text and text not in ENCRYPTIONS:
        raise ValueError(f"{option} must be one of {', '.join(ENCRYPTIONS)}")
    return text


def _overwrite_check(option: str, value: Any) -> str:
    if value not in ("", "head"):
        raise ValueError(f'{option} must be empty or "head"')
    return str(value)


def _template(option: str, value: Any) -> str:
    """A plain text up to {key}: an address that was recorded is read by what stands before it."""
    text = _text(option, value)
    before = text.removesuffix("{key}")
    url = _parsed(before)
    is_fit = url is not None and url.scheme == "https" and bool(url.path) and not set(before) & set("{}?#")
    if text and (not is_fit or before == text):
        raise ValueError(f"{option} must be an https:// address that ends in {{key}}, the only part in braces")
    return text


def _lifetime(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= URL_LIFETIME_MAX_S:
        raise ValueError(f"{option} must be a whole number of seconds, at most {URL_LIFETIME_MAX_S:,}; 0 is none")
    return value


CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "bucket": _bucket,
    "prefix": _prefix,
    "cache_control": _text,
    "storage_class": _text,
    "server_side_encryption": _encryption,
    "kms_key_id": _text,
    "url_template": _template,
    "url_lifetime_s": _lifetime,
    "unsafe_overwrite_check": _overwrite_check,
    "uploads_concurrent_max": _concurrent,
    "connect_timeout_s": _seconds,
    "request_timeout_s": _seconds,
}
_ACCOUNT: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s3": ("region", "access_key_id"),
    "gcs": (),
    "azure": ("account_name",),
}
_SECRET: Final[Mapping[Kind, str]] = {"s3": "secret_access_key", "gcs": "service_account", "azure": "account_key"}
_SECRET_KEY: Final[Mapping[Kind, str]] = {
    "s3": "secret_access_key",
    "gcs": "service_account_key",
    "azure": "account_key",
}
"""The same by obstore's name."""
_ENDPOINTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gcs": ("GOOGLE_BASE_URL",),
    "azure": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_S3_ONLY: Final = ("server_side_encryption", "kms_key_id")
KNOWN: Final[Mapping[Kind, tuple[str, ...]]] = {
    kind: (
        "endpoint",
        *_ACCOUNT[kind],
        *((_SECRET[kind],) if kind != "gcs" else ()),
        f"{_SECRET[kind]}_file",
        "credential",
        *(("session_token",) if kind == "s3" else ()),
        *(option for option in CHECKS if kind == "s3" or option not in _S3_ONLY),
    )
    for kind in _SECRET
}
"""The options of each kind."""
