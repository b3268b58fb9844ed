"""What `npm pack` makes, used from a fresh folder: types, the README's example over a killed daemon, and Express."""

from __future__ import annotations

import asyncio
import json
import signal
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

from support.documents import ROOT, blocks
from support.processes import House
from support.waiting import until
from typescript import express_app
from typescript.tools import CLIENT, COMPILER, node, run

EXAMPLE = ROOT / "examples" / "node_client.mjs"
CONSUMER = Path(__file__).with_name("consumer.ts")
RESOLUTIONS = {"NodeNext": "NodeNext", "bundler": "ES2022"}
"""How an app finds a package, each with the modules that go with it."""
SECONDS_PER_IMAGE = 0.1


def unpack(folder: Path) -> None:
    """A folder of an app that has installed the package."""
    run("npm", "pack", "--loglevel=error", "--pack-destination", folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
        packed.extractall(folder, filter="data")
    sources = {f"package/dist/{path.stem}" for path in (CLIENT / "src").glob("*.ts")}
    expected = {f"{source}{ending}" for source in sources for ending in (".js", ".d.ts")}
    assert names == expected | {"package/package.json", "package/README.md", "package/LICENSE"}, names ^ expected
    (folder / "node_modules").mkdir()
    (folder / "package").rename(folder / "node_modules" / "comfyledger")
    (folder / "package.json").write_text('{"type": "module", "private": true}')


def compile_app(folder: Path) -> None:
    """Raises CalledProcessError."""
    (folder / "consumer.ts").write_text(CONSUMER.read_text("utf-8"))
    for resolution, module in RESOLUTIONS.items():
        options = {"module": module, "moduleResolution": resolution, "strict": True, "noEmit": True, "types": []}
        options |= {"target": "ES2022", "lib": ["ES2022", "DOM"]}
        (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["consumer.ts"]}))
        run(COMPILER, "-p", folder)


def example() -> str:
    """The README's example, which is that of the folder `examples`."""
    ((_, shown),) = blocks((CLIENT / "README.md").read_text("utf-8"), "js")
    assert shown == EXAMPLE.read_text("utf-8")
    return shown


async def use(folder: Path) -> None:
    """Run the examples, the first over a daemon that is killed and comes back at its port. Raises AssertionError."""
    (folder / "app.mjs").write_text(example())
    house = House(folder)
    try:
        await house.begin(seconds_per_image=SECONDS_PER_IMAGE)
        url = house.daemon.url
        house.daemon.environment["COMFYLEDGER_DOOR__PORT"] = str(urlsplit(url).port)
        environment = {"COMFYLEDGER_URL": url, "COMFYLEDGER_TOKEN": house.daemon.token}
        words = ("app.mjs", "order-1001", "Areg", "Opal Fever", "12")
        app = asyncio.create_task(node(*words, environment=environment, cwd=folder))
        await until(house.stored, "the first image is stored")
        house.daemon.signal(signal.SIGKILL)
        await house.daemon.begin()
        await app
        assert len(house.stored()) == 12
        await express_app.check(folder, house)
        assert house.daemon.errors() == []
    finally:
        house.end()


async def check(folder: Path) -> None:
    """Raises AssertionError, CalledProcessError."""
    unpack(folder)
    compile_app(folder)
    await use(folder)
