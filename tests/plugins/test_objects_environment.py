"""Where requests of the object stores go, and with which keys, whatever is in the environment.

A server on loopback notes the head of each request, and answers that it has no such object.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import StoreTrouble
from comfyledger_objects.options import Kind
from comfyledger_objects.store import ObjectStore
from support.google_account import account_file, made_key

ABSENT = b"<Error><Code>NoSuchKey</Code><Message>It is not here.</Message></Error>"
ELSEWHERE = "http://127.0.0.1:9"
S3 = {"access_key_id": "anna", "secret_access_key": "hidden"}
AZURE = {"account_name": "anna", "account_key": "aGlkZGVu"}


class Listener:
    """The heads of all requests to it."""

    def __init__(self) -> None:
        self.url, self.heads = "", list[str]()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(ABSENT)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + (b"" if self.heads[-1].startswith("HEAD") else ABSENT))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.answer, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield listener
    finally:
        server.close()


async def heads_of_a_look(kind: Kind, folder: Path, **options: Any) -> list[str]:
    async with listening() as listener:
        store = ObjectStore.open(kind, "x", {"bucket": "images", "endpoint": listener.url, **options}, folder)
        try:
            assert await store.check("a/b", "png") is None
        except StoreTrouble as trouble:
            pytest.fail(f"the request went elsewhere: {trouble}")
        await store.close()
        return listener.heads


@pytest.mark.parametrize(
    ("kind", "options", "name", "value"),
    [
        ("s3", S3, "AWS_ENDPOINT_URL_S3", ELSEWHERE),
        ("s3", S3, "AWS_ENDPOINT_URL", ELSEWHERE),
        ("s3", S3, "AWS_ENDPOINT", ELSEWHERE),
        ("azure", AZURE, "AZURE_STORAGE_ENDPOINT", ELSEWHERE),
        ("azure", AZURE, "AZURE_STORAGE_USE_EMULATOR", "true"),
        ("azure", AZURE, "AZURE_USE_FABRIC_ENDPOINT", "true"),
        ("s3", S3, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("s3", S3, "AWS_S3_EXPRESS", "true"),
    ],
)
async def test_a_configured_endpoint_is_used_whatever_the_environment_says(
    kind: Kind, options: dict[str, str], name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "/images/a/b.png" in (await heads_of_a_look(kind, tmp_path, **options))[0]


@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "AWS_TOKEN"])
async def test_configured_keys_are_not_joined_with_a_token_of_other_keys(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "of-other-keys")
    (head, *_) = await heads_of_a_look("s3", tmp_path, **S3)
    assert "Credential=anna/" in head
    assert "x-amz-security-token" not in head


@pytest.mark.parametrize("name", ["AZURE_STORAGE_TOKEN", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY"])
async def test_a_configured_key_of_azure_is_used_whatever_other_credentials_there_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "c2lnPW90aGVy")
    monkeypatch.setenv("AZURE_CREDENTIAL_TYPE", "azure_cli")
    (head, *_) = await heads_of_a_look("azure", tmp_path, **AZURE)
    assert "authorization: SharedKey anna:" in head
    assert "c2lnPW90aGVy" not in head


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [("s3", S3, "AWS_SKIP_SIGNATURE"), ("s3", S3, "AWS_UNSIGNED_PAYLOAD"), ("azure", AZURE, "AZURE_SKIP_SIGNATURE")],
)
async def test_requests_are_signed_as_a_whole_whatever_the_environment_says(
    kind: Kind, options: dict[str, str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    for head in await heads_of_a_look(kind, tmp_path, **options):
        assert "authorization: " in head
        assert "UNSIGNED-PAYLOAD" not in head


async def test_whoever_owns_a_bucket_pays_for_it_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    assert "request-payer" not in "".join(await heads_of_a_look("s3", tmp_path, **S3))


async def test_google_is_asked_with_the_configured_account_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    account = account_file(tmp_path, made_key())
    (head, *_) = await heads_of_a_look("gcs", tmp_path, service_account_file=str(account))
    assert "authorization: Bearer " in head
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "of-somebody")
    with pytest.raises(ValueError, match="while the environment has GOOGLE_BEARER_TOKEN: unset one"):
        ObjectStore.open("gcs", "x", {"bucket": "images", "service_account_file": str(account)}, tmp_path)


async def test_a_configured_token_goes_with_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other-keys")
    (head, *_) = await heads_of_a_look("s3", tmp_path, **S3, session_token="of-anna")
    assert "x-amz-security-token: of-anna" in head
