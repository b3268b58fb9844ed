"""A folder store that cannot look is not an empty one: whatever stands in the way is the store's trouble, and no image
is parked and no number given for it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyledger.plugin_api import Doubted, Held, LaneFault, Stored, StoreTrouble
from support.folder_store import NAME, SERIES, Bench
from support.waiting import until

PARTS = ["Areg", "Areg/characters", "Areg/characters/opal-fever", "Areg/characters/opal-fever/images"]


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """A store that holds one image."""
    made = Bench(tmp_path)
    assert isinstance(await made.put(), Stored)
    return made


def led_out(folder: Path, elsewhere: Path) -> None:
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)


def led_to_another_store(folder: Path, elsewhere: Path) -> None:
    led_out(folder, elsewhere)
    (elsewhere / ".comfyledger").touch()


def led_nowhere(folder: Path, elsewhere: Path) -> None:
    folder.symlink_to(elsewhere)


def led_in_a_circle(folder: Path, elsewhere: Path) -> None:
    folder.symlink_to(folder)


def filed(folder: Path, elsewhere: Path) -> None:
    folder.write_bytes(b"no folder")


Way = Callable[[Path, Path], None]
WAYS = [led_out, led_nowhere, led_in_a_circle, filed]


async def asserts_trouble(bench: Bench, *codes: str) -> None:
    """Every call says so, and as the store's own trouble."""
    series_before = await bench.put(b"another", NAME + "2")
    outcomes = [series_before, await bench.store.delete(Held(NAME, "png", 4, image_id="B1/1"))]
    folder = NAME.rpartition("/")[0]
    target = bench.spool / "target"
    target.touch()
    calls = [
        bench.store.highest_number(SERIES),
        bench.store.page(folder),
        bench.store.check(NAME, "png"),
        bench.store.fetch(NAME, "png", target),
    ]
    for call in calls:
        with pytest.raises(StoreTrouble) as trouble:
            await call
        outcomes.append(trouble.value.fault)  # type: ignore[arg-type]
    for outcome in outcomes:
        assert isinstance(outcome, LaneFault), outcome
        assert outcome.code in codes, outcome


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", PARTS)
async def test_a_folder_that_became_something_else_is_the_stores_trouble(bench: Bench, part: str, way: Way) -> None:
    (bench.root / part).rename(bench.root / "away")
    way(bench.root / part, bench.root.parent / "elsewhere")
    await asserts_trouble(bench, "configuration")
    (bench.root / part).unlink()
    (bench.root / "away").rename(bench.root / part)
    assert await bench.store.highest_number(SERIES) == 1
    assert isinstance(await bench.put(b"another", NAME + "2"), Stored)


@pytest.mark.parametrize(
    ("again", "way"),
    [*(("a new start", way) for way in WAYS), *(("the same run", way) for way in (*WAYS, led_to_another_store))],
)
async def test_a_root_that_became_something_else_is_the_stores_trouble(bench: Bench, again: str, way: Way) -> None:
    """But at a new start for a folder that is a store's place: a person has moved it."""
    bench.root.rename(bench.root.parent / "away")
    way(bench.root, bench.root.parent / "elsewhere")
    if again == "a new start":
        bench.store = bench.opened()
    await asserts_trouble(bench, "configuration", "not_reached", "unknown")
    bench.root.unlink()
    (bench.root.parent / "away").rename(bench.root)
    bench.store = bench.opened()
    assert await bench.store.highest_number(SERIES) == 1


async def test_a_root_that_is_gone_is_not_made_anew(bench: Bench) -> None:
    shutil.rmtree(bench.root)
    await asserts_trouble(bench, "not_reached")
    assert not bench.root.exists()


@pytest.fixture
async def known(bench: Bench) -> Bench:
    """The store remembers the folders of its image."""
    disk = bench.store._disk

    async def is_known() -> bool:
        assert isinstance(await bench.put(), Stored)
        return disk._paths.hold(disk._folders_of(NAME.rpartition("/")[0]))

    await until(is_known)
    return bench


@pytest.mark.parametrize("way", [led_out, led_nowhere, filed])
@pytest.mark.parametrize("part", PARTS)
async def test_what_is_remembered_of_a_folder_hides_nothing(known: Bench, part: str, way: Way) -> None:
    (known.root / part).rename(known.root / "away")
    way(known.root / part, known.root.parent / "elsewhere")
    outcome = await known.put(b"another", NAME + "2")
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "configuration"
    (known.root / part).unlink()
    (known.root / "away").rename(known.root / part)
    assert isinstance(await known.put(b"another", NAME + "2"), Stored)


