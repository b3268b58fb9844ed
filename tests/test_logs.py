"""What the daemon says: a traceback tells where, and nothing of what was in the variables there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile

import pytest

from comfyledger.logs import broken_between_words
from support.waiting import DEADLINE_S

PROGRAM = """
import structlog
from comfyledger import logs
logs.configure(level="info", layout="{layout}")
def deep(typed):
    raise ValueError("broken")
try:
    deep("a " + "secret " + "coat")
except ValueError:
    structlog.get_logger("x").exception("thing.died")
"""


@pytest.mark.parametrize("layout", ["json", "console"])
def test_a_traceback_shows_where_and_no_variable(layout: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(layout=layout)]
    said = subprocess.run(program, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stderr
    assert "thing.died" in said
    assert "ValueError" in said
    assert "deep" in said
    assert "a secret coat" not in said


SPEAKS = """
import structlog
from comfyledger import logs
logs.configure(level="debug", layout="auto")
log = structlog.get_logger("x")
log.debug("a"), log.info("b", name="two\\nlines <3>"), log.warning("c"), log.error("d")
try:
    raise ValueError("broken\\nbadly")
except ValueError:
    log.exception("e")
"""


def said_to(stream: str) -> list[str]:
    """What is said on a stderr that is the journal's, as systemd names it, or another."""
    with tempfile.TemporaryFile() as journal:
        status = os.fstat(journal.fileno())
        environ = {**os.environ, "JOURNAL_STREAM": stream.format(device=status.st_dev, inode=status.st_ino)}
        subprocess.run([sys.executable, "-c", SPEAKS], check=True, stderr=journal, env=environ, timeout=DEADLINE_S)
        journal.seek(0)
        return journal.read().decode().splitlines()


def test_the_journal_gets_one_line_a_fact_with_its_priority() -> None:
    lines = said_to("{device}:{inode}")
    found = [re.fullmatch(r"<(\d)>(\{.*\})", line) for line in lines]
    assert [int(one[1]) for one in found if one] == [7, 6, 4, 3, 3]
    assert [json.loads(one[2])["event"] for one in found if one] == ["a", "b", "c", "d", "e"]
    assert len(lines) == 5


@pytest.mark.parametrize("stream", ["", "1:2", "{device}", "nonsense"])
def test_nobody_else_gets_a_priority(stream: str) -> None:
    assert [json.loads(line)["event"] for line in said_to(stream)] == ["a", "b", "c", "d", "e"]


def test_what_was_typed_cannot_begin_a_line_or_steer_the_terminal() -> None:
    program = """
import structlog
from comfyledger import logs
logs.configure(level="info", layout="{layout}")
structlog.get_logger("x").info("door.refused", label="a\\nlevel=error\\x1b[2J\\u202e", event_="b")
"""
    for layout in ("console", "json"):
        words = [sys.executable, "-c", program.format(layout=layout)]
        said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stderr
        assert said.count("\n") == 1
        assert "\u202e" not in said
        assert "\x1b[2J" not in said


SAYS_ALL = """
import logging, sys, threading, warnings
import structlog
from comfyledger import logs
logs.occupy_standard_files()
logs.configure(level="info", layout="json")
logs.take_in_libraries()
log = structlog.get_logger("x")
class Broken:
    def __repr__(self):
        raise ValueError("no words")
log.info("cannot.be.said", thing=Broken())
log.info("wrong %s %s", 1)
logging.getLogger("aiohttp.server").error("two\\nlines %s", 1)
logging.getLogger("websockets").debug("Authorization: secret")
warnings.warn("old")
def died():
    raise KeyError("thread")
thread = threading.Thread(target=died)
thread.start()
thread.join()
class Finalized:
    def __del__(self):
        raise KeyError("finalizer")
Finalized()
log.info("last")
raise RuntimeError("process")
"""


def test_all_that_a_process_says_are_facts_of_one_line() -> None:
    words = [sys.executable, "-c", SAYS_ALL]
    found = subprocess.run(words, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    facts = [json.loads(line) for line in found.stderr.splitlines()]
    names = [fact["event"] for fact in facts]
    assert names == [
        "log.dropped",
        "library.message",
        "library.message",
        "thread.broke",
        "exception.ignored",
        "last",
        "process.broke",
    ]
    assert facts[0]["lines"] == 2
    assert facts[1]["text"] == "two\nlines 1"
    assert "Authorization" not in found.stderr


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "2>/dev/null", ">&- 2>&- <&-"])
def test_a_process_that_cannot_log_goes_on(redirect: str) -> None:
    program = SAYS_ALL.replace('raise RuntimeError("process")', "import os; os._exit(7)")
    words = ["sh", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, program]
    found = subprocess.run(words, check=False, capture_output=True, timeout=DEADLINE_S)
    assert found.returncode == 7
    assert found.stderr == b""


def test_an_opened_file_never_gets_the_number_of_a_closed_stderr() -> None:
    program = """
import os
from comfyledger import logs
logs.occupy_standard_files()
assert os.open("/dev/null", os.O_RDONLY) > 2
"""
    words = ["sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&- 2>&-', sys.executable, program]
    assert subprocess.run(words, check=False, timeout=DEADLINE_S).returncode == 0


def test_a_traceback_on_a_terminal_is_indented_and_steers_nothing() -> None:
    program = PROGRAM.format(layout="console").replace('"broken"', '"broken\\nlevel=error \\x1b[2J\\u202e"')
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    ).stderr
    assert "\x1b[2J" not in said
    assert "\u202e" not in said
    assert not any(line.startswith("level=error") for line in said.splitlines())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_fact_at_a_terminal_is_broken_between_words(width: int) -> None:
    path = "/srv/" + "a" * 130
    text = f"\x1b[2m12:00:00\x1b[0m \x1b[1mlane.stuck\x1b[0m     error='It cannot be reached: 日本 refused.' {path} end"
    lines = broken_between_words(text, width)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert " ".join(plain).split() == re.sub(r"\x1b\[[0-9;]*m", "", text).split()
    assert all(len(line) <= width or line.strip() == path for line in plain)
    assert all(line.startswith("    ") and line.strip() for line in plain[1:])
    assert "".join("".join(lines).split()) == "".join(text.split()), "colours stay"


def test_a_fact_that_fits_stays_as_it_is() -> None:
    assert broken_between_words("a  b   c", 8) == ["a  b   c"]


def test_the_name_of_a_fact_begins_its_line() -> None:
    """journalctl cuts lines at the width of the screen."""
    assert [line[:11] for line in said_to("nonsense")] == ['{"event": "'] * 5


def test_the_userinfo_of_a_url_is_in_no_line_of_the_log() -> None:
    program = """
import structlog
from comfyledger import logs
logs.configure(level="info", layout="{layout}")
log = structlog.get_logger("x")
log.info("a", url="http://u:s3cret@box/x", said=["ws://s3cret@box"])
try:
    raise ValueError("cannot reach https://u:s3cret@box")
except ValueError:
    log.exception("b")
"""
    for layout in ("console", "json"):
        words = [sys.executable, "-c", program.format(layout=layout)]
        said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stderr
        assert "s3cret" not in said
        assert said.count("***@box") == 3
