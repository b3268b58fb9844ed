"""What the doctor finds of stores: the stand-in of an account in its faults, and folders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.maintenance.doctor import run
from comfyledger.sim.cloudinary import server
from support.doctor_report import about, report, verdicts


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[server.SimCloudinary]:
    async with await server.serve(server.CloudinaryOptions(root=tmp_path / "cloud")) as sim:
        yield sim


async def change(account: server.SimCloudinary, **asked: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{account.control_url}/control", json=asked) as answer,
    ):
        assert answer.status == 200


def cloud(account: server.SimCloudinary, secret: str = server.SECRET, more: str = "") -> str:
    return f"""
[stores.cloud]
kind = "cloudinary"
cloud_name = "demo"
api_key = "123456789012345"
api_secret = "{secret}"
upload_prefix = "{account.url}"
{more}
"""


@pytest.mark.parametrize("configured", ["auto", "dynamic"])
async def test_an_account_says_its_folder_mode_and_limit(account: Any, loaded: Any, configured: str) -> None:
    settings = loaded(cloud(account, more=f'folder_mode = "{configured}"'))
    mode, limit = about(await report(settings), "store cloud")
    assert (mode.verdict, limit.verdict) == ("ok", "ok")
    assert "dynamic" in mode.sentence
    assert "10,485,760 bytes" in limit.sentence
    assert not settings.state_path.exists()


async def test_a_folder_mode_that_is_not_the_accounts_is_a_failure(account: Any, loaded: Any) -> None:
    await change(account, folder_mode="fixed")
    found = about(await report(loaded(cloud(account, more='folder_mode = "dynamic"'))), "store cloud")
    assert (found[0].verdict, found[0].mend) == ("failure", '[stores.cloud] folder_mode = "fixed"')


async def test_a_wrong_secret_is_a_failure_and_is_not_told(account: Any, loaded: Any) -> None:
    found = await report(loaded(cloud(account, "hunter2")))
    (one,) = about(found, "store cloud")
    assert (one.verdict, one.mend) == ("failure", "[stores.cloud]: its secret and options")
    assert "hunter2" not in repr(found)


async def test_a_used_up_budget_is_a_warning(account: Any, loaded: Any) -> None:
    await change(account, admin_used=460)
    assert verdicts(about(await report(loaded(cloud(account))), "store cloud")) == ["ok", "ok", "warning"]
    await change(account, admin_used=500)
    assert verdicts(about(await report(loaded(cloud(account))), "store cloud")) == ["warning"]


async def test_an_account_that_cannot_be_reached_is_a_failure(account: Any, loaded: Any) -> None:
    await change(account, listening=False)
    (one,) = about(await report(loaded(cloud(account))), "store cloud")
    assert one.verdict == "failure"


async def test_a_store_that_no_plugin_brings_is_a_failure(loaded: Any) -> None:
    (one,) = about(await report(loaded('[stores.x]\nkind = "nobody"\n')), "store x")
    assert (one.verdict, one.mend) == ("failure", "[stores.x]")


async def test_a_folder_that_lost_its_mark_is_a_failure_and_is_not_marked(loaded: Any, tmp_path: Path) -> None:
    root = tmp_path / "images"
    settings = loaded(f'[stores.folder]\nkind = "folder"\nroot = "{root}"\n')
    (fresh,) = about(await report(settings), "store folder")
    assert (fresh.verdict, root.exists()) == ("ok", False)
    stores = run.open_stores(run.store_kinds(), settings.stores, settings.state_path)
    store = stores["folder"].waiting
    assert store is not None
    await store.check("a/b", "png")
    await store.close()
    (used,) = about(await report(settings), "store folder")
    assert (used.verdict, "is there" in used.sentence) == ("ok", True)
    (root / ".comfyledger").unlink()
    (gone,) = about(await report(settings), "store folder")
    assert (gone.verdict, "Is the disk mounted?" in gone.sentence) == ("failure", True)
    assert list(root.iterdir()) == []


async def test_a_folder_that_cannot_be_made_is_a_failure(loaded: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o755)
    found = await report(loaded(f'[stores.folder]\nkind = "folder"\nroot = "{tmp_path}/file/x"\n'))
    assert verdicts(about(found, "store folder")) == ["failure"]
