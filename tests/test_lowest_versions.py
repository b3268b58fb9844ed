"""The bounds of the dependencies, as the run with the lowest versions reads them."""

from __future__ import annotations

import pytest

from support.lowest_versions import EXTRAS, PROJECT, lowest


def test_each_dependency_of_the_daemon_has_a_lowest_version() -> None:
    pinned = lowest(PROJECT.read_text(encoding="utf-8"))
    names = {line.partition("==")[0] for line in pinned}
    assert {"msgspec", "websockets", "aiohttp", "click", "uvloop", "av", "obstore"} <= names


def test_the_run_with_the_lowest_versions_installs_these_extras_and_stores_in_a_bucket() -> None:
    recipe = (PROJECT.parent / "Makefile").read_text("utf-8").partition("\ntest-lowest:")[2].partition("\n\n")[0]
    assert f"[{','.join(EXTRAS)}]" in recipe
    assert "demo --store s3" in recipe


@pytest.mark.parametrize("requirement", ["a", "a>1", "a==1", "a>=1,!=2", "a>="])
def test_a_dependency_without_a_lowest_version_is_an_error(requirement: str) -> None:
    extras = "[project.optional-dependencies]\n" + "".join(f"{extra} = []\n" for extra in EXTRAS)
    project = f'[project]\ndependencies = ["{requirement}"]\n{extras}'
    with pytest.raises(ValueError, match="lower bound"):
        lowest(project)
