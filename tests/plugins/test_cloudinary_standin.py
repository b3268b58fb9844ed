"""Laws of the store against the stand-in for Cloudinary: whatever is done to an upload, the account ends with exactly
one asset with the right bytes, nothing of strangers touched, and no question was asked for it. Its ledger is the proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from comfyledger.plugin_api import Deleted, Deposit, Held, ImageFault, LaneFault, Outcome, Series, Stored, StoreTrouble
from comfyledger.sim.cloudinary.server import SECRET, CloudinaryOptions, SimCloudinary, serve
from comfyledger_cloudinary.store import CloudinaryStore

pytestmark = pytest.mark.usefixtures("quick_time")

FOLDER = "Areg/characters/opal-fever/images"
NAME = f"{FOLDER}/Areg_opal-fever_image_1"
STORED_THEN_LOST = (
    "store_then_hang",
    "store_then_reset",
    "store_then_truncate",
    "store_then_html_502",
    "store_then_pending",
    "store_then_answer",
)
LOST = ("reset_before_body", "reset_mid_body", "reset_after_body", "hang", "truncate", "html_502", "pending")


class House:
    """The stand-in, a store in its account and a spool."""

    def __init__(self, account: SimCloudinary, session: aiohttp.ClientSession, folder: Path) -> None:
        self.account = account
        self.folder = folder
        self.stores: list[CloudinaryStore] = []
        self._session = session

    def opened(self, **options: Any) -> CloudinaryStore:
        known = {"cloud_name": "demo", "api_key": "123456789012345", "api_secret": SECRET}
        times = {"answer_timeout_s": 0.3, "upload_prefix": self.account.url, "folder_mode": "dynamic"}
        self.stores.append(CloudinaryStore.open("pics", {**known, **times, **options}, self.folder / "state"))
        return self.stores[-1]

    def deposit(self, colour: str = "red", *, first: bool = False) -> Deposit:
        buffer = BytesIO()
        Image.new("RGB", (64, 48), colour).save(buffer, "PNG")
        path = self.folder / f"{colour}.png"
        path.write_bytes(buffer.getvalue())
        md5, sha256 = (hashlib.new(name, path.read_bytes()).hexdigest() for name in ("md5", "sha256"))
        return Deposit("B1/1", NAME, "png", path, sha256, md5, path.stat().st_size, first)

    async def control(self, **asked: Any) -> None:
        async with self._session.post(f"{self.account.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()

    async def fault(self, name: str, times: int = 1, **more: Any) -> None:
        await self.control(faults=[{"fault": name, "times": times, **more}])

    async def assets(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.account.control_url}/assets") as answer:
            return list((await answer.json())["assets"])

    async def ledger(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.account.control_url}/ledger") as answer:
            return list((await answer.json())["requests"])

    async def prove_exactly_one(self, deposit: Deposit) -> None:
        (asset,) = await self.assets()
        assert (asset["public_id"], asset["etag"]) == (NAME, deposit.md5)
        requests = await self.ledger()
        assert sum(request["is_stored"] for request in requests) == 1
        assert not any(request["is_replaced"] or request["is_admin"] for request in requests)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await serve(CloudinaryOptions(root=tmp_path / "account")) as account, aiohttp.ClientSession() as session:
        made = House(account, session, tmp_path)
        yield made
        for store in made.stores:
            await store.close()


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, LaneFault | ImageFault), outcome
    return outcome.code


async def test_what_is_held_is_downloaded_byte_for_byte(house: House) -> None:
    store, deposit = house.opened(), house.deposit()
    await store.put(deposit)
    target = house.folder / "brought"
    target.touch()
    await store.fetch(NAME, "png", target)
    assert target.read_bytes() == deposit.path.read_bytes()


async def test_a_failed_download_is_trouble_and_makes_no_file(house: House) -> None:
    store, deposit = house.opened(), house.deposit()
    await store.put(deposit)
    with pytest.raises(StoreTrouble):
        await store.fetch(f"{NAME}0", "png", house.folder / "nothing")
    with pytest.raises(StoreTrouble, match="written to disk"):
        await store.fetch(NAME, "png", house.folder / "nothing")
    assert not (house.folder / "nothing").exists()
    await house.control(seed={"public_id": f"{NAME}7", "etag": "0" * 32, "bytes": 99})
    (house.folder / "empty").touch()
    with pytest.raises(StoreTrouble, match="HTTP 404"):
        await store.fetch(f"{NAME}7", "png", house.folder / "empty")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fault", STORED_THEN_LOST)
async def test_an_upload_whose_answer_is_lost_is_found_again(house: House, fault: str, times: int) -> None:
    store, deposit = house.opened(), house.deposit()
    await house.fault(fault, times, **({"status": 500} if fault.endswith("answer") else {}))
    assert [code(await store.put(deposit)) for _ in range(times)] == ["unknown"] * times
    found = await house.opened().put(deposit)  # As after a restart of the daemon.
    assert isinstance(found, Stored)
    assert found.replayed
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize("fault", LOST)
async def test_an_upload_that_was_lost_is_stored_by_the_next(house: House, fault: str) -> None:
    store, deposit = house.opened(), house.deposit()
    await house.fault(fault)
    assert code(await store.put(deposit)) == "unknown"
    found = await store.put(deposit)
    assert isinstance(found, Stored)
    assert not found.replayed
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(420, "throttled"), (429, "throttled"), (423, "unknown"), (499, "unknown"), (500, "unknown"), (503, "unknown")],
)
async def test_an_answer_that_is_the_lanes_trouble_costs_nothing(house: House, status: int, expected: str) -> None:
    store, deposit = house.opened(), house.deposit()
    await house.fault("answer", status=status)
    assert code(await store.put(deposit)) == expected
    assert isinstance(await store.put(deposit), Stored)
    await house.prove_exactly_one(deposit)


async def test_an_account_that_cannot_be_reached_was_not_sent_anything(house: House) -> None:
    store, deposit = house.opened(), house.deposit()
    await house.control(listening=False)
    assert code(await store.put(deposit)) == "not_reached"
    await house.control(listening=True)
    assert isinstance(await store.put(deposit), Stored)
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize("mode", ["dynamic", "fixed"])
async def test_the_asset_is_where_people_look_for_it_in_either_mode(house: House, mode: str) -> None:
    await house.control(folder_mode=mode)
    store = house.opened(folder_mode="auto", tags=["a&b", "two"], context={"by": "x=y|z"})
    await store.prepare()
    assert store.identity == f"cloudinary:demo/{mode}"
    deposit = house.deposit(first=True)
    found = await store.put(deposit)
    assert isinstance(found, Stored)
    assert {"asset_id", "version", "bytes", "width", "height", "etag"} == found.details.keys()
    assert (found.details["width"], found.details["height"]) == (64, 48)
    assert f"/v{found.details['version']}/{NAME}.png" in found.url
    (asset,) = await house.assets()
    assert asset["context"] == {"sha256": deposit.sha256, "md5": deposit.md5, "image": "B1/1", "by": "x=y|z"}
    assert sorted(asset["tags"]) == ["a&b", "two"]
    if mode == "dynamic":
        assert (asset["asset_folder"], asset["display_name"]) == (FOLDER, "Areg_opal-fever_image_1")


async def test_a_strangers_asset_stays_as_it_is(house: House) -> None:
    store = house.opened()
    assert isinstance(await store.put(house.deposit("blue")), Stored)
    before = await house.assets()
    stranger = Deposit(**{**{f: getattr(house.deposit(), f) for f in Deposit.__struct_fields__}, "image_id": "B2/1"})
    assert code(await store.put(stranger)) == "collision"
    assert await house.assets() == before
    adopted = await store.put(house.deposit())  # The same image, rendered again after its ledger was restored.
    assert isinstance(adopted, Stored)
    assert adopted.details["adopted"] == before[0]["etag"]
    assert await house.assets() == before


async def test_an_account_that_changes_files_is_reported_and_replaces_nothing(house: House) -> None:
    store, deposit = house.opened(), house.deposit()
    await house.control(transform_at_ingest=True)
    for _ in range(2):
        found = await store.put(deposit)
        assert isinstance(found, ImageFault)
        assert found.code == "altered"
        assert "incoming transformation" in found.text
    (asset,) = await house.assets()
    assert asset["etag"] != deposit.md5


async def test_uploads_questions_and_deletions_can_be_signed_with_sha256(house: House) -> None:
    store, deposit = house.opened(signature_algorithm="sha256"), house.deposit()
    assert isinstance(await store.put(deposit), Stored)
    assert await store.highest_number(Series(FOLDER, "Areg_opal-fever_image_")) == 1
    ours = Held(NAME, "png", deposit.size_bytes, deposit.md5, deposit.sha256, deposit.image_id)
    assert isinstance(await store.delete(ours), Deleted)


class Proxy:
    """A plain HTTP proxy that writes down what came by."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request.raw_path, request.headers.get("Proxy-Authorization", "")))
        kept = {key: value for key, value in request.headers.items() if not key.startswith("Proxy-")}
        async with aiohttp.ClientSession() as session:
            body = await request.read()
            async with session.request(request.method, request.raw_path, headers=kept, data=body) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy()
    server = web.Server(proxy.pass_on)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield proxy, f"{host}:{port}"
    await runner.cleanup()


