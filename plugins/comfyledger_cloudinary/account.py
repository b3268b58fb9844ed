"""Whose account it is and how uploads shall look: options, where the secret comes from, fields and their signature.

Options and the environment come in once, at the start; a checked, frozen `Options` goes out, and the fields of each
upload. Nothing here goes out to the network. Two sources that say different things are an error, never a silent choice.
The secret is kept in a `Secret`, which shows itself to nobody who does not ask.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # the stubs lack it

from comfyledger.plugin_api import Deposit
from comfyledger_cloudinary.answers import is_loopback
from comfyledger_cloudinary.kinds import name_in_account

CLOUDINARY: Final = "https://api.cloudinary.com"
FOLDER_MODES: Final = ("auto", "dynamic", "fixed")
DELIVERY_TYPES: Final = ("upload", "private", "authenticated")
SIGNATURE_ALGORITHMS: Final = ("sha1", "sha256")
OWN_CONTEXT: Final = ("sha256", "md5", "image")
CONCURRENT_MAX: Final = 256
TIMEOUT_MAX_S: Final = 3_600.0


class Secret:
    """A secret that is masked when it is printed."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def masked(self, text: str) -> str:
        """The text with the secret masked, if it holds it."""
        return text.replace(self._value, "****")

    def __repr__(self) -> str:
        return "Secret(****)"


@dataclass(frozen=True, slots=True)
class Account:
    """Which account, under which address."""

    cloud_name: str
    api_key: str
    secret: Secret
    upload_prefix: str = CLOUDINARY


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of one section of the configuration. The defaults are those of `config.toml`."""

    account: Account
    folder_mode: str = "auto"
    tags: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
    delivery_type: str = "upload"
    uploads_concurrent_max: int = 8
    connect_timeout_s: float = 10.0
    send_timeout_s: float = 30.0
    answer_timeout_s: float = 60.0
    signature_algorithm: str = "sha1"
    proxy: str = field(default="", repr=False)
    """The address of an HTTP proxy, which may hold a login; empty is none."""

    def masked(self, text: str) -> str:
        """The text with the secret and the proxy's login masked, if it holds them."""
        login = urlsplit(self.proxy).netloc.rpartition("@")[0]
        text = self.account.secret.masked(text)
        return text.replace(login, "****") if login else text


def options_from(name: str, given: Mapping[str, Any], environment: Mapping[str, str]) -> Options:
    """Check and complete the options of the store `name`. Raises ValueError with a sentence that holds no secret."""
    try:
        _check_names(given)
        settled = {option: check(option, given[option]) for option, check in _CHECKS.items() if option in given}
        said = _said(given, environment)
        account = _account(said)
        settled = {**_of_the_url(said), **settled}
        proxy = settled.pop("proxy", "") or proxy_from(environment, account.upload_prefix)
        return Options(account=account, proxy=proxy, **settled)
    except ValueError as error:
        raise ValueError(f"stores.{name}: {error}") from None


def upload_fields(options: Options, mode: str, deposit: Deposit, timestamp_s: int) -> dict[str, str]:
    """The signed fields of one upload, all but the file. `mode`: dynamic or fixed.

    Nothing else is ever sent: a preset, a transformation or other folders would change name or bytes.
    """
    from cloudinary.utils import api_sign_request, encode_context

    name = name_in_account(deposit.public_id, deposit.extension)
    folder, _, leaf = name.rpartition("/")
    said = {"sha256": deposit.sha256, "md5": deposit.md5, "image": deposit.image_id, **dict(options.context)}
    fields = {
        "public_id": name,
        "overwrite": "false",
        "type": options.delivery_type,
        "context": str(encode_context(said)),
        "tags": ",".join(options.tags),
        "timestamp": str(timestamp_s),
        **({"asset_folder": folder, "display_name": leaf} if mode == "dynamic" else {}),
    }
    fields = {key: value for key, value in fields.items() if value}
    account = options.account
    # Everything is passed, so that the SDK's global configuration is not used.
    signature = str(api_sign_request(dict(fields), account.secret.reveal(), options.signature_algorithm, 2))
    return {**fields, "api_key": account.api_key, "signature": signature}


def destroy_fields(options: Options, public_id: str, timestamp_s: int) -> dict[str, str]:
    """The signed fields of one call of `destroy`. `public_id`: that of the account."""
    from cloudinary.utils import api_sign_request

    account = options.account
    fields = {
        "public_id": public_id,
        "type": options.delivery_type,
        "invalidate": "true",
        "timestamp": str(timestamp_s),
    }
    signature = str(api_sign_request(dict(fields), account.secret.reveal(), options.signature_algorithm, 2))
    return {**fields, "api_key": account.api_key, "signature": signature}


