"""The example that starts and stops ComfyUIs, against stand-ins that are started and stopped as it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.documents import ROOT
from support.fleet import Fleet
from support.waiting import until

SCALER = ROOT / "examples" / "scale_comfyuis.py"
DRAWN = {"workflow": "text-to-image", "inputs": {"width": 64, "height": 64, "steps": 1}}
IN_TIME = "[scheduling]\nwanted_wait_s = 1.0\n"


class Scaler:
    """The example as a process of its own. It says in one file after the other what is to be done."""

    def __init__(self, fleet: Fleet) -> None:
        self._said = fleet.folder / "said"
        self._said.touch()
        words = [f"echo start {{}} >> {self._said}", f"echo stop {{}} >> {self._said}", "0.1"]
        environment = {**os.environ, "COMFYLEDGER_STATE_DIR": str(fleet.state)}
        self._popen = subprocess.Popen([sys.executable, str(SCALER), *words], env=environment)

    def says(self, *lines: str) -> bool:
        assert self._popen.poll() is None, "the scaler has ended"
        return set(lines) <= set(self._said.read_text("utf-8").splitlines())

    def forget(self) -> None:
        self._said.write_text("")

    def end(self) -> None:
        self._popen.send_signal(signal.SIGTERM)
        self._popen.wait()


async def test_the_scaler_starts_what_is_wanted_and_stops_what_is_idle(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, ("a", "b"), seconds_per_image=0.2)
    try:
        await fleet.begin_all(config=IN_TIME)
        scaler = Scaler(fleet)
        try:
            await until(lambda: scaler.says("stop a", "stop b"), "nothing is wanted")
            fleet.standins["b"].signal(signal.SIGKILL)
            scaler.forget()
            async with fleet.app() as app:
                batch_id = (await app.submit("r1", quantity=40, **DRAWN))["batch_id"]
                await until(lambda: scaler.says("start a", "start b"), "both are wanted")
                await fleet.standins["b"].begin()
                (batch,) = await app.settled(batch_id)
                scaler.forget()
                await until(lambda: scaler.says("stop a", "stop b"), "nothing is wanted any more")
        finally:
            scaler.end()
        fleet.check_stored(batch)
        assert all(one.posted() for one in fleet.standins.values())
    finally:
        fleet.end()