async def test_every_call_to_the_account_goes_through_the_proxy_with_its_login(
    house: House, proxy: tuple[Proxy, str]
) -> None:
    seen, place = proxy
    store, deposit = house.opened(proxy=f"http://us%40er:pass@{place}"), house.deposit()
    assert isinstance(await store.put(deposit), Stored)
    assert await store.highest_number(Series(FOLDER, "Areg_opal-fever_image_")) == 1
    target = house.folder / "back.png"
    target.touch()
    await store.fetch(NAME, "png", target)
    assert target.read_bytes() == deposit.path.read_bytes()
    assert len(seen.seen) >= 4, "the upload, a listing, a question, the file"
    assert all(path.startswith("http://127.0.0.1:") for path, _ in seen.seen)
    assert {login for _, login in seen.seen} == {"Basic dXNAZXI6cGFzcw=="}
    assert len(seen.seen) == len(await house.ledger()), "nothing went another way"


async def test_an_unreachable_proxy_is_the_lanes_fault_and_hides_its_login(house: House) -> None:
    store = house.opened(proxy="http://user:hidden-word@127.0.0.1:1")
    outcome = await store.put(house.deposit())
    assert isinstance(outcome, LaneFault)
    with pytest.raises(StoreTrouble) as caught:
        await store.highest_number(Series(FOLDER, "Areg_opal-fever_image_"))
    assert "hidden-word" not in f"{outcome} {caught.value.fault} {store._options!r}"