def _check_names(given: Mapping[str, Any]) -> None:
    for option in given:
        if option not in _KNOWN:
            near = difflib.get_close_matches(option, _KNOWN, 1, 0.0)[0]
            raise ValueError(f"unknown option {option!r}; did you mean {near!r}?")


def proxy_from(environment: Mapping[str, str], address: str) -> str:
    """The proxy that the environment names for an address: HTTPS_PROXY or HTTP_PROXY, except for the hosts in NO_PROXY.

    Both are read in lower case first, as curl does. Raises ValueError for one that is no http address.
    """
    url = urlsplit(address)
    named = {key.lower(): value for key, value in sorted(environment.items()) if value}  # lower case sorts last, wins
    proxy = named.get(f"{url.scheme}_proxy", "")
    host = url.hostname or ""
    if not proxy or is_loopback(host) or proxy_bypass_environment(host, {"no": named.get("no_proxy", "")}):
        return ""
    return _proxy(f"{url.scheme.upper()}_PROXY", proxy)


def _proxy(option: str, value: Any) -> str:
    if value == "":
        return ""
    try:
        url = urlsplit(value if "://" in str(value) else f"http://{value}")
        is_fit = url.scheme == "http" and url.hostname and url.port is not None and url.path in {"", "/"}
    except (ValueError, TypeError, AttributeError):
        is_fit = False
    if not is_fit or url.query or url.fragment:
        raise ValueError(f"{option} must be of the form http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    return f"http://{url.netloc}"


def _said(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Options first. The environment is read only for what they leave out."""
    said = _from_options(given, environment)
    if not {"cloud_name", "api_key", "api_secret"} <= said.keys():
        said = _agreed(said, *_from_environment(environment))
    return said


def _of_the_url(said: Mapping[str, str]) -> dict[str, str]:
    """The options that a URL may set besides the account, checked like options of the configuration."""
    return {part: _CHECKS[part](part, said[part]) for part in ("signature_algorithm", "proxy") if part in said}


def _account(said: Mapping[str, str]) -> Account:
    for part in ("cloud_name", "api_key", "api_secret"):
        if not said.get(part):
            raise ValueError(f"{part} is missing: set it, or put a url_file, a credential or CLOUDINARY_URL in place")
    if not re.fullmatch("[A-Za-z0-9_-]+", said["cloud_name"]):
        raise ValueError("cloud_name may hold letters, digits, - and _ only")
    prefix = _checked_prefix(said.get("upload_prefix") or CLOUDINARY)
    return Account(said["cloud_name"], said["api_key"], Secret(said["api_secret"]), prefix)


def _from_options(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    sources = [source for source in ("api_secret", "api_secret_file", "credential", "url_file") if given.get(source)]
    if len(sources) > 1:
        raise ValueError(f"{' and '.join(sources)} both say where the secret is: keep one of them")
    plain = {
        part: str(given[part]) for part in ("cloud_name", "api_key", "api_secret", "upload_prefix") if given.get(part)
    }
    match sources:
        case ["api_secret_file"]:
            return {**plain, "api_secret": _read("api_secret_file", Path(str(given["api_secret_file"])))}
        case ["url_file"]:
            return _agreed(plain, _from_url("url_file", _read("url_file", Path(str(given["url_file"])))))
        case ["credential"]:
            return _agreed(plain, _from_credential(str(given["credential"]), environment))
        case _:
            return plain


def _from_credential(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """A credential of systemd holds the secret alone or a whole CLOUDINARY_URL."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ValueError("credential is set, but systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set)")
    if "/" in name:
        raise ValueError("credential is the name of a systemd credential, not a path")
    text = _read("credential", Path(folder) / name)
    return _from_url("credential", text) if "://" in text else {"api_secret": text}


def _from_environment(environment: Mapping[str, str]) -> list[dict[str, str]]:
    url = environment.get("CLOUDINARY_URL", "").strip()
    variables = {
        part: environment.get(f"CLOUDINARY_{part.upper()}", "") for part in ("cloud_name", "api_key", "api_secret")
    }
    return [
        *([_from_url("CLOUDINARY_URL", url)] if url else []),
        {part: said for part, said in variables.items() if said},
    ]


def _agreed(*sources: Mapping[str, str]) -> dict[str, str]:
    """All values, if no two sources differ. An address may be given twice; the first one counts."""
    agreed: dict[str, str] = {}
    for source in sources:
        for part, said in source.items():
            if agreed.setdefault(part, said) != said and part not in _URL_PARTS:
                raise ValueError(f"two different values of {part} are given (options, URL or environment): keep one")
    return agreed


def _from_url(source: str, text: str) -> dict[str, str]:
    """`cloudinary://KEY:SECRET@CLOUD`, percent-decoded, the cloud's case kept; the SDK does neither (1.46.3)."""
    try:
        url = urlsplit(text.removeprefix("CLOUDINARY_URL=").strip("\"'"))
    except ValueError:
        raise ValueError(f"{source} contains no URL") from None
    user, _, cloud = url.netloc.rpartition("@")
    key, _, secret = user.partition(":")
    if url.scheme.lower() != "cloudinary" or not (key and secret and cloud):
        raise ValueError(f"{source} must be of the form cloudinary://API_KEY:API_SECRET@CLOUD_NAME")
    said = {"cloud_name": unquote(cloud), "api_key": unquote(key), "api_secret": unquote(secret)}
    return {part: value for part, value in said.items() if value} | _query(source, url.query)


def _query(source: str, query: str) -> dict[str, str]:
    """The query of a URL. An unknown part that would change an upload is refused."""
    found = {}
    for name, values in parse_qs(query).items():
        if name in _URL_PARTS:
            found[_URL_PARTS[name]] = values[-1]
        elif name not in _URL_IRRELEVANT:
            known = ", ".join(_URL_PARTS)
            raise ValueError(f"{source} has the unknown part {name[:40]!r} (known: {known})")
    return found


def _read(option: str, path: Path) -> str:
    if not path.expanduser().is_absolute():
        raise ValueError(f"{option} must be an absolute path (a leading ~ is expanded)")
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"{option}: {path} cannot be read: {reason}") from None
    if not text:
        raise ValueError(f"{option}: {path} is empty")
    return text


