"""The command `comfyledger`. The plain install is the Python client alone; then it says what is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the process ends with one of `comfyledger.cli.calling.EXIT_CODES`."""
    try:
        from comfyledger.cli.commands import cli
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.exit("The command line is not installed. Run: pip install 'comfyledger[daemon]'")
    cli(prog_name="comfyledger")


if __name__ == "__main__":
    main()
