"""What the doctor says of webhooks: secrets, addresses, certificates, and what the ledger knows of their deliveries."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.commands import AddWebhook, RemoveWebhook
from comfyledger.core.reports import WebhookProgressed
from comfyledger.core.webhooks import OwedDelivery, WebhookProgress, WebhookRow
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.doctor import webhooks
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.settings import Webhook
from support.doctor_report import about, report, verdicts
from support.ledger_builders import raw
from support.ledger_on_disk import take_group
from support.receiver import SECRET

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
HOUR_MS = 3_600_000


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An endpoint that takes connections and answers nothing: its host and port."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=context)
    try:
        yield f"localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A certificate of localhost that nobody vouches for."""
    key, certificate = folder / "key", folder / "certificate"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    places = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *places], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, certificate


# ---- the configuration


@pytest.mark.parametrize(
    ("written", "said"), [(None, "cannot be read"), ("", "no secret at"), ("hunter2-hunter2", "cannot be used")]
)
def test_a_secret_that_is_missing_or_wrong_is_a_failure_and_is_not_shown(
    tmp_path: Path, written: str | None, said: str
) -> None:
    if written is not None:
        (tmp_path / "secret").write_text(written)
    (one,) = webhooks.of_secret("shop", Webhook(secret=f"file:{tmp_path / 'secret'}"), {})
    assert (one.verdict, one.mend, said in one.sentence) == ("failure", "[webhooks.shop] secret", True)
    assert "hunter2" not in one.sentence


def test_a_secret_that_is_there_needs_no_line() -> None:
    assert webhooks.of_secret("shop", Webhook(secret="env:HOOK"), {"HOOK": SECRET}) == []


async def test_an_endpoint_that_can_be_reached_is_fine() -> None:
    async with listening() as place:
        found = await webhooks.of_endpoint("shop", f"http://{place}/x?key=hunter2")
    assert found == Diagnosis("webhook shop", "ok", f"{place} can be reached, without TLS, and its secret is there.")


@OPENSSL
async def test_a_certificate_counts_only_if_somebody_vouches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = certified(tmp_path)
    async with listening(context) as place:
        refused = await webhooks.of_endpoint("shop", f"https://{place}/")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        fine = await webhooks.of_endpoint("shop", f"https://{place}/")
        other = await webhooks.of_endpoint("shop", f"https://{place.replace('localhost', '127.0.0.1')}/")
    assert "The certificate of localhost is not valid" in refused.sentence
    assert "The certificate of 127.0.0.1 is not valid" in other.sentence
    assert fine.sentence == f"{place} has a valid certificate, and its secret is there."


async def test_what_cannot_be_reached_says_why_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "CONNECT_S", 0.2)
    async with listening() as place:
        silent = await webhooks.of_endpoint("shop", f"https://{place}/")
    gone = await webhooks.of_endpoint("shop", f"http://{place}/")
    assert "does not answer within 0.2 s" in silent.sentence
    assert gone.sentence == f"{place} cannot be reached: Connection refused."
    assert {silent.verdict, gone.verdict} == {"failure"}


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "127.1", "2852039166"])
async def test_what_a_delivery_never_calls_is_not_called_and_said(host: str) -> None:
    found = await webhooks.of_endpoint("shop", f"http://{host}:9/")
    assert (found.verdict, "is never called" in found.sentence) == ("failure", True)


# ---- the ledger


def stated(row: WebhookRow | None = None, progress: WebhookProgress | None = None, **more: Any) -> list[Diagnosis]:
    seen = webhooks.WebhooksSeen((row,) if row else (), {progress.name: progress} if progress else {})
    return webhooks.of_states(seen, **{"configured": ["shop"], "allowed": [], "now_ms": 3 * HOUR_MS, **more})


@pytest.mark.parametrize("reason", ["person", "gone", "dead"])
def test_one_that_is_paused_names_the_command(reason: Any) -> None:
    (one,) = stated(WebhookRow("shop", paused=reason), WebhookProgress("shop", "e", 1, tries=3))
    assert (one.area, one.verdict, one.mend) == ("webhook shop", "warning", "comfyledger webhook resume shop")


def test_one_that_fails_says_for_how_long_and_what_is_put_aside() -> None:
    aside = (OwedDelivery(4, "b", 1), OwedDelivery(5, "b"))
    failing = WebhookProgress(
        "shop", "e", 9, owed=aside, failing_ms=HOUR_MS, tries=7, text="The endpoint answered 503."
    )
    first, second = stated(progress=failing)
    assert first.sentence == "Nothing was taken for 2 h. The endpoint answered 503."
    assert second.sentence.startswith("2 events are put aside")


def test_one_that_works_or_is_not_there_any_more_needs_no_line() -> None:
    assert stated(progress=WebhookProgress("shop", "e", 9)) == []
    assert stated(WebhookRow("old", "https://x.example"), WebhookProgress("old", "e", 1, tries=9)) == []


def test_one_that_was_added_is_named_and_must_still_be_allowed() -> None:
    row = WebhookRow("app", "https://app.example/hooks", present=True)
    (named,) = stated(row, allowed=["https://app.example"])
    assert (named.verdict, "by it alone: app." in named.sentence) == ("ok", True)
    (_, refused) = stated(row)
    assert "webhooks_allowed does not describe" in refused.sentence
    assert refused.mend.endswith("comfyledger webhook remove app")


def test_the_ledger_says_what_was_added_and_how_far_it_has_come(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    assert webhooks.in_ledger(path) == webhooks.WebhooksSeen()
    ledger = Ledger.open(path)
    urls = {name: f"https://{name}.example" for name in ("app", "old")}
    take_group(ledger, *(AddWebhook("cli", name, url, ("batch_settled",)) for name, url in urls.items()))
    take_group(ledger, RemoveWebhook("cli", "old"), WebhookProgressed(WebhookProgress("app", "e", 2, tries=1)))
    ledger.close()
    seen = webhooks.in_ledger(path)
    assert [(row.name, row.present) for row in seen.rows] == [("app", True), ("old", False)]
    assert seen.progress["app"].tries == 1
    raw(path).execute("DROP TABLE webhook_progress")
    assert webhooks.in_ledger(path) == webhooks.WebhooksSeen()


async def test_the_report_has_each_webhook_of_the_configuration(loaded: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.secret").write_text(SECRET)
    async with listening() as place:
        lines = "".join(
            f"[webhooks.{name}]\nurl = 'http://{place}/'\nhttp = true\nsecret = 'file:{name}.secret'\n"
            for name in ("shop", "none")
        )
        found = await report(loaded(lines))
    assert verdicts(about(found, "webhook shop")) == ["ok"]
    assert verdicts(about(found, "webhook none")) == ["failure"]