@pytest.mark.parametrize("way", ["without its mark", "another", "gone", "led to"])
async def test_what_is_remembered_of_a_root_hides_nothing(known: Bench, way: str) -> None:
    away = known.root.parent / "away"
    if way == "without its mark":
        (known.root / ".comfyledger").unlink()
    else:
        known.root.rename(away)
    if way == "another":
        shutil.copytree(away, known.root)
        (known.root / ".comfyledger").unlink()
    if way == "led to":
        known.root.symlink_to(away)
    outcome = await known.put(b"another", NAME + "2")
    assert isinstance(outcome, LaneFault)
    assert outcome.code == ("configuration" if way == "led to" else "not_reached")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ENOTDIR])
async def test_a_folder_that_cannot_be_read_is_not_empty(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if str(path).endswith("images"):
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for call in (bench.store.highest_number(SERIES), bench.store.page(SERIES.folder), bench.store.page("")):
        with pytest.raises(StoreTrouble, match=os.strerror(number)):
            await call


async def test_a_name_variant_that_leads_out_of_the_root_stops_no_upload(bench: Bench) -> None:
    led_out(bench.root / "areg", bench.root.parent / "elsewhere")
    with pytest.raises(StoreTrouble, match="areg is not a folder"):
        await bench.store.highest_number(SERIES)
    assert isinstance(await bench.put(b"another", NAME + "2"), Stored)


async def test_a_stray_file_beside_a_folder_of_its_name_disturbs_nobody(bench: Bench) -> None:
    (bench.root / "areg").write_bytes(b"a note")
    assert await bench.store.highest_number(SERIES) == 1
    assert isinstance(await bench.put(b"another", NAME + "2"), Stored)


async def test_a_folder_that_was_never_there_holds_nothing(bench: Bench) -> None:
    assert await bench.store.check("Mina/characters/x/images/Mina_x_image_1", "png") is None
    assert (await bench.store.page("Mina")).held == ()


async def test_a_page_reads_every_spelling_of_a_folder(bench: Bench) -> None:
    bench.place("areg/Characters/opal-fever/images/Areg_opal-fever_image_9.png")
    held = [one.public_id for one in (await bench.store.page(SERIES.folder)).held]
    assert held == [NAME, "areg/Characters/opal-fever/images/Areg_opal-fever_image_9"]


def numbered(bench: Bench, *numbers: str) -> None:
    for number in numbers:
        bench.place(f"{SERIES.folder}/{SERIES.stem}{number}")


@pytest.mark.parametrize(
    ("names", "doubted", "below"),
    [
        (("57.png", "999999999999998.png"), "999999999999998", 57),
        (("57.png", "20251121.png", "20251122.jpg"), "20251121", 57),
        (("20251122.png",), "20251122", 1),
        (("57.png", "00020251122.PNG"), "00020251122", 57),
        (("57.png", "999999999999999.tar.gz"), "999999999999999", 57),
    ],
)
async def test_a_number_far_above_the_one_below_waits_for_a_person(
    bench: Bench, names: tuple[str, ...], doubted: str, below: int
) -> None:
    numbered(bench, *names)
    with pytest.raises(Doubted) as caught:
        await bench.store.highest_number(SERIES)
    text = caught.value.fault.text
    assert (caught.value.number, caught.value.below) == (int(doubted), below)
    assert f"{SERIES.stem}{doubted}" in text
    command = f"`comfyledger import main --prefix {SERIES.folder} --"
    assert f"{command}accept-outlier`" in text
    assert f"{command}ignore-outlier` to continue above {below}" in text


@pytest.mark.parametrize(
    ("names", "highest"),
    [
        (("57.png", "1234567890123456.png", "9" * 40, "٥٧٠٠٠٠٠.png", "1a.png", "20251122x.png"), 57),
        (("9999.png", "10000"), 10_000),
        (("200.png", "20000.png", "2000000.png"), 2_000_000),
    ],
)
async def test_what_is_no_outlier_is_believed(bench: Bench, names: tuple[str, ...], highest: int) -> None:
    numbered(bench, *names)
    assert await bench.store.highest_number(SERIES) == highest


async def test_a_link_or_a_folder_gives_no_doubt(bench: Bench) -> None:
    """Nobody could decide it by an import, which reads files alone."""
    numbered(bench, "57.png")
    (bench.root / SERIES.folder / f"{SERIES.stem}20251122.png").symlink_to(bench.spool)
    (bench.root / SERIES.folder / f"{SERIES.stem}20251123.png").mkdir()
    (bench.root / SERIES.folder / f"{SERIES.stem}99.png").mkdir()
    assert await bench.store.highest_number(SERIES) == 99
    numbered(bench, "20251122.jpg")
    with pytest.raises(Doubted):
        await bench.store.highest_number(SERIES)
