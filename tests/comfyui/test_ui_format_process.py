"""The process that converts documents: it ends with the document that breaks it, and the next finds a new one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyledger.comfyui.ui_format.process import WAITING_MAX, Converter
from comfyledger.errors import Refused
from support.ui_documents import CLASSES as SOME_CLASSES
from support.ui_documents import document, graph_of, node
from support.waiting import DEADLINE_S, let_time_end, until

CLASSES = b"{}"
BYTES_MAX = 1 << 19


def running(converter: Converter) -> Any:
    return converter._process._process


async def refusal(converter: Converter, document: bytes) -> Refused:
    with pytest.raises(Refused) as refused:
        await converter.convert(document, CLASSES, "digest")
    return refused.value


async def test_a_refusal_comes_back_as_it_was_raised() -> None:
    async with Converter(BYTES_MAX) as converter:
        refused = await refusal(converter, b"{")
    assert (refused.code, refused.hint) == ("workflow_invalid", "Export it in ComfyUI: Workflow > Export (API).")
    assert refused.message.startswith("The workflow is not JSON")


async def test_a_process_that_was_killed_between_two_documents_is_replaced() -> None:
    async with Converter(BYTES_MAX) as converter:
        before = await refusal(converter, b"[]")
        os.kill(running(converter).pid, signal.SIGKILL)
        assert (await refusal(converter, b"[]")).message == before.message


async def test_a_document_that_takes_too_long_ends_its_process_alone() -> None:
    async with Converter(BYTES_MAX, convert_s=60.0) as converter:
        before = await refusal(converter, b"[]")
        os.kill(running(converter).pid, signal.SIGSTOP)
        late = asyncio.create_task(refusal(converter, b"[]"))
        await let_time_end(late, 60.0)
        assert (await late).message == "The workflow could not be converted within 60 s."
        assert (await refusal(converter, b"[]")).message == before.message


async def test_an_idle_process_ends() -> None:
    async with Converter(BYTES_MAX, idle_s=0.01) as converter:
        await refusal(converter, b"[]")
        process = running(converter)
        await until(lambda: process.returncode is not None, "the end of the process")
        await refusal(converter, b"[]")


async def test_closing_ends_the_process_also_while_it_works() -> None:
    converter = Converter(BYTES_MAX)
    await refusal(converter, b"[]")
    process = running(converter)
    os.kill(process.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(refusal(converter, b"[]"))
    await asyncio.sleep(0)
    await converter.close()
    assert process.returncode is not None
    assert (await waiting).code == "not_running"
    assert (await refusal(converter, b"[]")).code == "not_running"


async def test_a_cancelled_document_leaves_no_process() -> None:
    async with Converter(BYTES_MAX) as converter:
        await refusal(converter, b"[]")
        process = running(converter)
        os.kill(process.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(refusal(converter, b"[]"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: process.returncode is not None, "the end of the process")
        assert (await refusal(converter, b"[]")).code == "workflow_invalid"


async def test_graph_and_mistakes_come_back_and_the_classes_are_sent_once() -> None:
    said = json.dumps(
        document(node(1, "Empty", [8, 8]), node(2, "Save", ["x"], links={"images": 1}), links=[[1, 1, 0, 2, 0]])
    )
    classes = json.dumps(SOME_CLASSES).encode()
    async with Converter(BYTES_MAX) as converter:
        assert await converter.convert(said.encode(), classes, "digest") == graph_of(json.loads(said))
        assert await converter.convert(json.loads(said), b"never read", "digest") == graph_of(json.loads(said))
        with pytest.raises(Refused) as refused:
            await converter.convert(said.encode(), CLASSES, "another digest")
    assert [one.class_type for one in refused.value.mistakes] == ["Empty", "Save"]


async def test_many_documents_at_once_are_answered_and_too_many_are_refused() -> None:
    async with Converter(BYTES_MAX) as converter:
        answers = await asyncio.gather(*(refusal(converter, b"[]") for _ in range(WAITING_MAX + 3)))
    assert [answer.code for answer in answers] == ["workflow_invalid"] * WAITING_MAX + ["busy"] * 3


@pytest.mark.parametrize(
    ("code", "error"),
    [("bytearray(1 << 29)", "MemoryError"), ("open('x', 'wb', 0).write(b'x')", "OSError"), ("bytearray(1 << 20)", "")],
)
def test_the_process_cannot_take_more_memory_than_it_may_nor_write(code: str, error: str, tmp_path: Path) -> None:
    words = f"from comfyledger.limited_process.child import limit; limit(1 << 28); {code}"
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, timeout=DEADLINE_S, check=False, cwd=tmp_path
    )
    assert error.encode() in done.stderr
    assert bool(done.returncode) == bool(error)


async def test_the_process_sees_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYLEDGER_TOKEN", "hidden")
    async with Converter(BYTES_MAX) as converter:
        await refusal(converter, b"[]")
        assert b"hidden" not in Path(f"/proc/{running(converter).pid}/environ").read_bytes()
