"""What Azure and Google do otherwise than S3: conditions, large files, lists, deletions."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import Deleted, Foreign, Stored, StoreTrouble
from comfyledger.testing.place import FOLDER, HOSTILE, NAME, STEM, deposit, held, picture
from comfyledger_objects import uploads
from support.google_account import made_key
from support.object_places import ProxiedPlace, azure_place, google_place, refusal
from support.object_servers import AZURITE, Azurite
from support.objects_process import Objects

KEY = f"{NAME}.png"
LARGE = hashlib.sha256(b"seed").digest() * (uploads.WHOLE_BYTES_MAX // 32 + 10)


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[ProxiedPlace]:
    if not AZURITE:
        pytest.skip("Azurite is not installed: make azurite")
    running = Azurite(tmp_path)
    try:
        running.begin()
        async with azure_place(running, tmp_path) as place:
            yield place
    finally:
        running.end()


@pytest.fixture
async def google(tmp_path: Path) -> AsyncIterator[ProxiedPlace]:
    running = Objects(tmp_path, "gcs")
    try:
        running.begin()
        async with google_place(running, made_key(), tmp_path) as place:
            yield place
    finally:
        running.end()


async def check_pages(place: ProxiedPlace) -> None:
    """A cursor leads on, also where the server does not know it and begins at the first object."""
    store = place.store()
    await store.prepare()
    names = {f"{FOLDER}/{STEM}{number}" for number in range(1, 512)}
    for name in names:
        await place.put_foreign(name, "png", b"x")
    first = await store.page(FOLDER)
    second = await place.store().page(FOLDER, first.cursor)
    assert (len(first.held), len(second.held), second.cursor) == (500, 11, "")
    assert {one.public_id for one in (*first.held, *second.held)} == names


async def test_a_container_of_azure_is_listed_page_by_page(azure: ProxiedPlace) -> None:
    await check_pages(azure)


async def test_a_bucket_of_google_is_listed_page_by_page(google: ProxiedPlace) -> None:
    await check_pages(google)


async def check_deletion(place: ProxiedPlace, folder: Path) -> None:
    """What another program puts there between look and deletion stays."""
    store, given = place.store(), deposit(folder, picture(1))
    await store.prepare()
    assert isinstance(await store.put(given), Stored)
    seen = await store._calls.look(KEY)
    await place.put_foreign(NAME, "png", picture(7))
    with pytest.raises(Exception) as refused:
        await store._bucket.delete(KEY, seen)
    assert type(refused.value).__name__ in uploads.TAKEN
    assert isinstance(await store.delete(held(given)), Foreign)
    assert await place.contents() == {KEY: picture(7)}
    again = deposit(folder, picture(7))
    assert await store.delete(held(again)) == Deleted(found=True)
    assert await store.delete(held(again)) == Deleted(found=False)
    assert await place.contents() == {}


async def test_google_deletes_the_object_that_was_looked_at_alone(google: ProxiedPlace, tmp_path: Path) -> None:
    await check_deletion(google, tmp_path)


async def test_azure_deletes_the_object_that_was_looked_at_alone(azure: ProxiedPlace, tmp_path: Path) -> None:
    await check_deletion(azure, tmp_path)


async def test_a_blob_that_is_gone_meanwhile_is_not_another_one(azure: ProxiedPlace, tmp_path: Path) -> None:
    store, given = azure.store(), deposit(tmp_path, picture(1))
    await store.prepare()
    assert isinstance(await store.put(given), Stored)
    seen = await store._calls.look(KEY)
    assert await store.delete(held(given)) == Deleted(found=True)
    azure.proxy.fail(refusal(412, "ConditionNotMet"), lambda request: request.method == "DELETE")
    with pytest.raises(FileNotFoundError):
        await store._bucket.delete(KEY, seen)


@pytest.mark.parametrize("header", ["x-goog-if-generation-match"])
async def test_a_google_that_ignores_the_condition_is_refused(google: ProxiedPlace, header: str) -> None:
    google.proxy.dropped = {header}
    with pytest.raises(StoreTrouble, match="unsafe_overwrite_check"):
        await google.store().prepare()
    assert await google.contents() == {}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_address_of_azure_opens_a_file_of_any_name(azure: ProxiedPlace, tmp_path: Path, name: str) -> None:
    store = azure.store()
    await store.prepare()
    assert isinstance(await store.put(deposit(tmp_path, picture(1), name)), Stored)
    address = await store._bucket.signed_url(f"{name}.png", 60)
    async with aiohttp.ClientSession() as session, session.get(URL(address, encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (200, picture(1))


async def test_addresses_are_signed_for_azure_and_google(azure: ProxiedPlace, google: ProxiedPlace) -> None:
    """Offline: these servers are on loopback, to which no address is given."""
    of_azure = azure.store(url_lifetime_s=60, endpoint="")
    address = await of_azure.file_url(f"az://{of_azure.identity.split('/')[1]}/{KEY}")
    assert address.startswith("https://devstoreaccount1.blob.core.windows.net/")
    assert "&sig=" in address
    of_google = google.store(url_lifetime_s=60, endpoint="")
    assert "X-Goog-Signature=" in await of_google.file_url(f"gs://pictures/{KEY}")
    assert await of_google.file_url(f"s3://pictures/{KEY}") == ""
