"""The command `comfyledger`. The plain install has the Python client only; then it says what to install."""

from __future__ import annotations

import errno
import io
import os
import sys

UTF8_MODE = ["-X", "utf8=1"]


def main() -> None:
    """Run the command line; the process exits with one of `comfyledger.cli.base.EXIT_CODES`.

    A file that cannot be read or written, standard output included, is reported in one sentence, without a traceback.
    """
    _speak_utf8()
    _open_standard_files()
    try:
        from comfyledger.cli.main import cli

        cli(prog_name="comfyledger")
    except SystemExit as end:
        _end(end.code)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich"}:
            raise
        sys.exit("The command line is not installed. Run: pip install 'comfyledger[daemon]'")
    except OSError as error:
        _complain(error)
        _end(1)


def _speak_utf8() -> None:
    """Read and write file names as UTF-8 whatever the locale says, and print every character.

    Python decides the encoding of file names at its start (PEP 540). Under a locale without UTF-8 it is therefore
    started again: the process id stays the same, and the arguments are passed on byte for byte.
    """
    encoding = sys.getfilesystemencoding().lower().replace("-", "")
    if encoding != "utf8" and sys.executable and sys.orig_argv[1:3] != UTF8_MODE:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *UTF8_MODE, *sys.orig_argv[1:]])  # noqa: S606 (ourselves)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _open_standard_files() -> None:
    """Open what the process was started without (`>&-`) at /dev/null, so that no other file gets its number."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115 (for as long as the process lives)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


def _end(code: object) -> None:
    """Exit with a code, but with 1 if the output could not be written: a script must not take it for complete."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            _lead_nowhere(stream.fileno())
            if stream is sys.stdout:
                _complain(error)
                code = code or 1
    sys.exit(code)  # type: ignore[arg-type]


def _lead_nowhere(fd: int) -> None:
    """Python writes what a stream still holds when it exits; that would fail once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def _complain(error: OSError) -> None:
    if error.errno == errno.EPIPE:
        return  # the reader has seen enough
    try:
        print(f"{error.filename or 'The output'}: {error.strerror or error}.", file=sys.stderr, flush=True)
    except OSError:
        _lead_nowhere(2)


if __name__ == "__main__":
    main()