def _checked_prefix(text: str) -> str:
    """Plain HTTP would expose the secret on the network, so it is allowed on this machine only."""
    url = urlsplit(text)
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or ""))
    if not is_safe or not url.hostname:
        raise ValueError("upload_prefix must be an https:// address (http:// only on loopback)")
    if "@" in url.netloc or url.query or url.fragment:
        raise ValueError("upload_prefix must be an address alone, without user, query or fragment")
    return text.rstrip("/")


def _choice(*allowed: str) -> Callable[[str, Any], str]:
    def check(option: str, value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{option} must be one of {', '.join(allowed)}")
        return str(value)

    return check


def _seconds(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= TIMEOUT_MAX_S:
        raise ValueError(f"{option} must be a number of seconds, above 0 and at most {TIMEOUT_MAX_S:g}")
    return float(value)


def _concurrent(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= CONCURRENT_MAX:
        raise ValueError(f"{option} must be a whole number from 1 to {CONCURRENT_MAX}")
    return value


def _tags(option: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(tag, str) and tag and "," not in tag for tag in value):
        raise ValueError(f"{option} must be a list of texts without commas")
    return tuple(value)


def _context(option: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(said, str) and said for said in value.values()):
        raise ValueError(f"{option} must be a table of texts")
    for key in value:
        if key in OWN_CONTEXT or not re.fullmatch("[A-Za-z0-9_-]+", key):
            raise ValueError(
                f"{option}: {key!r} cannot be used (letters, digits, - and _; not {', '.join(OWN_CONTEXT)})"
            )
    return tuple(value.items())


_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "folder_mode": _choice(*FOLDER_MODES),
    "tags": _tags,
    "context": _context,
    "delivery_type": _choice(*DELIVERY_TYPES),
    "uploads_concurrent_max": _concurrent,
    "connect_timeout_s": _seconds,
    "send_timeout_s": _seconds,
    "answer_timeout_s": _seconds,
    "signature_algorithm": _choice(*SIGNATURE_ALGORITHMS),
    "proxy": _proxy,
}
_URL_PARTS: Final = {
    "upload_prefix": "upload_prefix",
    "signature_algorithm": "signature_algorithm",
    "api_proxy": "proxy",
}
"""What a CLOUDINARY_URL may say behind `?`, by the names of the SDK (1.46.3), and the option that it stands for."""
_URL_IRRELEVANT: Final = frozenset(
    {
        *("secure", "secure_distribution", "private_cdn", "cdn_subdomain", "secure_cdn_subdomain", "cname", "shorten"),
        *("analytics", "urlAnalytics", "sign_url", "long_url_signature", "use_root_path", "signature_version"),
    }
)
"""How the SDK builds addresses for web pages, which is not used here."""
_KNOWN: Final = (
    *("cloud_name", "api_key", "api_secret", "api_secret_file", "credential", "url_file", "upload_prefix"),
    *_CHECKS,
)
