"""Completes and checks the settings: defaults that depend on other keys, absolute paths, and keys that contradict each
other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import platformdirs
from msgspec.structs import replace

from comfyledger.core.naming.names import check_templates
from comfyledger.core.urls import place_of, reached, shown_url
from comfyledger.core.webhooks import chosen_kinds
from comfyledger.errors import Refused
from comfyledger.settings.addresses import fetched_origin, is_any, listed_host, origin_of, suggested_host
from comfyledger.settings.backend_urls import backend_url, described
from comfyledger.settings.characters import character_mistakes
from comfyledger.settings.mistakes import Mistake
from comfyledger.settings.secret_sources import HINT, is_source
from comfyledger.settings.sections import SAMPLES_BY_DEFAULT, ComfyUI, Door, Secret, Settings, Webhook, Workflow

APP: Final = "comfyledger"
_SECRET: Final = re.compile(r"(secret|password|token|url|access_key|account_key)$")
"""Options of plugins whose values are never shown. A URL may contain a password."""


def complete(settings: Settings, base: Path, mistakes: list[Mistake]) -> Settings:
    """The settings as the daemon uses them. Relative paths are relative to `base`."""
    default_state = platformdirs.user_state_path(APP)
    state = _absolute(settings.state_dir, base) if settings.state_dir else default_state
    stores = settings.stores or {kind: {"kind": kind} for kind in settings.plugins}
    stores = stores or {"folder": {"kind": "folder", "root": str(state / "images")}}
    settings = replace(
        settings,
        state_dir=str(state),
        characters_dir=_path(settings.characters_dir, base),
        door=replace(settings.door, unix_path=_path(settings.door.unix_path, base)),
        ledger=replace(
            settings.ledger,
            path=_path(settings.ledger.path, base),
            shared=_shared(settings.ledger.shared, base),
        ),
        spool=replace(settings.spool, path=_path(settings.spool.path, base)),
        inputs=replace(settings.inputs, path=_path(settings.inputs.path, base)),
        comfyui={
            name: replace(
                comfyui,
                output_dir=_path(comfyui.output_dir, base),
                input_dir=_path(comfyui.input_dir, base),
                extra_data=_sources(comfyui.extra_data, base, f"comfyui.{name}.extra_data", mistakes),
            )
            for name, comfyui in (settings.comfyui or {"main": ComfyUI()}).items()
        },
        stores={
            name: _store(options, settings.plugins, base)
            for name, options in stores.items()
            if _has_kind(name, options, mistakes)
        },
        plugins={kind: _hidden(options) for kind, options in settings.plugins.items()},
        workflows={
            name: _workflow(name, workflow, base, mistakes)
            for name, workflow in (settings.workflows or SAMPLES_BY_DEFAULT).items()
        },
        webhooks={name: _webhook(name, webhook, base, mistakes) for name, webhook in settings.webhooks.items()},
    )
    _check(settings, mistakes)
    return settings


def _shared(address: str, base: Path) -> str:
    """The address of a shared log, or its place with an absolute path."""
    kind, _, rest = address.partition(":")
    return f"file:{_absolute(rest, base)}" if kind == "file" and rest else address


def _fleet(settings: Settings) -> Iterator[Mistake]:
    """What a box of a fleet lacks."""
    address = settings.ledger.shared
    if not address:
        return
    if not is_source(address) and not address.startswith(("postgresql://", "postgres://")):
        hint = (
            'Write it like "postgresql://comfyledger@db.example/comfyledger", or where it is, like "env:LOG_ADDRESS".'
        )
        yield Mistake("ledger.shared", "It is not the address of a PostgreSQL database.", hint)
    if not settings.box.name:
        hint = 'Write name = "north", for example: a name that no other box of the fleet has.'
        yield Mistake("box.name", "[ledger] shared is set, and the box has no name.", hint)
    yield from _box_url(settings.box.url)
    for name, options in settings.stores.items():
        yield from _store_of_fleet(name, options)


def _box_url(url: str) -> Iterator[Mistake]:
    """What keeps other boxes from asking this one for files, if it names an address."""
    try:
        wrong = bool(url) and reached(url).user != ""
    except ValueError:
        wrong = True
    if wrong or "?" in url or "#" in url:
        hint = 'Write scheme, host and port at which other boxes reach [door], like "http://north.example:8642".'
        yield Mistake("box.url", f"{shown_url(url)!r} is not the address of a daemon.", hint)


def _store_of_fleet(name: str, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """What keeps a store from being one place for all boxes, where none overwrites the files of another."""
    section = f"[stores.{name}]"
    if options["kind"] == "folder" and options.get("shared") is not True:
        text = f"[ledger] shared is set, and {section} does not say that every box has this folder."
        hint = f"If every box has mounted it at the same path, write shared = true into {section}."
        yield Mistake(f"stores.{name}.shared", text, hint)
    if options.get("unsafe_overwrite_check"):
        text = f"[ledger] shared is set, and {section} unsafe_overwrite_check lets one box overwrite files of another."
        hint = "Use a server that refuses to overwrite, and leave unsafe_overwrite_check out."
        yield Mistake(f"stores.{name}.unsafe_overwrite_check", text, hint)


def _path(path: str, base: Path) -> str:
    return str(_absolute(path, base)) if path else ""


def _absolute(path: str, base: Path) -> Path:
    return (base / Path(path).expanduser()).resolve()


def _has_kind(name: str, options: dict[str, Any], mistakes: list[Mistake]) -> bool:
    if isinstance(options.get("kind"), str):
        return True
    mistakes.append(Mistake(f"stores.{name}", "The store has no `kind`.", 'Write kind = "folder", for example.'))
    return False


def _store(options: dict[str, Any], plugins: dict[str, dict[str, Any]], base: Path) -> dict[str, Any]:
    whole = {**plugins.get(options["kind"], {}), **options}
    paths = {
        key: str(_absolute(value, base))
        for key, value in whole.items()
        if isinstance(value, str) and (key == "root" or key.endswith("_file"))
    }
    return _hidden(whole | paths)


def _hidden(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a store with secrets masked wherever they are printed."""
    return {
        key: Secret(value) if isinstance(value, str) and _SECRET.search(key) else value
        for key, value in options.items()
    }


