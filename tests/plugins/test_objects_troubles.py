"""Each trouble of a server, for S3, Google and Azure: one object with the right bytes, and what was there is as it was.

What became of it is read from the server itself, without our store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import Deleted, ImageFault, LaneFault, Outcome, Stored
from comfyledger.testing.place import FOLDER, NAME, SERIES, STEM, deposit, held, picture
from comfyledger_objects.options import Kind
from comfyledger_objects.store import ObjectStore
from support.object_places import Fault, ProxiedPlace, S3Place, place_of, refusal

KINDS: tuple[Kind, ...] = ("s3", "gcs", "azure")
KEY, NEXT = f"{NAME}.png", f"{FOLDER}/{STEM}2"
FOREIGN = {f"{FOLDER}/somebodys.png": b"theirs", f"{FOLDER}/{STEM}1.jpg": b"theirs too"}
"""What another program has there before, beside the key of the image."""
TOO_OLD = "Request date header too old: 'Thu, 01 Jan 2026 00:00:00 GMT'"
REFUSALS: dict[str, tuple[tuple[Kind, Fault, str], ...]] = {
    "throttled": (
        ("s3", refusal(503, "SlowDown"), "SlowDown"),
        ("gcs", refusal(429, "TooManyRequests"), "TooManyRequests"),
        ("gcs", refusal(503, "ServiceUnavailable"), "ServiceUnavailable"),
        ("azure", refusal(503, "ServerBusy"), "ServerBusy"),
    ),
    "clock": (
        ("s3", refusal(403, "RequestTimeTooSkewed"), "clock"),
        ("azure", refusal(403, "AuthenticationFailed", TOO_OLD), "clock"),
    ),
    "configuration": (
        ("s3", refusal(400, "ExpiredToken"), "ExpiredToken"),
        ("s3", refusal(301, "PermanentRedirect"), "region"),
        ("s3", refusal(400, "AuthorizationHeaderMalformed"), "AuthorizationHeaderMalformed"),
        ("gcs", refusal(401, "AuthenticationRequired"), "AuthenticationRequired"),
        (
            "azure",
            refusal(403, "AuthenticationFailed", "Signature not valid in the specified time frame"),
            "time frame",
        ),
        ("azure", refusal(401, "InvalidAuthenticationInfo"), "InvalidAuthenticationInfo"),
    ),
    "full": (
        ("s3", refusal(507, "InsufficientStorage"), "InsufficientStorage"),
        ("s3", refusal(403, "QuotaExceeded"), "QuotaExceeded"),
        ("gcs", refusal(403, "QuotaExceeded"), "QuotaExceeded"),
    ),
}
"""What a server answers to every request, by the code of the pause: the kind, the answer, and what its text names."""
REFUSED = [
    pytest.param(kind, code, fault, named, id=f"{kind}-{code}-{named}".replace(" ", "_"))
    for code, faults in REFUSALS.items()
    for kind, fault, named in faults
]
NOTHING = (
    "<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
    '<EnumerationResults ContainerName="b"><Blobs/><NextMarker/></EnumerationResults>',
)
MANY = 100
Place = S3Place | ProxiedPlace


async def begun(place: Place) -> ObjectStore:
    store = place.store()
    await store.prepare()
    for key, content in FOREIGN.items():
        await place.put_foreign(*key.rsplit(".", 1), content)
    return store


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with place_of(request.param, tmp_path) as made:
        yield made


def is_list(request: web.Request) -> bool:
    return "list-type" in request.query or request.query.get("comp") == "list"


def is_deletion(request: web.Request) -> bool:
    """Azure gets it as a batch of one."""
    return request.method == "DELETE" or request.query.get("comp") == "batch"


def code_of(outcome: Outcome) -> str:
    return "stored" if isinstance(outcome, Stored) else outcome.code


@pytest.mark.parametrize(("kind", "code", "fault", "named"), REFUSED)
async def test_a_server_that_refuses_everything_pauses_and_then_gets_the_image_once(
    kind: Kind, code: str, fault: Fault, named: str, tmp_path: Path
) -> None:
    async with place_of(kind, tmp_path) as place:
        store, given = await begun(place), deposit(tmp_path, picture(1))
        place.proxy.fail(fault, lambda request: True, MANY)
        for answer in (await store.put(given), await store.put(given)):
            assert isinstance(answer, LaneFault), answer
            assert (answer.code, named in answer.text) == (code, True)
        deletion = await store.delete(held(given))
        assert isinstance(deletion, LaneFault)
        assert deletion.code == code
        assert await place.contents() == FOREIGN
        place.proxy.forgive()
        assert code_of(await store.put(given)) == "stored"
        assert await place.contents() == FOREIGN | {KEY: picture(1)}


async def test_an_image_whose_answer_is_lost_at_every_attempt_is_stored_once(place: Place, tmp_path: Path) -> None:
    """The answers to the questions whether it is there are lost too, until the last one."""
    store, given = await begun(place), deposit(tmp_path, picture(1))
    place.proxy.fail("cut_after", lambda request: request.path.endswith(KEY), 4)
    assert [code_of(await store.put(given)) for _ in range(3)] == ["unknown", "unknown", "stored"]
    assert await place.contents() == FOREIGN | {KEY: picture(1)}


async def test_an_image_that_never_leaves_is_not_there_and_is_stored_once_later(place: Place, tmp_path: Path) -> None:
    store, given = await begun(place), deposit(tmp_path, picture(1))
    place.proxy.fail("cut_before", lambda request: request.path.endswith(KEY), 4)
    assert code_of(await store.put(given)) == "unknown"
    assert await place.contents() == FOREIGN
    place.proxy.forgive()
    assert code_of(await store.put(given)) == "stored"
    assert await place.contents() == FOREIGN | {KEY: picture(1)}


async def test_a_proxy_that_remembers_that_an_image_is_not_there_costs_time_alone(place: Place, tmp_path: Path) -> None:
    store, given = await begun(place), deposit(tmp_path, picture(1))
    place.proxy.fail("cut_after")
    code = "BlobNotFound" if place.kind == "azure" else "NoSuchKey"
    place.proxy.fail(refusal(404, code), lambda request: request.method in {"HEAD", "GET"}, MANY)
    assert [code_of(await store.put(given)) for _ in range(2)] == ["unknown", "unknown"]
    assert await place.contents() == FOREIGN | {KEY: picture(1)}
    place.proxy.forgive()
    outcome = await store.put(given)
    assert isinstance(outcome, Stored)
    assert outcome.replayed
    assert await place.contents() == FOREIGN | {KEY: picture(1)}


async def test_a_list_that_is_late_costs_a_collision_and_no_bytes(place: Place, tmp_path: Path) -> None:
    """The number of an object that the list does not show yet is given, and its file stays as it is."""
    store = await begun(place)
    await place.put_foreign(NEXT, "png", picture(7))
    late = NOTHING[place.kind == "azure"]
    place.proxy.fail(lambda: web.Response(text=late, content_type="application/xml"), is_list)
    assert await store.highest_number(SERIES) == 0
    assert code_of(await store.put(deposit(tmp_path, picture(1), NEXT))) == "collision"
    assert await store.highest_number(SERIES) == 2
    assert await place.contents() == FOREIGN | {f"{NEXT}.png": picture(7)}


async def test_what_is_deleted_is_ours_alone(place: Place, tmp_path: Path) -> None:
    """Also where a server cannot compare, as Azure: another object with our name stays, and so do its neighbours."""
    store, given = await begun(place), deposit(tmp_path, picture(1))
    await place.put_foreign(NAME, "png", picture(7))
    assert not isinstance(await store.delete(held(given)), Deleted)
    assert await place.contents() == FOREIGN | {KEY: picture(7)}
    other = deposit(tmp_path, picture(2), NEXT, "B1/2")
    assert code_of(await store.put(other)) == "stored"
    assert await store.delete(held(other)) == Deleted(found=True)
    assert await store.delete(held(other)) == Deleted(found=False)
    assert await place.contents() == FOREIGN | {KEY: picture(7)}


async def test_an_answer_to_a_deletion_that_is_lost_deletes_once(place: Place, tmp_path: Path) -> None:
    store, given = await begun(place), deposit(tmp_path, picture(1))
    assert code_of(await store.put(given)) == "stored"
    place.proxy.fail("cut_after", is_deletion)
    assert isinstance(await store.delete(held(given)), LaneFault)
    assert await store.delete(held(given)) == Deleted(found=False)
    outcome = await store.put(deposit(tmp_path, picture(1), NEXT))
    assert not isinstance(outcome, ImageFault)
    assert await place.contents() == FOREIGN | {f"{NEXT}.png": picture(1)}
