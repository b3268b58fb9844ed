"""The bounds of the dependencies, as the run with the lowest versions reads them."""

from __future__ import annotations

import pytest

from support.lowest_versions import PROJECT, lowest


def test_each_dependency_of_the_daemon_has_a_lowest_version() -> None:
    pinned = lowest(PROJECT.read_text(encoding="utf-8"))
    assert {"msgspec", "websockets", "aiohttp", "click", "uvloop", "av"} <= {line.partition("==")[0] for line in pinned}


@pytest.mark.parametrize("requirement", ["a", "a>1", "a==1", "a>=1,!=2", "a>="])
def test_a_dependency_without_a_lowest_version_is_an_error(requirement: str) -> None:
    extras = "[project.optional-dependencies]\ndaemon = []\nspeed = []\nvideo = []\n"
    project = f'[project]\ndependencies = ["{requirement}"]\n{extras}'
    with pytest.raises(ValueError, match="lower bound"):
        lowest(project)
