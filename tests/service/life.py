"""The life of the service, inside the container that `boot.py` boots: each step says its name and how long it took.

Only what a person has is used: the wheel, the commands that docs/service.md names, and systemd's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROGRAM = "/opt/comfyledger/bin/comfyledger"
UNIT = "comfyledger.service"
STATE = Path("/var/lib/comfyledger")
IMAGES = Path("/srv/comfyledger-images")
BACKUPS = Path("/var/lib/comfyledger-backups")
STEP_S = 120.0
LINE_MAX = 240
"""Of a line in the journal, of which `event`, `level` and `timestamp` take ninety characters."""
CONFIG = f"""
state_dir = "{STATE}"
[comfyui.main]
url = "http://127.0.0.1:8188"
sweep_interval_s = 1.0
[stores.folder]
kind = "folder"
root = "{IMAGES}"
[stores.cloud]
kind = "cloudinary"
credential = "cloudinary"
upload_prefix = "http://127.0.0.1:8288"
"""


def run(*words: str, code: int = 0, **more: Any) -> str:
    """What a command says; it must end with the code."""
    ended = subprocess.run(words, check=False, capture_output=True, text=True, timeout=STEP_S, **more)
    assert ended.returncode == code, f"{' '.join(words)} ended with {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + STEP_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {STEP_S:g} s: {what}"
        time.sleep(0.1)
    return found


def shown(unit: str, name: str) -> str:
    return run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def main_pid() -> int:
    return int(shown(UNIT, "MainPID"))


def facts(unit: str = UNIT) -> list[dict[str, Any]]:
    """What the journal has of a unit's own lines, oldest first."""
    lines = run("journalctl", "--output=json", "--no-pager", f"_SYSTEMD_UNIT={unit}").splitlines()
    return [json.loads(line) for line in lines]


def said(event: str) -> list[str]:
    return [str(one["MESSAGE"]) for one in facts() if f'"{event}"' in str(one["MESSAGE"])]


def client(*words: str) -> Any:
    """The command line as a member of the group uses it."""
    return json.loads(run(PROGRAM, *words, "--json", env=os.environ | {"COMFYLEDGER_STATE_DIR": str(STATE)}))


def submitted(request_id: str, count: int) -> list[int]:
    """The numbers of a batch that every store has."""
    asked = client("submit", "Areg", "Opal Fever", "--quantity", str(count), "--request-id", request_id)
    images = ["images", "--batch", asked["batch_id"]]
    until(lambda: {one["state"] for one in client(*images)["images"]} == {"stored"}, f"{request_id} is stored")
    return list(asked["numbers"])


def restarted(before: int, cause: str) -> None:
    def again() -> bool:
        return shown(UNIT, "ActiveState") == "active" and main_pid() not in {0, before}

    until(again, f"it runs again after {cause}")


# ---- the steps, in order


def installs_from_a_wheel() -> None:
    run(sys.executable, "-m", "venv", "/opt/comfyledger")
    pip = ["/opt/comfyledger/bin/python", "-m", "pip", "install", "--quiet", "--no-index"]
    run(
        *pip,
        "--find-links",
        str(HERE / "wheels"),
        "comfyledger[daemon,speed]",
        env=os.environ | {"PIP_CONFIG_FILE": "/dev/null"},
    )


def is_put_in_place() -> None:
    """The units and what `install` says to do afterwards, word for word."""
    config = Path("/etc/comfyledger/config.toml")
    config.parent.mkdir()
    config.write_text(CONFIG)
    commands = [line.strip() for line in run(PROGRAM, "systemd", "install", "--config", str(config)).splitlines()]
    Path("/etc/credstore").mkdir(exist_ok=True)
    secret = Path("/etc/credstore/comfyledger.cloudinary")
    secret.write_text("cloudinary://123456789012345:a-secret-of-the-test@demo")
    secret.chmod(0o600)
    stand_ins()
    for command in commands[commands.index("Then, as root:") + 1 :]:
        run("sh", "-euc", command)
    run("chown", "root:comfyledger", str(config))
    config.chmod(0o640)
    until(lambda: shown(UNIT, "ActiveState") == "active", "it is active")


def stand_ins() -> None:
    words = ["--secret", "a-secret-of-the-test", "--root", "/srv/account"]
    for unit, line in (("comfyui", ["--output", "/srv/comfyui-output"]), ("cloudinary", words)):
        run("systemd-run", "--quiet", f"--unit={unit}-stand-in", PROGRAM, "sim", unit, *line)


def its_first_lines_are_for_a_person() -> None:
    """A fact a line: where the door is, then each ComfyUI, each store and each workflow. None fills half a screen."""
    lines = [str(one["MESSAGE"]) for one in facts()]
    first = [json.loads(line) for line in lines[:4]]
    assert [one["event"] for one in first] == ["daemon.ready", "comfyui.used", "store.used", "store.used"], lines
    assert (first[0]["url"], first[1]["url"]) == ("http://127.0.0.1:9831", "http://127.0.0.1:8188"), lines
    assert [line for line in lines if len(line) > LINE_MAX] == [], lines
    assert [line for line in lines if not line.startswith('{"event": "')] == [], lines


def renders_and_stores() -> None:
    assert submitted("first", 2) == [1, 2]
    assert len(list(IMAGES.rglob("*.png"))) == 2


