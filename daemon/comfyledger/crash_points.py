"""Crash points: named places where a test kills the daemon, as by kill -9, to show that it survives.

There is one point before and one after each durable step and each outward call.
The environment variable COMFYLEDGER_CRASH_AT names the point that kills: `name`, or `name:3` for the third time that it
is reached. Without the variable a point costs one comparison of two strings.
"""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Final

VARIABLE: Final = "COMFYLEDGER_CRASH_AT"

POINTS: Final[dict[str, str]] = {
    # the ledger
    "ledger.named": "A new ledger has its id, and that is not committed.",
    "ledger.born": "A new ledger is committed; nothing is in it.",
    "group.written": "What a group of messages changes is written and not committed.",
    "group.committed": "A group is committed; no answer has left.",
    # the shared log of a fleet
    "log.decided": "A group is decided and written to the replica, and to the shared log nothing.",
    "log.sending": "A group and its COMMIT are about to be sent to the shared log.",
    "log.committed": "The shared log has a group; the replica has not.",
    "keys.made": "The next wrapping key is in the database, and in no file.",
    "keys.learned": "The next wrapping key is in the file of this box, and wraps only new texts.",
    "keys.page": "Some keys of texts are wrapped under the next wrapping key, and others are not.",
    "keys.rewrapped": "No text needs the older wrapping key; this box still has it.",
    # a batch, from the request to the reply
    "batch.admitted": "A batch has passed all checks; nothing of it is written.",
    "batch.numbered": "The numbers of a batch are logged; its reply is not made.",
    "series.asking": "The stores are about to be asked about a series that was never used.",
    "series.answered": "Every store has said its highest number; that is not logged.",
    "series.opened": "The highest numbers are logged; the batch that waits for them has none yet.",
    "reply.sending": "The answer to a request is about to be sent.",
    "reply.sent": "The answer to a request is sent.",
    "event.sending": "An event is about to be sent to a subscriber.",
    "event.sent": "An event is sent to a subscriber.",
    # a prompt
    "sources.found": "All images that a prompt is made from have their bytes; that is not logged.",
    "prompt.owed": "A prompt is to be sent; that is not logged.",
    "prompt.intended": "That a prompt will be sent is logged.",
    "prompt.sought": "A prompt that may have been sent before has been looked for.",
    "prompt.posting": "The POST of a prompt is about to go out.",
    "prompt.answered": "ComfyUI has answered the POST; that is not logged.",
    "prompt.accepted": "That ComfyUI has accepted a prompt is logged.",
    "prompt.ended": "The end of a prompt has been seen; that is not logged.",
    "prompt.end_logged": "The end of a prompt is logged.",
    "cancel.sending": "A prompt is about to be taken out of ComfyUI.",
    "cancel.answered": "ComfyUI has answered the cancellation; that is not logged.",
    "move.deciding": "A prompt is about to be moved away from a ComfyUI.",
    "move.decided": "The event about the move is durable; another ComfyUI may get the prompt.",
    "move.giving_up": "The prompts at a ComfyUI that is not used any more are about to be given up there.",
    "move.given_up": "That is durable, and that ComfyUI is about to be asked to stop them.",
    # a ComfyUI that a client adds
    "backend.changing": "That a ComfyUI was added or removed is logged; nothing follows from it yet.",
    # a review
    "review.recorded": "Verdicts are logged; what was rejected with `forget` is not forgotten yet.",
    # a webhook
    "webhook.delivering": "The request for an event is about to go out.",
    "webhook.delivered": "The endpoint has taken an event; that is not saved.",
    # its files
    "fetch.asked": "ComfyUI has begun to send a file; no byte is in the spool.",
    "spool.received": "All bytes of a file are in the spool, under a temporary name.",
    "spool.pinned": "A file is pinned and synced, under a temporary name.",
    "spool.renamed": "A file has its own name in the spool; its folder is not synced.",
    "spool.kept": "A file and its folder are on stable storage.",
    "fetch.whole": "Every file of a prompt is in the spool; that is not logged.",
    "fetch.logged": "That the files of a prompt are kept is logged.",
    "history.deleting": "Our entry in ComfyUI's history is about to be deleted.",
    "history.deleted": "Our entry in ComfyUI's history is deleted.",
    # an input
    "input.received": "All bytes of an input have come; nothing of it is checked.",
    "input.pinned": "An input is checked and synced, under a temporary name.",
    "input.deleting": "An input that nothing needs is about to be deleted here; that it goes is logged.",
    "input.deleted": "An input is durably deleted here; that it has gone is not logged.",
    "input.kept": "An input and its folder are on stable storage; that is not logged.",
    # an input at ComfyUI
    "input.sending": "A file is about to be uploaded to ComfyUI; that is logged.",
    "input.uploaded": "ComfyUI has taken a file; its bytes are not read back.",
    "input.verified": "ComfyUI has all bytes of a file; the prompt that loads it is not sent.",
    "input.removing": "A forgotten file is about to be overwritten at ComfyUI.",
    "input.removed": "A forgotten file is overwritten at ComfyUI; that is not logged.",
    # a store
    "upload.owed": "An image is to be put into a store; that is not logged.",
    "upload.intended": "That an image will be put into a store is logged; the call is about to go out.",
    "upload.answered": "The store has answered; that is not logged.",
    "upload.logged": "That the store has the image is logged, and with the last one that the batch is settled.",
}


def armed(text: str) -> tuple[str, int]:
    """The point that kills and at which pass it does, from 1. No point if the text is empty.

    Raises SystemExit with a message if there is no such point.
    """
    name, _, times = text.partition(":")
    times = times or "1"
    if name and name not in POINTS:
        raise SystemExit(f"{VARIABLE} names no crash point: {name!r}. There are: {', '.join(POINTS)}.")
    if not times.isascii() or not times.isdigit() or int(times) < 1:
        raise SystemExit(f"{VARIABLE} is NAME or NAME:TIMES, TIMES from 1 on, not {text!r}.")
    return name, int(times)


_NAME, _TIMES = armed(os.environ.get(VARIABLE, ""))
_reached = count(1)


def at(name: str) -> None:
    """Pass this point. If it is the one that kills, the process dies here by SIGKILL."""
    if name == _NAME and next(_reached) == _TIMES:
        os.kill(os.getpid(), signal.SIGKILL)