def _sources(sources: dict[str, str], base: Path, where: str, mistakes: list[Mistake]) -> dict[str, str]:
    """The sources with absolute paths. A text that is not a source may be a secret that somebody typed here, so it is
    masked.
    """
    found = {}
    for key, source in sources.items():
        kind, _, rest = source.partition(":")
        if is_source(source):
            found[key] = f"file:{_absolute(rest, base)}" if kind == "file" else source
        else:
            mistakes.append(Mistake(f"{where}.{key}", "The value does not say where the secret is.", HINT))
            found[key] = Secret(source)
    return found


def _workflow(name: str, workflow: Workflow, base: Path, mistakes: list[Mistake]) -> Workflow:
    secrets = _sources(workflow.secrets, base, f"workflows.{name}.secrets", mistakes)
    workflow = replace(workflow, secrets=secrets)
    if workflow.file.startswith("sample:"):
        return workflow
    return replace(workflow, file=str(_absolute(workflow.file, base)))


def _webhook(name: str, webhook: Webhook, base: Path, mistakes: list[Mistake]) -> Webhook:
    """With the place of its secret as `_sources` gives it."""
    where = f"webhooks.{name}"
    if not webhook.secret:
        hint = 'Write where it is, like "env:HOOK_SECRET" or "file:hook.secret".'
        mistakes.append(Mistake(f"{where}.secret", "The webhook has no secret.", hint))
        return webhook
    return replace(webhook, secret=_sources({"secret": webhook.secret}, base, where, mistakes)["secret"])


def _webhook_mistakes(name: str, webhook: Webhook) -> Iterator[Mistake]:
    where = f"webhooks.{name}.url"
    try:
        reached(webhook.url)
        if webhook.per_batch:
            backend_url(webhook.url)
    except ValueError as error:
        hint = "Write it like https://app.example/hooks/images."
        yield Mistake(where, f"{shown_url(webhook.url)!r} is not an address for a webhook: {error}.", hint)
        return
    if "@" in webhook.url.partition("://")[2].partition("/")[0]:
        yield Mistake(where, "It names a user.", "Leave the user out: each request is signed.")
    if webhook.url.startswith("http://") and not webhook.http:
        text = f"{shown_url(webhook.url)!r} is not https, so everybody on the way could read the events."
        yield Mistake(where, text, "Write https, or set `http = true` for this webhook.")
    try:
        chosen_kinds(webhook.kinds)
    except Refused as refusal:
        yield Mistake(f"webhooks.{name}.kinds", refusal.message, refusal.hint)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _wider(door: Door) -> Iterator[Mistake]:
    """What `[door]` lacks if other machines can reach it."""
    if is_loopback(door.host) or door.unix_path:
        return
    if not (door.behind_proxy or door.exposed):
        hint = (
            "Use 127.0.0.1 or ::1. Otherwise set `behind_proxy` or `exposed`, and read in config.toml what they mean."
        )
        yield Mistake("door.host", f"{door.host!r} is not loopback.", hint)
    if door.auth == "none":
        text = f"With `none` everybody who reaches {door.host} could use the daemon."
        yield Mistake("door.auth", text, 'Set auth = "token".')
    if not door.allowed_hosts:
        hint = 'List the names that clients use, like allowed_hosts = ["box.example"].'
        yield Mistake("door.allowed_hosts", f"No client could connect at {door.host}: the list is empty.", hint)