def diagnosed(*before: str, **more: Any) -> dict[str, str]:
    """What the doctor does not find well, by area. It must find nothing broken."""
    report = json.loads(run(*before, PROGRAM, "--state-dir", str(STATE), "doctor", "--json", **more))
    return {one["area"]: one["sentence"] for one in report["diagnoses"] if one["verdict"] != "ok"}


def the_doctor_finds_it_well() -> None:
    assert diagnosed() == {}


def a_member_of_the_group_may_look() -> None:
    """What only the service is given is not looked at then."""
    run("useradd", "--no-create-home", "--groups", "comfyledger", "areg")
    for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents):
        folder.chmod(folder.stat().st_mode | 0o011)  # In the overlay alone: the interpreter may lie in root's home.
    found = diagnosed("runuser", "-u", "areg", "--", cwd="/")
    assert found.keys() == {"store cloud"}, found
    assert "systemd passes to the service alone" in found["store cloud"]


def what_others_may_do_is_found() -> None:
    (STATE / "token").chmod(0o644)
    report = json.loads(run(PROGRAM, "--state-dir", str(STATE), "doctor", "--json", code=6))
    (wrong,) = [one for one in report["diagnoses"] if one["verdict"] == "failure"]
    run("sh", "-euc", wrong["mend"])
    assert diagnosed() == {}


def a_token_may_be_a_credential() -> None:
    credential = Path("/etc/credstore/comfyledger.token")
    credential.write_text("a-token-of-the-test")
    (STATE / "token").unlink()
    run("systemctl", "restart", UNIT)
    assert diagnosed() == {}
    os.environ["COMFYLEDGER_TOKEN"] = "a-token-of-the-test"
    assert submitted("with a credential", 1) == [3]
    assert not (STATE / "token").exists()


def a_kill_is_followed_by_a_start() -> None:
    before = main_pid()
    os.kill(before, 9)
    restarted(before, "kill -9")
    assert submitted("after a kill", 1) == [4]


def the_watchdog_ends_what_hangs() -> None:
    before = main_pid()
    os.kill(before, 19)
    restarted(before, "a hang")
    assert "watchdog" in run("journalctl", "--no-pager", f"--unit={UNIT}").lower()
    assert submitted("after a hang", 1) == [5]


def a_reload_is_heard() -> None:
    config = Path("/etc/comfyledger/config.toml")
    config.write_text(config.read_text() + '[logging]\nlevel = "debug"\n')
    before = main_pid()
    run("systemctl", "reload", UNIT)
    until(lambda: said("config.reloaded"), "the reload is in the journal")
    assert main_pid() == before


def both_timers_run() -> None:
    for name in ("audit", "backup"):
        timer, unit = f"comfyledger-{name}.timer", f"comfyledger-{name}.service"
        assert shown(timer, "UnitFileState") == "enabled"
        assert shown(timer, "ActiveState") == "active"
        drop_in = Path(f"/run/systemd/system/{timer}.d/soon.conf")
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text("[Timer]\nOnCalendar=\nOnActiveSec=1ms\nRandomizedDelaySec=0\nAccuracySec=1ms\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", timer)
        until(lambda unit=unit: shown(unit, "ExecMainExitTimestampMonotonic") != "0", f"{unit} has run")
        assert (shown(unit, "Result"), shown(unit, "ExecMainStatus")) == ("success", "0"), run("journalctl", "-u", unit)
    assert [path for path in BACKUPS.iterdir() if path.suffix == ".db"]


def uninstalling_leaves_the_state_alone() -> None:
    lines = [line.strip() for line in run(PROGRAM, "systemd", "uninstall").splitlines()]
    for command in lines[lines.index("Then, as root:") + 1 :]:
        run("sh", "-euc", command)
    assert shown(UNIT, "ActiveState") in {"inactive", "failed"}
    assert main_pid() == 0
    left = {str(path) for path in Path("/etc").rglob("comfyledger*") if "comfyledger-test" not in path.name}
    assert left == {"/etc/comfyledger", "/etc/credstore/comfyledger.cloudinary", "/etc/credstore/comfyledger.token"}, (
        left
    )
    assert "comfyledger" not in run("systemctl", "list-unit-files", "--no-pager").replace("comfyledger-test", "")
    assert (STATE / "ledger.db").exists()
    assert len(list(IMAGES.rglob("*.png"))) == 5


STEPS: tuple[Callable[[], None], ...] = (
    installs_from_a_wheel,
    is_put_in_place,
    its_first_lines_are_for_a_person,
    renders_and_stores,
    the_doctor_finds_it_well,
    a_member_of_the_group_may_look,
    what_others_may_do_is_found,
    a_token_may_be_a_credential,
    a_kill_is_followed_by_a_start,
    the_watchdog_ends_what_hangs,
    a_reload_is_heard,
    both_timers_run,
    the_doctor_finds_it_well,
    uninstalling_leaves_the_state_alone,
)


def main() -> int:
    failed = 0
    for step in STEPS:
        began = time.monotonic()
        try:
            step()
        except Exception as error:
            failed += 1
            print(f"service: FAILED {step.__name__}: {type(error).__name__}: {error}")
        else:
            print(f"service: {step.__name__} ({time.monotonic() - began:.1f} s)")
    if failed:
        print(run("journalctl", "--no-pager", "--unit=comfyledger*", "--lines=60"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
