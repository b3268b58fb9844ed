"""One set of laws for every server of objects that tests use, asked through obstore: what holds for the programs of
others holds for our stand-in, so a test against the stand-in says something about the others.

A server takes seconds to start, so one test asks it for all laws, each with a prefix of its own.
"""

from __future__ import annotations

import hashlib
import json
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from support.google_account import account_of, made_key
from support.object_servers import (
    ACCOUNT,
    ACCOUNT_KEY,
    AZURITE,
    KEY_ID,
    MOTO,
    REGION,
    SECRET,
    Azurite,
    Moto,
)
from support.objects_process import Objects

BUCKET = "pictures"
PAGE = 3
"""Objects in one answer of a listing, where the server can be told."""
PART_BYTES = 5 * 1024**2
PLAIN: dict[str, Any] = {"allow_http": True, "timeout": "100s", "connect_timeout": "60s"}
ONCE = {"max_retries": 0}
NAMES = ("Areg/a_1.png", "Areg/a_10.png", "Areg/a_2.png", "Areg/b/x y.png", "Areg/b/z+%25&.png", "Zoë/ü_1.png")


@dataclass
class House:
    """A running server, and a place in its one bucket for one law."""

    open: Callable[..., Any]
    place: str
    is_s3: bool = True

    @property
    def store(self) -> Any:
        return self.open(prefix=self.place)


@contextmanager
def moto(folder: Path) -> Iterator[Callable[[str], House]]:
    if not MOTO:
        pytest.skip("moto is not installed")
    running = Moto(folder)
    running.environment["MOTO_S3_DEFAULT_MAX_KEYS"] = str(PAGE)
    try:
        running.begin()
        running.add_bucket(BUCKET)
        yield lambda place: House(lambda **more: s3(running.url, KEY_ID, SECRET, **more), place)
    finally:
        running.end()


@contextmanager
def azurite(folder: Path) -> Iterator[Callable[[str], House]]:
    if not AZURITE:
        pytest.skip("Azurite is not installed: make azurite")
    running = Azurite(folder)
    try:
        running.begin()
        running.add_container(BUCKET)
        yield lambda place: House(lambda **more: azure(running.url, **more), place, is_s3=False)
    finally:
        running.end()


@contextmanager
def standin(folder: Path) -> Iterator[Callable[[str], House]]:
    running = Objects(folder, page_max=PAGE)
    try:
        running.begin()
        yield lambda place: House(lambda **more: s3(running.url, Objects.key_id, Objects.secret, **more), place)
    finally:
        running.end()


@contextmanager
def google(folder: Path) -> Iterator[Callable[[str], House]]:
    running = Objects(folder, "gcs", page_max=PAGE)
    key = made_key()
    try:
        running.begin()
        yield lambda place: House(lambda **more: gcs(running.url, key, **more), place, is_s3=False)
    finally:
        running.end()


def s3(url: str, key_id: str, secret: str, bucket: str = BUCKET, prefix: str = "", **client: Any) -> Any:
    return S3Store(
        bucket,
        prefix=prefix,
        endpoint=url,
        region=REGION,
        access_key_id=key_id,
        secret_access_key=secret,
        client_options=PLAIN | client,
        retry_config=ONCE,
    )


def azure(url: str, bucket: str = BUCKET, prefix: str = "", **client: Any) -> Any:
    return AzureStore(
        bucket,
        prefix=prefix,
        account_name=ACCOUNT,
        account_key=ACCOUNT_KEY,
        endpoint=f"{url}/{ACCOUNT}",
        client_options=PLAIN | client,
        retry_config=ONCE,
    )


def gcs(url: str, key: str, bucket: str = BUCKET, prefix: str = "", **client: Any) -> Any:
    account = json.dumps({**account_of(key), "gcs_base_url": url})
    more = {"service_account_key": account, "client_options": PLAIN | client, "retry_config": ONCE}
    return GCSStore(bucket, prefix=prefix, **more)


def body(store: Any, name: str) -> bytes:
    return bytes(obstore.get(store, name).bytes())


def listed(store: Any, **more: Any) -> list[str]:
    return [one["path"] for page in obstore.list(store, **more) for one in page]


def law_what_is_created_is_read_with_its_metadata(house: House) -> None:
    store = house.store
    said = {"Content-Type": "image/png", "Cache-Control": "max-age=60", "sha256": "ab12", "image": "01JD/1"}
    put = obstore.put(store, "a.png", b"hello", mode="create", attributes=said)
    got = obstore.get(store, "a.png")
    assert dict(got.attributes) == said
    assert (got.meta["size"], got.meta["e_tag"], bytes(got.bytes())) == (5, put["e_tag"], b"hello")


def law_metadata_is_read_without_the_bytes(house: House) -> None:
    store = house.store
    obstore.put(store, "a.png", b"hello", mode="create", attributes={"sha256": "ab12"})
    got = obstore.get(store, "a.png", options={"head": True})
    assert (got.attributes["sha256"], got.meta["size"]) == ("ab12", 5)
    assert obstore.head(store, "a.png")["e_tag"] == got.meta["e_tag"]


def law_what_exists_is_not_created_again_and_stays(house: House) -> None:
    store = house.store
    obstore.put(store, "a.png", b"first", mode="create")
    for _ in range(2):
        with pytest.raises(AlreadyExistsError):
            obstore.put(store, "a.png", b"second", mode="create")
    assert body(store, "a.png") == b"first"


