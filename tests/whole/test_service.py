"""The daemon under a service manager: real sockets and credentials, a real process, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.processes import House
from support.waiting import DEADLINE_S, until
from support.wire_app import coloured

WATCHDOG_S = 0.4


class Manager:
    """What systemd is to a service: where it listens, and all that it heard."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"comfyledger-test-{os.getpid()}-{time.monotonic_ns()}"
        self.socket.bind(f"\0{name}")
        self.environment = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000))}
        self.heard: list[str] = []

    def said(self, line: str) -> bool:
        """Whether a line was heard that begins so."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard += self.socket.recv(4_096).decode().splitlines()
        return any(one.startswith(line) for one in self.heard)

    def forget(self) -> None:
        self.said("")
        self.heard.clear()


@pytest.fixture
def manager(house: House) -> Iterator[Manager]:
    made = Manager()
    house.daemon.environment |= made.environment
    yield made
    made.socket.close()


async def start(house: House, config: str = "", seconds_per_image: float = 0.0) -> None:
    """Start the stand-in and the daemon, and wait for neither."""
    house.comfyui = type(house.comfyui)(house.folder, seconds_per_image)
    await house.comfyui.begin()
    house.configure(config)
    house.daemon.start()


def heard(house: House, manager: Manager, line: str) -> Callable[[], bool]:
    def condition() -> bool:
        house.daemon.check_alive()
        return manager.said(line)

    return condition


def asked(house: House, token: str) -> int:
    """The status that the door answers to this token."""
    request = urllib.request.Request(f"{house.daemon.url}/ws", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_ready_is_said_once_and_only_when_the_door_answers(house: House, manager: Manager) -> None:
    await start(house)
    await until(heard(house, manager, "READY=1"), "it is ready")
    assert asked(house, house.daemon.token) == 400, "no websocket was asked for, and somebody is there"
    before = manager.heard[: manager.heard.index("READY=1")]
    assert set(before) == {"EXTEND_TIMEOUT_USEC=60000000"}, "more time is asked for while the ledger opens"
    await until(heard(house, manager, "STATUS=0 batches open"), "the status is said")
    assert house.daemon.signal(signal.SIGTERM) == 0
    assert manager.said("STOPPING=1")
    assert manager.heard.count("READY=1") == 1


async def test_a_door_that_cannot_listen_is_never_ready(house: House, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        await house.comfyui.begin()
        house.configure()
        config = house.folder / "config.toml"
        config.write_text(config.read_text().replace("port = 0", f"port = {other.getsockname()[1]}"))
        house.daemon.start()
        assert await asyncio.to_thread(house.daemon.signal, signal.SIGCONT) == 1
    manager.said("")
    assert set(manager.heard) == {"EXTEND_TIMEOUT_USEC=60000000"}
    house.expected_errors = {"daemon.ended"}


async def test_keep_alives_come_twice_per_watchdog_time_while_the_loop_runs(house: House, manager: Manager) -> None:
    await start(house)
    await until(heard(house, manager, "WATCHDOG=1"), "a sign of life")
    since = time.monotonic()
    manager.forget()
    await until(lambda: manager.said("") and manager.heard.count("WATCHDOG=1") >= 4, "four signs more")
    assert time.monotonic() - since > WATCHDOG_S, "it says more than it need"
    os.kill(house.daemon.pid, signal.SIGSTOP)
    await until(lambda: Path(f"/proc/{house.daemon.pid}/stat").read_text().split()[2] == "T", "it stands still")
    manager.forget()
    with pytest.raises(AssertionError, match="a sign while it is stopped"):
        await until(lambda: manager.said("WATCHDOG=1"), "a sign while it is stopped", deadline_s=WATCHDOG_S)
    os.kill(house.daemon.pid, signal.SIGCONT)
    await until(heard(house, manager, "WATCHDOG=1"), "it lives again")


async def test_a_token_that_systemd_passes_counts_and_is_stored_nowhere(house: House, manager: Manager) -> None:
    credentials = house.folder / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text("passed-by-systemd\n")
    (credentials / "cloudinary").write_text("cloudinary://key:passed-secret@demo")
    house.daemon.environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    account = '[stores.cloud]\nkind = "cloudinary"\ncredential = "cloudinary"\nupload_prefix = "http://127.0.0.1:9"\n'
    await start(house, f'first_use = "trust"\n{account}')
    await until(heard(house, manager, "READY=1"), "it is ready")
    assert asked(house, "passed-by-systemd") == 400
    assert asked(house, "another") == 401
    assert not (house.state / "token").exists()
    everything = house.daemon.last_words() + "".join(manager.heard)
    assert "passed-by-systemd" not in everything
    assert "passed-secret" not in everything
    assert not [fact for fact in house.daemon.facts() if "credential" in str(fact)], "the account was not opened"


async def test_what_was_under_way_at_a_stop_goes_on_after_the_next_start(house: House, manager: Manager) -> None:
    await start(house)
    await until(heard(house, manager, "READY=1"), "it is ready")
    house.comfyui.control(hold=["start"])
    async with house.app() as app:
        batch = await app.submit("r1", images=coloured(8))
        await house.comfyui.let_run(1)
        await app.counted("stored", 1, batch["batch_id"])
        await until(heard(house, manager, "STATUS=1 batches open"), "the status names the batch")
    assert house.daemon.signal(signal.SIGTERM) == 0
    assert manager.said("STOPPING=1")
    asked_of_comfyui = {(one["method"], one["path"]) for one in house.comfyui.requests()}
    assert not {("POST", "/interrupt"), ("POST", "/queue")} & asked_of_comfyui, "a prompt was taken out of ComfyUI"
    house.comfyui.control(hold=[])
    await house.daemon.begin()
    async with house.app() as app:
        await app.settled(batch["batch_id"])
        house.check_stored(await app.batch(batch["batch_id"]))
    assert len(house.comfyui.posted()) == len(set(house.comfyui.posted())) == 8


async def test_sighup_loads_the_new_level_and_keeps_the_old_for_a_broken_file(house: House, manager: Manager) -> None:
    await start(house)
    await until(heard(house, manager, "READY=1"), "it is ready")
    manager.forget()
    config = house.folder / "config.toml"
    whole = config.read_text()

    def reload(text: str) -> None:
        config.write_text(text)
        manager.forget()
        os.kill(house.daemon.pid, signal.SIGHUP)

    reload("levle = 1\n" + whole)
    await until(heard(house, manager, "READY=1"), "it is ready after a file that is broken")
    assert "RELOADING=1" in manager.heard
    await until(house.daemon.errors, "the mistake is logged")
    assert [fact["event"] for fact in house.daemon.errors()] == ["config.not_reloaded"]
    reload(whole.replace("[door]", '[logging]\nlevel = "debug"\n[door]\nsubscriptions_max = 7'))
    await until(heard(house, manager, "READY=1"), "it is ready after a file that is whole")
    await until(lambda: "config.reloaded" in house.daemon.last_words(), "the reload is logged")
    (fact,) = [fact for fact in house.daemon.facts() if fact["event"] == "config.reloaded"]
    assert (fact["logging_level"], fact["restart_needed"]) == ("debug", ["door"])
    reload(whole.replace("[door]", '[logging]\nlevel = "error"\n[door]'))
    await until(heard(house, manager, "READY=1"), "it is ready with the level `error`")
    house.daemon.signal(signal.SIGTERM)
    assert "daemon.stopping" not in {fact["event"] for fact in house.daemon.facts()}, "it still says more than errors"
    house.expected_errors = {"config.not_reloaded"}
