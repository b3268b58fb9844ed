"""Reads the workflow in a file: JSON, or a PNG or WebP that ComfyUI made.

A picture is too large for a request, so its graph is taken out here. No more of a file is read than a workflow may
have, whatever the file is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NoReturn

from comfyledger.errors import Refused
from comfyledger.wire.picture import EXPORT_HINT, HEAD_BYTES, graph_in_picture, is_picture
from comfyledger.wire.strict import PARTS_MAX, check_once, finite, has_many_parts

STDIN: Final = "-"
WORKFLOW_BYTES_MAX: Final = 2**21
"""Twice what a request has room for by default: files are indented, and a request is not."""
PIPED_BYTES_MAX: Final = 2**28
"""Of a picture that comes through a pipe, which is kept on disk meanwhile."""
PIECE_BYTES: Final = 2**20


def read_workflow(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The workflow in a file, as `submit` and `check_workflow` take it. `path`: `-` is standard input.

    Raises Refused: workflow_invalid if the file cannot be read or holds no workflow, graph_too_large, and invalid_field
    for a key that stands twice.
    """
    return workflow_in(workflow_text(path, WORKFLOW_BYTES_MAX))


def workflow_text(path: str | os.PathLike[str], bytes_max: int) -> bytes:
    """The JSON in a file. Raises Refused (workflow_invalid, graph_too_large)."""
    try:
        with _opened(path) as file:
            is_one = is_picture(file.read(HEAD_BYTES))
            file.seek(0)
            text = graph_in_picture(file, bytes_max) if is_one else file.read(bytes_max + 1)
    except OSError as error:
        _unreadable(path, error.strerror or str(error))
    except ValueError as error:  # a path with a zero in it
        _unreadable(path, str(error))
    if len(text) > bytes_max:
        message = f"The file has more than {bytes_max:,} bytes."
        raise Refused("graph_too_large", message, hint="Remove nodes that are not needed.")
    return text


def workflow_in(text: bytes) -> dict[str, Any]:
    """The JSON object in a text, without the numbers that ComfyUI does not look at. Raises Refused."""
    if has_many_parts(text):
        message = f"The workflow has more than {PARTS_MAX:,} lists and objects."
        raise Refused("graph_too_large", message, hint="Remove nodes that are not needed.")
    try:
        decoded = text.decode("utf-8-sig")
        value = json.loads(decoded)
    except UnicodeDecodeError as error:
        message = "The file is neither JSON nor a PNG or WebP picture."
        raise Refused("workflow_invalid", message, hint=EXPORT_HINT) from error
    except (ValueError, RecursionError) as error:
        message = f"The workflow is not JSON: {str(error)[:200]}."
        raise Refused("workflow_invalid", message, hint=EXPORT_HINT) from error
    if not isinstance(value, dict):
        raise Refused("workflow_invalid", "The workflow is not a JSON object.", hint=EXPORT_HINT)
    check_once(decoded)
    found: dict[str, Any] = finite(value, "$")
    return found


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that can be read twice. Raises OSError."""
    if os.fspath(path) != STDIN:
        with open(path, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as kept:
        left = PIPED_BYTES_MAX
        while left and (piece := sys.stdin.buffer.read(min(left, PIECE_BYTES))):
            left -= kept.write(piece)
        kept.seek(0)
        yield kept


def _unreadable(path: str | os.PathLike[str], why: str) -> NoReturn:
    text = f"{os.fspath(path)[:200]!r} cannot be read: {why}."
    raise Refused("workflow_invalid", text, hint="Give the path of a .json, .png or .webp file.")
