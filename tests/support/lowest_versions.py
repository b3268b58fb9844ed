"""Prints the lowest version of each direct dependency of the daemon, as constraints for pip: `name==version`.

`make test-lowest` installs them and runs the main job once, so that the bounds in pyproject.toml are true.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("daemon", "objects", "speed", "video")
PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def lowest(project: str) -> list[str]:
    """One line for each dependency of the plain install and of the extras that the run installs.

    Raises ValueError for one without a lower bound.
    """
    said = tomllib.loads(project)["project"]
    of_extras = (one for extra in EXTRAS for one in said["optional-dependencies"][extra])
    return [_pinned(one) for one in (*said["dependencies"], *of_extras)]


def _pinned(requirement: str) -> str:
    found = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9][0-9.]*)(?:,<[0-9.]+)?", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} has no lower bound of the form NAME>=VERSION")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print("\n".join(lowest(PROJECT.read_text(encoding="utf-8"))))