def _address(where: str, url: str) -> Iterator[Mistake]:
    """What is wrong with the URL of a server. It must be callable, and calls append their own paths to it."""
    bare = re.split("[?#]", url, maxsplit=1)[0].rstrip("/")
    try:
        reached(url)
    except ValueError as error:
        hint = "Write it like http://127.0.0.1:8188. In a user or password, @ / ? # are spelled %40 %2F %3F %23."
        yield Mistake(where, f"{shown_url(url)!r} is not a URL that can be called: {error}.", hint)
        return
    if bare != url.rstrip("/"):
        hint = f"Write {shown_url(bare)!r}: the daemon appends paths to it."
        yield Mistake(where, f"{shown_url(url)!r} has a query or a fragment, which would not be sent.", hint)


def _headers(door: Door) -> Iterator[Mistake]:
    """Entries that no Host or Origin header can equal, so that they allow nobody."""
    for entry in door.allowed_hosts:
        if not listed_host(entry) or is_any(entry):
            meant = "" if is_any(entry) else suggested_host(entry)
            hint = f'Write "{meant}".' if meant else 'Write a name or an address alone, like "box.example".'
            text = f"{shown_url(entry)!r} is not a host name: an entry has no scheme, port or path."
            yield Mistake("door.allowed_hosts", text, hint)
    for entry in door.allowed_origins:
        origin = origin_of(entry)
        if not origin or origin != entry:
            hint = f'Write "{origin}".' if origin else 'Write scheme, host and port, like "https://app.example".'
            text = f"{shown_url(entry)!r} is not the origin of a page."
            yield Mistake("door.allowed_origins", text, hint)


def _url_hosts(entries: Iterable[str]) -> Iterator[Mistake]:
    for entry in entries:
        if not fetched_origin(entry):
            meant = origin_of(entry if "://" in entry else f"https://{entry}")
            hint = f'Write "{meant}".' if meant.startswith("http") else 'Write a server like "https://images.example".'
            text = f"{shown_url(entry)!r} is not a server: an entry has a name or an address, and perhaps a port."
            yield Mistake("inputs.url_hosts", text, hint)


def _allowed(where: str, what: str, hint: str, entries: Iterable[str]) -> Iterator[Mistake]:
    for entry in entries:
        try:
            described(entry)
        except ValueError as error:
            yield Mistake(where, f"{shown_url(entry)!r} does not describe addresses of {what}: {error}.", hint)


_BACKENDS_HINT: Final = 'Write scheme, host and port, like "http://gpu-*.example:8188" or "http://10.1.*.*:8188/comfy".'
_WEBHOOKS_HINT: Final = 'Write scheme and host, like "https://*.app.example" or "https://app.example/hooks".'


def _check(settings: Settings, mistakes: list[Mistake]) -> None:
    try:
        check_templates(settings.naming.templates)
    except Refused as refusal:
        mistakes.append(Mistake(f"naming.{refusal.path}".rstrip("."), refusal.message, refusal.hint))
    mistakes += _fleet(settings)
    mistakes += _wider(settings.door)
    mistakes += _headers(settings.door)
    mistakes += _url_hosts(settings.inputs.url_hosts)
    mistakes += _allowed("backends.allowed", "ComfyUIs", _BACKENDS_HINT, settings.backends.allowed)
    mistakes += _allowed("webhooks_allowed", "webhooks", _WEBHOOKS_HINT, settings.webhooks_allowed)
    for name, webhook in settings.webhooks.items():
        mistakes += _webhook_mistakes(name, webhook)
    if settings.inputs_path == settings.spool_path:
        text = f"The inputs and the spool have the same folder: {settings.inputs_path}."
        mistakes.append(Mistake("inputs.path", text, "Give each of them a folder of its own."))
    if settings.default_workflow not in settings.workflows:
        hint = f"Choose one of: {', '.join(sorted(settings.workflows))}."
        mistakes.append(Mistake("default_workflow", f"{settings.default_workflow!r} is not configured.", hint))
    mistakes += character_mistakes(settings.characters, settings.workflows)
    mistakes += _named_twice(settings.comfyui)
    for name, comfyui in settings.comfyui.items():
        mistakes += _address(f"comfyui.{name}.url", comfyui.url)


def _named_twice(comfyui: Mapping[str, ComfyUI]) -> Iterator[Mistake]:
    """Two names of one server would send it twice as many prompts as it may have."""
    named: dict[tuple[str, int, str], str] = {}
    for name, one in comfyui.items():
        with suppress(ValueError):  # `_address` names it
            first = named.setdefault(place_of(one.url), name)
            if first != name:
                text = f"[comfyui.{first}] and [comfyui.{name}] have the same address."
                hint = "Keep one of them: its queue_depth says how many prompts it may have."
                yield Mistake(f"comfyui.{name}.url", text, hint)
