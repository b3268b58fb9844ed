"""The laws of a store, for buckets of moto's S3, of Azurite and of the stand-in for Google Cloud Storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.testing.store_contract import StoreContract
from support.google_account import made_key
from support.object_places import (
    ProxiedPlace,
    S3Place,
    azure_place,
    google_place,
    moto_s3,
    s3_place,
)
from support.object_servers import AZURITE, Azurite
from support.objects_process import Objects


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_s3() as address:
        yield address


class TestS3(StoreContract):
    @pytest.fixture
    async def place(self, server: str, tmp_path: Path) -> AsyncIterator[S3Place]:
        async with s3_place(server, tmp_path) as made:
            yield made


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    running = Azurite(tmp_path_factory.mktemp("azurite"))
    try:
        running.begin()
        yield running
    finally:
        running.end()


@pytest.mark.skipif(not AZURITE, reason="Azurite is not installed: make azurite")
class TestAzure(StoreContract):
    @pytest.fixture
    async def place(self, azurite: Azurite, tmp_path: Path) -> AsyncIterator[ProxiedPlace]:
        async with azure_place(azurite, tmp_path) as made:
            yield made


@pytest.fixture(scope="module")
def key() -> str:
    return made_key()


class TestGoogle(StoreContract):
    """The stand-in is this test's own, because it has one bucket."""

    @pytest.fixture
    async def place(self, key: str, tmp_path: Path) -> AsyncIterator[ProxiedPlace]:
        running = Objects(tmp_path, "gcs")
        try:
            running.begin()
            async with google_place(running, key, tmp_path) as made:
                yield made
        finally:
            running.end()
