"""What the stand-in for object stores has and other servers have not: faults on demand, switches, and a ledger that
tells what became of every object.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from comfyledger.sim.objects.receive import crc64nvme
from comfyledger.sim.objects.server import KEY_ID, SECRET, ObjectsOptions, SimObjects, serve
from support.waiting import until

BUCKET = "pictures"
PART_BYTES = 5 * 1024**2
BEFORE = ("reset_before_body", "reset_mid_body", "reset_after_body", "html_502")
AFTER = ("store_then_reset", "store_then_html_502", "store_then_truncate", "store_then_answer")
TIMES: dict[str, Any] = {"allow_http": True, "timeout": "100s", "connect_timeout": "60s"}


class House:
    """The stand-in, clients of it, and its address for tests."""

    def __init__(self, sim: SimObjects, session: aiohttp.ClientSession) -> None:
        self.sim, self.session = sim, session

    def store(self, **more: Any) -> Any:
        who = {"access_key_id": KEY_ID, "secret_access_key": SECRET, "region": "us-east-1"}
        headers = {"default_headers": more.pop("headers")} if "headers" in more else {}
        options = {"client_options": TIMES | headers, "retry_config": {"max_retries": 0}}
        return S3Store(BUCKET, endpoint=self.sim.url, **options, **(who | more))

    async def control(self, **asked: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.sim.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def fault(self, name: str, **more: Any) -> None:
        await self.control(faults=[{"fault": name, **more}])

    async def ledger(self) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.sim.control_url}/ledger") as answer:
            return list((await answer.json())["requests"])

    async def versions(self) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.sim.control_url}/objects") as answer:
            return list((await answer.json())["objects"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await serve(ObjectsOptions(root=tmp_path / "objects")) as sim, aiohttp.ClientSession() as session:
        yield House(sim, session)


async def create(store: Any, content: bytes = b"hello", name: str = "a.png") -> Any:
    return await obstore.put_async(store, name, content, mode="create")


async def parts(store: Any, content: bytes) -> Any:
    return await obstore.put_async(store, "a.png", content, use_multipart=True, chunk_size=PART_BYTES)


async def body(store: Any, name: str = "a.png") -> bytes:
    return bytes(await (await obstore.get_async(store, name)).bytes_async())


async def test_of_many_who_create_at_once_one_does(house: House) -> None:
    store = house.store()
    tried = await asyncio.gather(*(create(store, str(one).encode()) for one in range(16)), return_exceptions=True)
    (won,) = [number for number, one in enumerate(tried) if not isinstance(one, BaseException)]
    assert {type(one) for one in tried} == {dict, AlreadyExistsError}
    assert await body(store) == str(won).encode()
    writes = [one for one in await house.ledger() if one["method"] == "PUT"]
    assert sorted(one["did"] for one in writes) == [""] * 15 + ["created"]
    assert {one["condition"] for one in writes} == {"If-None-Match: *"}
    assert len(await house.versions()) == 1


@pytest.mark.parametrize("fault", AFTER)
async def test_what_is_stored_is_there_although_its_answer_is_lost(house: House, fault: str) -> None:
    await house.fault(fault, match={"key": "a.png", "method": "PUT"})
    with pytest.raises(BaseError):
        await create(house.store(headers={"x-amz-meta-a": "b" * 99}))
    with pytest.raises(AlreadyExistsError):
        await create(house.store())
    assert await body(house.store()) == b"hello"
    assert [one["did"] for one in await house.ledger() if one["method"] == "PUT"] == ["created", ""]


@pytest.mark.parametrize("fault", BEFORE)
async def test_what_is_lost_on_its_way_is_not_stored(house: House, fault: str, tmp_path: Path) -> None:
    content = b"x" * 300_000
    await house.fault(fault, match={"key": "a.png"})
    with pytest.raises(BaseError):
        await create(house.store(), content)
    first = (await until(lambda: closed(house)))[0]
    assert (first["did"], await house.versions()) == ("", [])
    received = first["received_bytes"]
    assert (received == 0) if fault == "reset_before_body" else (received >= len(content) // 2)
    await create(house.store(), content)
    assert [one["sha256"] for one in await house.versions()] == [hashlib.sha256(content).hexdigest()]
    assert len(list((tmp_path / "objects" / "files").iterdir())) == 1


async def closed(house: House) -> list[dict[str, Any]]:
    """The ledger, once every request has ended."""
    entries = await house.ledger()
    return entries if all(one["answer"] for one in entries) else []


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_request_hangs_until_it_is_let_go(house: House, is_stored: bool) -> None:
    await house.fault("store_then_hang" if is_stored else "hang", match={"method": "PUT"})
    asking = asyncio.create_task(create(house.store()))
    await until(lambda: hanging(house))
    assert (len(await house.versions()), asking.done()) == (int(is_stored), False)
    await house.control(clear_faults=True)
    with pytest.raises(BaseError):
        await asking


async def hanging(house: House) -> bool:
    return bool((await house.control())["hanging"])


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("RequestTimeTooSkewed", 403),
        ("ExpiredToken", 400),
        ("PermanentRedirect", 301),
        ("InsufficientStorage", 507),
        ("QuotaExceeded", 403),
        ("ConditionalRequestConflict", 409),
        ("EntityTooLarge", 400),
    ],
)
async def test_an_error_is_answered_by_its_code(house: House, code: str, status: int) -> None:
    await house.fault("answer", code=code)
    url = obstore.sign(house.store(), "PUT", "a.png", timedelta(hours=1))
    async with house.session.put(url, data=b"x", allow_redirects=False) as answer:
        assert (answer.status, f"<Code>{code}</Code>" in await answer.text()) == (status, True)
        assert (answer.headers.get("Retry-After") == "7") is (code == "SlowDown")
        assert ("x-amz-bucket-region" in answer.headers) is (code == "PermanentRedirect")
    assert await house.versions() == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "somebody"}, "InvalidAccessKeyId"),
        ({"region": "eu-central-1"}, "AuthorizationHeaderMalformed"),
        ({"session_token": "unknown"}, "InvalidAccessKeyId"),
        ({"skip_signature": True}, "AccessDenied"),
    ],
)
async def test_who_cannot_prove_who_he_is_stores_nothing(house: House, options: Any, code: str) -> None:
    with pytest.raises((BaseError, PermissionError), match=code):
        await create(house.store(**options))
    assert [(one["did"], one["answer"]) for one in await house.ledger()] == [("", code)]
    assert await house.versions() == []


@pytest.mark.parametrize("offset_s", [-2_000.0, 2_000.0])
async def test_a_clock_that_is_15_minutes_off_is_refused(house: House, offset_s: float) -> None:
    await house.control(clock_offset_s=offset_s)
    with pytest.raises((BaseError, PermissionError), match="RequestTimeTooSkewed"):
        await create(house.store())
    await house.control(clock_offset_s=0.0)
    await create(house.store())


async def test_a_token_that_was_replaced_has_expired(house: House) -> None:
    await house.control(session_token="new")
    with pytest.raises(BaseError, match="ExpiredToken"):
        await create(house.store(session_token="old"))
    await create(house.store(session_token="new"))


async def test_a_signed_address_ends(house: House) -> None:
    await create(house.store())
    url = obstore.sign(house.store(), "GET", "a.png", timedelta(hours=1))
    async with house.session.get(url) as answer:
        assert await answer.read() == b"hello"
    await house.control(clock_offset_s=3_601.0)
    async with house.session.get(url) as answer:
        assert (answer.status, "Request has expired" in await answer.text()) == (403, True)


@pytest.mark.parametrize("name", ["x-amz-checksum-sha256", "Content-MD5"])
async def test_bytes_that_are_not_those_announced_are_not_stored(house: House, name: str) -> None:
    url = obstore.sign(house.store(), "PUT", "a.png", timedelta(hours=1))
    digest = hashlib.sha256 if name.startswith("x-amz") else hashlib.md5
    for content, status in ((b"other", 400), (b"hello", 200)):
        said = {name: base64.b64encode(digest(b"hello").digest()).decode()}
        async with house.session.put(url, data=content, headers=said) as answer:
            assert answer.status == status, await answer.text()
    assert [one["answer"] for one in await house.ledger()] == ["BadDigest", "ok"]
    assert await body(house.store()) == b"hello"


def test_the_checksum_is_that_of_nvm_express() -> None:
    """The value that catalogues of checksums give for these nine digits."""
    assert crc64nvme(b"123456789") == 0xAE8B_1486_0A79_9888


async def test_a_checksum_of_64_bits_is_compared(house: House) -> None:
    summed = house.store(unsigned_payload=True, checksum_algorithm="crc64nvme")
    await create(summed, b"hello" * 1_000)
    wrong = house.store(unsigned_payload=True, headers={"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="})
    with pytest.raises(BaseError, match="BadDigest"):
        await create(wrong, b"hello", "b.png")
    assert [one["key"] for one in await house.versions()] == ["a.png"]


async def test_a_server_that_ignores_conditions_overwrites_and_the_ledger_says_so(house: House) -> None:
    await create(house.store(), b"first")
    await house.control(ignores_conditions=True)
    await create(house.store(), b"second")
    assert [one["did"] for one in await house.ledger()] == ["created", "overwrote"]
    assert [one["how"] for one in await house.versions()] == ["overwritten", ""]
    assert await body(house.store()) == b"second"


async def test_a_late_listing_shows_neither_the_new_nor_that_the_old_is_gone(house: House) -> None:
    store = house.store()
    await create(store, name="old.png")
    await house.control(lists_late=True)
    await create(store, name="new.png")
    await obstore.delete_async(store, "old.png")
    assert [one["path"] for one in await obstore.list(store).collect_async()] == ["old.png"]
    assert await body(store, "new.png") == b"hello"
    await house.control(lists_late=False)
    assert [one["path"] for one in await obstore.list(store).collect_async()] == ["new.png"]


async def test_a_cache_gives_its_first_answer_about_a_key_again(house: House) -> None:
    store = house.store()
    await create(store, b"first")
    await house.control(caches=True)
    assert await body(store) == b"first"
    with pytest.raises(FileNotFoundError):
        await obstore.head_async(store, "b.png")
    await obstore.put_async(store, "a.png", b"second")
    await create(store, name="b.png")
    assert await body(store) == b"first"
    with pytest.raises(FileNotFoundError):
        await obstore.head_async(store, "b.png")
    await house.control(caches=False)
    assert (await body(store), await body(store, "b.png")) == (b"second", b"hello")


async def test_strict_parts_refuse_a_condition_before_the_end(house: House) -> None:
    content = b"x" * (PART_BYTES + 1)
    await house.control(strict_parts=True)
    with pytest.raises((BaseError, NotImplementedError), match="NotImplemented"):
        await parts(house.store(headers={"If-None-Match": "*"}), content)
    await parts(house.store(), content)
    assert await body(house.store()) == content


async def test_an_upload_that_does_not_complete_is_aborted_and_replaces_nothing(house: House) -> None:
    asking, content = house.store(headers={"If-None-Match": "*"}), b"x" * (PART_BYTES + 1)
    await create(house.store())
    with pytest.raises((PreconditionError, AlreadyExistsError)):
        await parts(asking, content)
    assert [one["state"] for one in (await house.control())["uploads"]] == ["aborted"]
    assert await body(house.store()) == b"hello"


async def test_other_bytes_than_sent_are_stored_if_a_test_wants_it(house: House) -> None:
    await house.fault("alter")
    put = await create(house.store())
    assert put["e_tag"].strip('"') == hashlib.md5(b"helloaltered").hexdigest()
    assert await body(house.store()) == b"helloaltered"


async def test_a_read_is_cut_off_in_the_middle(house: House) -> None:
    await create(house.store(), b"x" * 100_000)
    await house.fault("truncate", match={"method": "GET"})
    with pytest.raises(BaseError):
        await body(house.store())


async def test_what_others_have_put_there_is_like_any_object(house: House) -> None:
    await house.control(seed=[{"key": "a.png", "text": "theirs", "headers": {"content-type": "image/png"}}])
    with pytest.raises(AlreadyExistsError):
        await create(house.store())
    assert await body(house.store()) == b"theirs"
    assert [one["request"] for one in await house.versions()] == [0]


async def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    for run in range(2):
        async with await serve(ObjectsOptions(root=tmp_path)) as sim, aiohttp.ClientSession() as session:
            house = House(sim, session)
            if run == 0:
                await create(house.store())
            assert await body(house.store()) == b"hello"
            assert [one["did"] for one in await house.ledger()] == ["created", "", ""][: run + 2]


async def test_who_does_not_listen_refuses_and_is_back_on_the_same_port(house: House) -> None:
    store = house.store()
    await house.control(listening=False)
    with pytest.raises(BaseError):
        await create(store)
    await house.control(listening=True)
    await create(store)


async def test_a_rule_strikes_from_its_nth_request_on_for_its_times(house: House) -> None:
    await house.fault("answer", code="SlowDown", match={"method": "PUT", "nth": 2}, times=2)
    tried = [await asyncio.gather(create(house.store(), name=f"{one}.png"), return_exceptions=True) for one in range(4)]
    assert [isinstance(one[0], BaseException) for one in tried] == [False, True, True, False]
    (rule,) = (await house.control())["faults"]
    assert (rule["seen"], rule["struck"]) == (4, 2)


async def test_an_unknown_fault_is_refused(house: House) -> None:
    async with house.session.post(f"{house.sim.control_url}/control", json={"faults": [{"fault": "x"}]}) as answer:
        assert answer.status == 400
    assert (await house.control())["faults"] == []
