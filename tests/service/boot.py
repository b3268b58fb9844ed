"""Boots the machine that it runs on once more, in a container, and lives through the life of the service there.

    python tests/service/boot.py

The container sees the files of this machine through an overlay: nothing that is written in it reaches the disk. It has
a network of its own with nothing in it, process ids of its own, and a control group of its own. `life.py` runs inside.
Where a machine cannot do this a word says why, and the exit code is 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
BOUND_S = 600.0
"""The whole life takes about two minutes on a machine that has nothing else to do."""
INSIDE = "opt/comfyledger-test"
NEEDED = ("systemd-nspawn", "unshare", "mount")

BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs "$PLACE"
mkdir "$PLACE/cgroup" "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t cgroup2 cgroup2 "$PLACE/cgroup"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" "$PLACE/root"
"""
"""In a mount namespace of its own; what is mounted here is gone with the last process of it."""

GROUP = """
mkdir "$PLACE/cgroup/$NAME"
echo $$ > "$PLACE/cgroup/$NAME/cgroup.procs"
"""

START = """
exec unshare --cgroup sh -euc '
umount "$PLACE/cgroup"
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec systemd-nspawn --quiet --directory="$PLACE/root" --machine="$NAME" --register=no --keep-unit \
  --private-network --resolv-conf=off --timezone=off --link-journal=no --console=pipe --bind="$SHARED:/$INSIDE" \
  --boot systemd.unit=comfyledger-test.target systemd.journald.forward_to_console=0 quiet
'
"""

TARGET = """
[Unit]
Description=the life of the service
Requires=basic.target comfyledger-test.service
After=basic.target
"""
LIFE = f"""
[Unit]
Description=the life of the service, lived
After=basic.target dbus.socket
Wants=dbus.socket
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
ExecStart={{python}} /{INSIDE}/life.py
StandardOutput=append:/{INSIDE}/said
StandardError=inherit
Environment=PYTHONUNBUFFERED=1
"""
MASKED = (
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
)
MASKED += (
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-firstboot.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "man-db.timer",
)

GUARD = """
mount -t cgroup2 cgroup2 "$PLACE"
read -r _ || true
group="$PLACE/$NAME"
if [ -d "$group" ]; then
  echo 1 > "$group/cgroup.kill" || true
  for _ in $(seq 200); do
    find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || true
    [ -d "$group" ] || break
    sleep 0.05
  done
fi
umount "$PLACE"
rm -rf "$HOLD"
"""
"""Waits until the one that started it is gone, killed or not, and takes away what it left."""


def hindrance() -> str:
    """Why this machine cannot; empty if it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if lacking := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(lacking)} is not installed (Debian: systemd-container)"
    if not Path("/usr/lib/systemd/systemd").exists() and not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    with tempfile.TemporaryDirectory() as place:
        tried = _in_namespaces(BOOT, {"PLACE": place}, capture_output=True, text=True)
    return f"it may not mount ({tried.stderr.strip().splitlines()[0]})" if tried.returncode else ""


def _in_namespaces(script: str, environment: dict[str, str], **more: object) -> subprocess.CompletedProcess[str]:
    line = ["unshare", "--mount", "--propagation=private", "sh", "-euc", script]
    return subprocess.run(line, env=os.environ | environment, check=False, **more)  # type: ignore[call-overload,no-any-return]


def prepared(hold: Path) -> Path:
    """The folder that the container shares with us: wheels, the life, and what it says."""
    shared = hold / "shared"
    wheels = shared / "wheels"
    wheels.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--wheel-dir", str(wheels)]
    built = subprocess.run(
        [*pip, f"{TREE}[daemon,speed]"], check=False, capture_output=True, text=True, timeout=BOUND_S
    )
    if built.returncode:
        raise SystemExit(f"service: no wheel can be built: {built.stderr}")
    shutil.copy(HERE / "life.py", shared)
    (shared / "said").touch()
    return shared


def written(shared: Path) -> str:
    """A script that puts units into the container's files."""
    units = shared / "units"
    units.mkdir()
    (units / "comfyledger-test.target").write_text(TARGET)
    (units / "comfyledger-test.service").write_text(LIFE.format(python=os.path.realpath(sys.executable)))
    lines = ['cp "$SHARED"/units/* "$PLACE/root/etc/systemd/system/"', 'rm -f "$PLACE/root/etc/machine-id"']
    lines += [f'ln -sfn /dev/null "$PLACE/root/etc/systemd/system/{unit}"' for unit in MASKED]
    return "\n".join([*lines, f'mkdir -p "$PLACE/root/{INSIDE}"', ""])


def lived(hold: Path, name: str) -> int:
    """Boot it, and show what it says until it ends; its exit code."""
    began = time.monotonic()
    shared = prepared(hold)
    print(f"service: wheels are built after {time.monotonic() - began:.0f} s", flush=True)
    place = hold / "place"
    place.mkdir()
    environment = os.environ | {"PLACE": str(place), "NAME": name, "SHARED": str(shared), "INSIDE": INSIDE}
    script = BOOT + written(shared) + GROUP + START
    line = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (hold / "console").open("wb") as console, (shared / "said").open() as said:
        booted = subprocess.Popen(
            [*line, "sh", "-euc", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        code = None
        while code is None and time.monotonic() < began + BOUND_S:
            code = booted.poll()
            print(said.read(), end="", flush=True)
            time.sleep(0.1)
        booted.kill()
        booted.wait()
    if code:
        print((hold / "console").read_text(errors="replace")[-3_000:])
    return 124 if code is None else code


def main() -> int:
    if why := hindrance():
        print(f"service: skipped, this machine cannot boot a container: {why}")
        return 0
    hold = Path(tempfile.mkdtemp(prefix="comfyledger-service-"))
    name = f"comfyledger-test-{os.getpid()}"
    watched = hold / "watched"
    watched.mkdir()
    guard = subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "sh", "-euc", GUARD],
        env=os.environ | {"PLACE": str(watched), "NAME": name, "HOLD": str(hold)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        return lived(hold, name)
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