async def test_a_name_that_was_changed_silently_is_told(house: House) -> None:
    await house.fault("rename")
    assert code(await house.opened().put(house.deposit())) == "misnamed"


async def test_a_bad_file_is_refused_and_a_bad_account_blames_no_image(house: House) -> None:
    path = house.folder / "text.png"
    path.write_bytes(b"no image")
    md5 = hashlib.md5(b"no image").hexdigest()
    text = Deposit("B1/1", NAME, "png", path, "5ha", md5, 8, first_attempt=True)
    assert code(await house.opened().put(text)) == "refused"
    wrong = await house.opened(api_secret="wrong-secret").put(house.deposit())
    assert code(wrong) == "configuration"
    assert "Invalid Signature" in str(wrong)
    assert "wrong-secret" not in str(wrong)
    assert code(await house.opened(cloud_name="other").put(house.deposit())) == "configuration"
    await house.control(clock_offset_s=7_200)
    assert code(await house.opened().put(house.deposit())) == "clock"


async def test_57_images_in_the_account_and_the_58th_goes_on(house: House) -> None:
    await house.control(seed={"prefix": f"{FOLDER}/Areg_opal-fever_image_", "count": 57})
    series = Series(FOLDER, "Areg_opal-fever_image_")
    assert await house.opened().highest_number(series) == 57
    assert sum(request["is_admin"] for request in await house.ledger()) == 3
    await house.control(admin_used=500)
    store = house.opened()
    for _ in range(2):
        with pytest.raises(StoreTrouble) as caught:
            await store.highest_number(series)
        assert caught.value.fault.code == "throttled"
        assert 0 < (caught.value.fault.retry_after_s or 0) <= 3_600
    assert sum(request["is_admin"] for request in await house.ledger()) == 4
    assert isinstance(await store.put(house.deposit()), ImageFault)  # Of the account's own image 1: no budget needed.


async def test_listings_and_single_looks_agree_with_what_was_stored(house: House) -> None:
    store, deposit = house.opened(), house.deposit()
    await house.control(seed={"prefix": f"{FOLDER}/other_", "count": 600})
    assert isinstance(await store.put(deposit), Stored)
    first = await store.page("Areg")
    last = await house.opened().page("Areg", first.cursor)
    held = {one.public_id: one for one in (*first.held, *last.held)}
    assert (len(first.held), len(held), last.cursor) == (500, 601, "video:")
    looked = await store.check(NAME, "png")
    assert looked is not None
    assert (looked.md5, looked.sha256, looked.image_id) == (deposit.md5, deposit.sha256, "B1/1")
    assert (held[NAME].size_bytes, held[NAME].image_id) == (deposit.size_bytes, "B1/1")
    assert held[NAME].created_at_ms == looked.created_at_ms > 1_500_000_000_000
    assert await store.check(f"{NAME}99", "png") is None