def law_who_asks_for_no_condition_replaces(house: House) -> None:
    store = house.store
    first = obstore.put(store, "a.png", b"first")
    second = obstore.put(store, "a.png", b"second")
    assert (body(store, "a.png"), first["e_tag"] == second["e_tag"]) == (b"second", False)


def law_a_replacement_of_another_version_is_refused(house: House) -> None:
    store = house.store
    first = obstore.put(store, "a.png", b"first")
    obstore.put(store, "a.png", b"second")
    mode = {key: value for key, value in first.items() if value is not None}
    with pytest.raises(PreconditionError):
        obstore.put(store, "a.png", b"third", mode=mode, use_multipart=False)
    assert body(store, "a.png") == b"second"


def law_what_is_not_there_is_not_found(house: House) -> None:
    store = house.store
    for ask in (obstore.get, obstore.head):
        with pytest.raises(FileNotFoundError):
            ask(store, "a.png")
    assert listed(store) == []


def law_what_is_deleted_is_gone_and_its_name_is_free(house: House) -> None:
    store = house.store
    obstore.put(store, "a.png", b"first", mode="create")
    obstore.delete(store, "a.png")
    assert listed(store) == []
    obstore.put(store, "a.png", b"second", mode="create")
    assert body(store, "a.png") == b"second"


def law_a_part_is_read_alone(house: House) -> None:
    store = house.store
    obstore.put(store, "a.png", b"0123456789")
    assert bytes(obstore.get_range(store, "a.png", start=3, end=6)) == b"345"
    assert bytes(obstore.get_range(store, "a.png", start=8, length=9)) == b"89"


def law_a_listing_is_ordered_and_has_every_page(house: House) -> None:
    store = house.store
    for name in NAMES:
        obstore.put(store, name, b"x")
    assert listed(store) == sorted(NAMES)
    assert listed(store, prefix="Areg/b") == sorted(NAMES)[3:5]
    assert listed(store, offset=sorted(NAMES)[1]) == sorted(NAMES)[2:]
    assert [body(store, name) for name in NAMES] == [b"x"] * len(NAMES)


def law_a_listing_by_folder_has_the_folders_below_it(house: House) -> None:
    store = house.store
    for name in NAMES:
        obstore.put(store, name, b"x")
    found = obstore.list_with_delimiter(store, "Areg")
    assert [one["path"] for one in found["objects"]] == sorted(NAMES)[:3]
    assert list(found["common_prefixes"]) == ["Areg/b"]


def law_an_upload_in_parts_is_whole(house: House) -> None:
    store = house.store
    content = bytes(range(256)) * (PART_BYTES // 256) + b"end"
    said = {"Content-Type": "image/png", "sha256": "ab12"}
    obstore.put(store, "a.png", content, attributes=said, use_multipart=True, chunk_size=PART_BYTES)
    got = obstore.get(store, "a.png")
    assert dict(got.attributes) == said
    assert bytes(got.bytes()) == content
    assert got.meta["e_tag"].strip('"') != hashlib.md5(content).hexdigest()


def law_an_upload_in_parts_that_asks_for_it_does_not_replace(house: House) -> None:
    """Azure has the condition elsewhere."""
    if not house.is_s3:
        return
    asking = house.open(prefix=house.place, default_headers={"If-None-Match": "*"})
    content = b"x" * (PART_BYTES + 1)
    obstore.put(asking, "a.png", content, use_multipart=True, chunk_size=PART_BYTES)
    with pytest.raises((PreconditionError, AlreadyExistsError)):
        obstore.put(asking, "a.png", content[:-1] + b"y", use_multipart=True, chunk_size=PART_BYTES)
    assert body(house.store, "a.png") == content


def law_a_copy_says_what_its_source_says_and_does_not_replace(house: House) -> None:
    """S3 has no such condition in obstore."""
    if house.is_s3:
        return
    store, said = house.store, {"Content-Type": "image/png", "sha256": "ab12"}
    content = b"x" * (PART_BYTES + 1)
    obstore.put(store, "a.png", content, attributes=said, use_multipart=True, chunk_size=PART_BYTES)
    obstore.copy(store, "a.png", "b c.png", overwrite=False)
    got = obstore.get(store, "b c.png")
    assert (dict(got.attributes), bytes(got.bytes())) == (said, content)
    obstore.put(store, "other.png", b"other")
    with pytest.raises(AlreadyExistsError):
        obstore.copy(store, "other.png", "b c.png", overwrite=False)
    assert body(store, "b c.png") == content
    with pytest.raises(FileNotFoundError):
        obstore.copy(store, "missing.png", "c.png", overwrite=False)


def law_a_signed_address_serves_one_object_without_a_key(house: House) -> None:
    store = house.store
    obstore.put(store, "a.png", b"hello", attributes={"Content-Type": "image/png"})
    url = obstore.sign(store, "GET", "a.png", timedelta(hours=1))
    with urllib.request.urlopen(url, timeout=30.0) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"hello", "image/png")


def law_a_bucket_that_is_not_there_is_named(house: House) -> None:
    with pytest.raises(FileNotFoundError, match=r"NoSuchBucket|ContainerNotFound"):
        obstore.put(house.open(bucket="elsewhere"), "a.png", b"hello", mode="create")


LAWS = {name: one for name, one in globals().items() if name.startswith("law_")}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", [moto, azurite, standin, google])
def test_every_law_holds_on_every_server(server: Any, tmp_path: Path) -> None:
    broken: dict[str, str] = {}
    with server(tmp_path) as place:
        for name, law in LAWS.items():
            try:
                law(place(name))
            except Exception as error:
                broken[name] = "".join(traceback.format_exception(error))
    assert broken == {}, "\n".join(broken.values())
