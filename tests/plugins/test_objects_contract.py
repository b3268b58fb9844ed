"""The laws of a store, for a bucket of moto's S3."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.testing.store_contract import StoreContract
from support.object_places import S3Place, moto_s3, s3_place


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_s3() as address:
        yield address


class TestS3(StoreContract):
    @pytest.fixture
    async def place(self, server: str, tmp_path: Path) -> AsyncIterator[S3Place]:
        async with s3_place(server, tmp_path) as made:
            yield made
