"""What the doctor finds about webhooks: whether each of the configuration has its secret and an endpoint that can be
reached, and what the ledger says about all.

A connection is made, with TLS, and no request is sent. The ledger is only read, while a daemon may run.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import ssl
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from comfyledger.core.addresses import LOCALHOST, is_written, why_never
from comfyledger.core.webhooks import WebhookProgress, WebhookRow, signing_key
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.settings import Webhook, read_secret
from comfyledger.settings.backend_urls import is_allowed

CONNECT_S: Final = 4.0
NAMED_MAX: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_PAUSED: Final = {
    "person": "a person paused it",
    "gone": "its endpoint answered 410 (Gone)",
    "dead": "its endpoint took nothing for five days",
}


class WebhooksSeen(msgspec.Struct, frozen=True):
    """What the ledger says: the log about those that were added or paused, and how far each has come, by name."""

    rows: tuple[WebhookRow, ...] = ()
    progress: Mapping[str, WebhookProgress] = {}


def in_ledger(ledger: Path) -> WebhooksSeen:
    """Nothing if the ledger cannot be read, which is a check of its own, or is of an older version. Raises OSError."""
    if not ledger.exists():
        return WebhooksSeen()
    try:
        with open_read_only(ledger) as connection:
            rows = connection.execute("SELECT row FROM webhooks ORDER BY name").fetchall()
            progress = connection.execute("SELECT row FROM webhook_progress").fetchall()
    except (sqlite3.Error, LedgerUnusable):
        return WebhooksSeen()
    known = [msgspec.json.decode(raw, type=WebhookProgress) for (raw,) in progress]
    found = tuple(msgspec.json.decode(raw, type=WebhookRow) for (raw,) in rows)
    return WebhooksSeen(found, {one.name: one for one in known})


def of_secret(name: str, webhook: Webhook, environ: Mapping[str, str]) -> list[Diagnosis]:
    """What is wrong with the secret of a configured one, without showing it."""
    area, mend = f"webhook {name}", f"[webhooks.{name}] secret"
    try:
        signing_key(read_secret(webhook.secret, environ))
    except Refused as refusal:
        return [Diagnosis(area, "failure", refusal.message, mend)]
    except ValueError as error:
        return [Diagnosis(area, "failure", f"Its secret cannot be used: {error}.", mend)]
    return []


async def of_endpoint(name: str, url: str) -> Diagnosis:
    """Whether the endpoint of a configured one can be reached."""
    area, parts = f"webhook {name}", urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    mend = f"[webhooks.{name}] url, its server or the network"
    try:
        addresses = await _addresses(host, port)
        if why := next(filter(None, map(why_never, addresses)), ""):
            return Diagnosis(area, "failure", f"{host} is never called: {why}.", mend)
        context = ssl.create_default_context() if parts.scheme == "https" else None
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(
                addresses[0], port, ssl=context, server_hostname=host if context else None
            )
        writer.close()
    except TimeoutError:
        return Diagnosis(area, "failure", f"{host}:{port} does not answer within {CONNECT_S:g} s.", mend)
    except ssl.SSLCertVerificationError as error:
        return Diagnosis(area, "failure", f"The certificate of {host} is not valid: {error.verify_message}.", mend)
    except ssl.SSLError:
        return Diagnosis(area, "failure", f"{host}:{port} does not speak TLS.", mend)
    except OSError as error:
        number = error.errno or 0  # of asyncio's own words, which name the address again, only this is wanted
        why = os.strerror(number) if number > 0 else error.strerror or type(error).__name__
        return Diagnosis(area, "failure", f"{host}:{port} cannot be reached: {why}.", mend)
    how = "has a valid certificate" if context else "can be reached, without TLS"
    return Diagnosis(area, "ok", f"{host}:{port} {how}, and its secret is there.")


async def _addresses(host: str, port: int) -> list[str]:
    """Raises OSError."""
    if is_written(host) and host != LOCALHOST:
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


# ---- what the ledger says


def of_states(
    seen: WebhooksSeen, configured: Collection[str], allowed: Collection[str], now_ms: int
) -> list[Diagnosis]:
    """Which webhooks do not deliver, and why. `allowed`: the addresses that may be added."""
    rows = {row.name: row for row in seen.rows}
    added = [row for row in seen.rows if row.present and row.name not in configured]
    names = [*configured, *(row.name for row in added)]
    found = [
        one for name in names for one in _of_state(rows.get(name, WebhookRow(name)), seen.progress.get(name), now_ms)
    ]
    found += [_not_allowed(row) for row in added if not _is_allowed(row.url, allowed)]
    return [*_of_added([row.name for row in added]), *found]


def _of_added(names: list[str]) -> list[Diagnosis]:
    if not names:
        return []
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    text = f"Added to the running daemon, and called by it alone: {', '.join(names[:NAMED_MAX])}{more}."
    return [Diagnosis("webhooks", "ok", text)]


def _of_state(row: WebhookRow, progress: WebhookProgress | None, now_ms: int) -> Iterator[Diagnosis]:
    area = f"webhook {row.name}"
    if row.paused:
        yield Diagnosis(
            area, "warning", f"It delivers nothing: {_PAUSED[row.paused]}.", f"comfyledger webhook resume {row.name}"
        )
    elif progress is not None and progress.tries:
        minutes = max(0, now_ms - progress.failing_ms) // 60_000
        time = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
        text = f"Nothing was taken for {time}. {progress.text}"
        yield Diagnosis(area, "warning", text, f"comfyledger webhook test {row.name}")
    if progress is not None and progress.owed:
        text = f"{len(progress.owed):,} events are put aside: its endpoint takes others and not these."
        yield Diagnosis(area, "warning", text, f"comfyledger webhook list {row.name}")


def _is_allowed(url: str, allowed: Collection[str]) -> bool:
    try:
        return is_allowed(url, allowed)
    except ValueError:
        return False


def _not_allowed(row: WebhookRow) -> Diagnosis:
    text = "It delivers nothing: webhooks_allowed does not describe its address any more."
    return Diagnosis(
        f"webhook {row.name}", "warning", text, f"webhooks_allowed, or comfyledger webhook remove {row.name}"
    )
