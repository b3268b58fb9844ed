"""The wheel: what it carries, what it says of itself, and that it works without the repository beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest

from support.documents import CONFIG, ROOT
from support.waiting import DEADLINE_S

SHIPPED = ("config.toml", "examples", "monitoring", "systemd")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this source tree, built by its own build backend and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=DEADLINE_S)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> Message:
    (file,) = unpacked.glob("*.dist-info/METADATA")
    return BytesParser().parsebytes(file.read_bytes())


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_carries_every_file_that_is_shipped_for_people(unpacked: Path) -> None:
    for name in SHIPPED:
        sources = files(ROOT / name) or [ROOT / name]
        copies = [unpacked / "comfyledger" / "shipped" / path.relative_to(ROOT) for path in sources]
        assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in sources]


def test_the_wheel_carries_every_source_file_and_no_test(unpacked: Path) -> None:
    packages = [*files(ROOT / "daemon"), *files(ROOT / "plugins")]
    assert {path.relative_to(path.parents[len(path.relative_to(ROOT).parts) - 2]) for path in packages} <= {
        path.relative_to(unpacked) for path in files(unpacked)
    }
    tops = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"comfyledger", "comfyledger_cloudinary", "comfyledger_folder", "comfyledger_objects"}


def test_the_wheel_carries_the_web_page(unpacked: Path) -> None:
    sources = files(ROOT / "daemon/comfyledger/server/page_files")
    assert "index.html" in {path.name for path in sources}
    copies = [unpacked / path.relative_to(ROOT / "daemon") for path in sources]
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in sources]


def test_the_wheel_names_its_authors_licence_and_kind(metadata: Message) -> None:
    assert metadata["Author"] == "The comfyledger authors"
    assert metadata["Author"] in (ROOT / "LICENSE").read_text("utf-8")
    assert metadata["License-Expression"] == "MIT AND Apache-2.0"
    assert metadata.get_all("License-File") == [
        "LICENSE",
        "daemon/comfyledger/server/api_page/swagger-ui/LICENSE",
        "daemon/comfyledger/server/page_files/LICENSES.txt",
    ]
    assert {"Typing :: Typed", "Operating System :: POSIX :: Linux"} <= set(metadata.get_all("Classifier", []))


def test_a_package_index_shows_the_readme_without_links_that_lead_nowhere(metadata: Message) -> None:
    text = metadata.get_payload()
    assert isinstance(text, str)
    assert "# comfyledger" in text
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", text) == []
    assert "!The web page" not in text


@pytest.mark.parametrize("words", ["config example", "systemd print", "--version"])
def test_the_wheel_answers_outside_the_repository_as_it_does_inside(unpacked: Path, tmp_path: Path, words: str) -> None:
    def said(folder: Path) -> str:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT / "plugins")))}
        command = [sys.executable, "-m", "comfyledger", *words.split()]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True, timeout=DEADLINE_S
        )
        return ran.stdout.replace(str(folder), "PACKAGE")

    assert said(unpacked) == said(ROOT / "daemon")
    if words == "config example":
        assert said(unpacked) == CONFIG


@pytest.mark.parametrize(("store", "extras"), [("folder", "daemon"), ("s3", "daemon,objects")])
def test_the_demo_installs_what_it_needs_and_shows_how_it_goes(tmp_path: Path, store: str, extras: str) -> None:
    """What `make demo` would run on a fresh clone."""
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    planned = subprocess.run(
        ["make", "--dry-run", "demo", f"STORE={store}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    (install,) = re.findall(r"pip install .*", planned)
    assert f"'.[{extras}]'" in install
    assert "--quiet" not in install
