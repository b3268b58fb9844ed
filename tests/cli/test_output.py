"""What goes to a terminal, to a pipe and to nowhere: words stay whole, and no ending is a traceback."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import secrets
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.progress import Progress

from comfyledger import wire
from comfyledger.cli.base import first_sentence
from comfyledger.cli.main import SECTIONS, cli
from comfyledger.cli.ui import bars, progress_view, terminal
from comfyledger.cli.ui.batch_progress import BatchProgress
from comfyledger.cli.ui.progress_view import BarScreen
from comfyledger.server.tokens import new_token
from support.waiting import DEADLINE_S, until_without_a_loop

COMMAND = [sys.executable, "-m", "comfyledger"]


def at_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    text = io.StringIO()
    made = Console(file=text, force_terminal=True, width=width, color_system=None, markup=False, emoji=False)
    monkeypatch.setattr(terminal, "console", lambda: made)
    return text


WORDS = "A sentence that is longer than one line of a terminal and names /srv/a/path/that/is/long as it goes on."


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("indent", ["", "  "])
def test_a_line_is_wrapped_between_words_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int, indent: str
) -> None:
    text = at_terminal(monkeypatch, width)
    terminal.say(f"{indent}{WORDS} {WORDS}")
    assert text.getvalue().split() == f"{WORDS} {WORDS}".split()
    assert max(map(len, text.getvalue().splitlines())) <= width
    assert text.getvalue().startswith(f"{indent}A sentence")


def test_what_is_to_be_copied_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = at_terminal(monkeypatch, 80)
    terminal.say(WORDS * 2, whole=True)
    assert text.getvalue() == WORDS * 2 + "\n"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("first", ["short", "a-name-that-takes-nearly-all-of-the-terminal-" + "x" * 20])
def test_a_table_breaks_no_word_at_any_width(monkeypatch: pytest.MonkeyPatch, width: int, first: str) -> None:
    text = at_terminal(monkeypatch, width)
    rows = [(first, "state", WORDS), ("b", "state", "file:///srv/images/of/somebody/with/a/long/path/to/it.png")]
    terminal.say_table(("NAME", "STATE", "WHY"), rows, "  ")
    said = " ".join(cell for row in [("NAME", "STATE", "WHY"), *rows] for cell in row)
    assert text.getvalue().split() == said.split()
    assert max(map(len, text.getvalue().splitlines())) <= width


def test_batches_of_one_character_are_told_apart_while_they_are_watched() -> None:
    bars = Progress(console=Console(file=io.StringIO()))
    screen = BarScreen(bars)
    for end in "ABC":
        story = BatchProgress(f"01JD000000000000000000000{end}")
        story.title = "Areg · Opal Fever"
        screen.see(story, wire.Progress("s1", story.batch_id, 1, [1], "3", 1, 2))
    assert len({task.fields["batch"] for task in bars.tasks}) == 3
    assert {str(task.description) for task in bars.tasks} == {"Areg · Opal Fever"}
    assert "{task.fields[batch]}" in [getattr(column, "text_format", "") for column in progress_view._bars().columns]


# ---- help


def test_help_shows_each_command_once_in_a_group_with_its_whole_sentence(run: Any) -> None:
    text = run("-h").stdout
    for title, sentences in SECTIONS.items():
        assert f"{title}:\n" in text
        assert all(text.count(f"\n  {name} ") == 1 for name in sentences)
    assert "..." not in text.replace("[ARGS]...", "")
    assert max(map(len, text.partition("Exit codes")[0].splitlines())) <= 80


@pytest.mark.parametrize(("name", "sentence"), [one for sentences in SECTIONS.values() for one in sentences.items()])
def test_help_shows_the_first_sentence_of_each_command(name: str, sentence: str) -> None:
    assert cli.commands[name].name == name
    assert first_sentence(cli.commands[name]) == sentence


@pytest.mark.parametrize("words", ["--version", "-h"])
def test_the_group_answers_without_a_slow_import(words: str) -> None:
    slow = {"aiohttp", "structlog", "rich", "asyncio", "websockets", "msgspec", "PIL", "sqlite3"}
    code = (
        "import sys; from comfyledger.cli.main import cli\n"
        f"try: cli([{words!r}], prog_name='comfyledger')\n"
        f"finally: print(sorted({slow!r} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ran.stderr == "[]\n"


@pytest.mark.parametrize("words", ["token", "config", "systemd", "sim", "sim comfyui"])
def test_help_of_every_group_looks_alike(words: str) -> None:
    text = CliRunner().invoke(cli, [*words.split(), "-h"], prog_name="comfyledger").stdout
    assert text.startswith("Usage: comfyledger ")
    assert "\nOptions:\n" in text
    assert "..." not in text.replace("[ARGS]...", "").replace("COMMAND ...", "")


def test_json_may_stand_before_the_command(door: Any, run: Any) -> None:
    door.answers["list_batches"] = wire.Batches([], False)
    assert run("--json", "batches").stdout == run("batches", "--json").stdout
    assert run("--json", "--url", "nowhere", "status").stdout.startswith('{"error"')


def test_a_token_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter(["-a", "-b", "c-"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: next(given))
    assert new_token() == "c-"


# ---- where it cannot go


@pytest.mark.parametrize(
    ("shell", "codes"),
    [
        ("{} schema > /dev/full", {1}),
        ("{} --help > /dev/full", {1}),
        ("{} config show > /dev/full 2> /dev/full", {1}),
        ("{} --state-dir none status 2> /dev/full", {4}),
        ("{} schema >&-", {0}),
        ("{} config show >&- 2>&-", {0}),
        ("{} schema <&-", {0}),
        ("{} --state-dir none submit a b --images - <&-", {2}),
        ("{} schema | head -c 1; exit ${{PIPESTATUS[0]}}", {0, 1}),
        ("{} token add app --config none.toml <&- >&-", {1}),
    ],
)
def test_no_ending_is_a_traceback(tmp_path: Path, shell: str, codes: set[int]) -> None:
    environ = {**os.environ, "COMFYLEDGER_STATE_DIR": str(tmp_path / "state")}
    words = ["bash", "-c", shell.format(" ".join(COMMAND))]
    ended = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=DEADLINE_S, cwd=tmp_path, env=environ
    )
    assert ended.returncode in codes, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    words = [*COMMAND, "demo", "--seconds-per-image", "30"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environ) as demo:
        until_without_a_loop(lambda: list(tmp_path.glob("comfyledger-demo-*/state/door.json")))
        demo.send_signal(number)
        assert demo.stderr is not None
        assert "removed" in demo.stderr.read()
    assert list(tmp_path.glob("comfyledger-demo-*")) == []


def test_a_terminal_echoes_no_key_while_bars_are_shown() -> None:
    """The ^C of a terminal moves what is redrawn in place, and the last frame would stand there twice."""
    ours, its = pty.openpty()
    with contextlib.suppress(KeyboardInterrupt), bars.keys_unseen(its):
        assert not termios.tcgetattr(its)[3] & termios.ECHOCTL
        raise KeyboardInterrupt
    assert termios.tcgetattr(its)[3] & termios.ECHOCTL
    os.close(ours)
    os.close(its)
    with open(os.devnull) as nowhere, bars.keys_unseen(nowhere.fileno()):
        pass


def test_a_refusal_is_wrapped_between_words_on_a_terminal(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    environ = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    words = [*COMMAND, "--state-dir", str(tmp_path), "status"]
    subprocess.run(words, check=False, stderr=its, stdin=its, stdout=its, env=environ, timeout=DEADLINE_S)
    text = os.read(ours, 65_536).decode().replace("\r", "")
    assert "COMFYLEDGER_URL." in text
    assert all(len(line) <= 80 or str(tmp_path) in line for line in text.splitlines())
    os.close(ours)
    os.close(its)
