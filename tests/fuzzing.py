"""Hostile input without end: frames of the wire, requests over HTTP, frames of ComfyUI and documents in its UI format,
mutated from good ones by a seed that repeats the run.

    python tests/fuzzing.py --inputs 1000000 --seed 7

What is read here may refuse with the error that is meant for it, and may raise nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from multidict import CIMultiDict

from comfyledger import wire, workflows
from comfyledger.admission import admit
from comfyledger.comfyui import answers, fields, messages
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.ui_format.convert import read_document
from comfyledger.core.naming.names import Templates
from comfyledger.errors import CODES, Refused
from comfyledger.queries.dependencies import AdmissionPolicy, IdSource
from comfyledger.server.tokens import Caller
from comfyledger.server.v1 import reading
from comfyledger.server.v1.reading import KEY_HEADER
from comfyledger.wire.problems import problem_of
from comfyledger.wire.routes import ROUTES, Route
from support.admission_builders import admitted, given
from support.ui_documents import INFO, of_everything

RECORDINGS: Final = Path(__file__).parent / "recordings"
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
SUBMITTED: Final = {"request_id": "r", "username": "Areg", "character": "Opal Fever", "premade": True, "seed": 7}
ASKED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("hello", {"client": "app", "protocol": 1}),
    ("submit_batch", {**SUBMITTED, "quantity": 3, "inputs": {"color": 5}, "tags": ["a"], "metadata": {"a": [1]}}),
    ("submit_batch", {**SUBMITTED, "images": [{"inputs": {"width": 64}, "seed": 1}, {}], "images_per_prompt": 2}),
    ("submit_batch", {**SUBMITTED, "quantity": 1, "workflow": {"1": EMPTY, "9": SAVE}, "priority": "high"}),
    ("open_series", {"username": "a", "character": "b"}),
    ("get_batch", {"batch_id": "01JD0000000000000000ABCDEF"}),
    ("list_images", {"batch_id": "b", "state": "stored", "before": "b/1", "limit": 5}),
    ("count_images", {"character": "a", "medium": "image", "rating_min": 3, "by": "state", "cursors_every": 7}),
    ("cancel", {"batch_id": "b", "images": [1, 2]}),
    ("subscribe", {"epoch": "e", "after": 3, "kinds": ["image_uploaded"], "progress": True}),
    ("read_log", {"after": 0, "limit": 5}),
    ("raise_series", {"store": "folder", "found": [{"folder": "a", "stem": "b", "highest": 3}]}),
)
ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**40, 0.5, 1e308, -0.0),
    *("", " ", "a" * 300, "\0", "\x1b[2J", "../../x", "/etc/passwd", "{number}", "%date%", "\u202e", "é" * 130, "😀"),
    *("\ufffd", "Ｉ", "ß", "ﬁ", "1" * 400, [], {}, [[]], [None], {"": 0}, {"a": {"b": [1, {"c": None}]}}),
)
"""Values that take the place of others."""
SNIPS: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"\\u",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"1e999",
)
NaN = b"NaN"


class Mutator:
    """Good documents made bad, by chance alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def frame(self, good: Any) -> bytes:
        """A document with some of its values replaced, doubled or taken out, and now and then some of its bytes."""
        document = good
        for _ in range(self._random.choice((0, 1, 1, 2, 5))):
            document = self._changed(document)
        frame = json.dumps(document, ensure_ascii=self._random.random() < 0.5).encode(errors="surrogatepass")
        return frame if self._random.random() < 0.6 else self._bytes(frame)

    def _changed(self, value: Any, depth: int = 0) -> Any:
        if self._random.random() < 0.15 + 0.1 * depth or not isinstance(value, dict | list) or not value:
            return self._random.choice(ODD)
        if isinstance(value, list):
            place = self._random.randrange(len(value))
            return [self._changed(one, depth + 1) if at == place else one for at, one in enumerate(value)]
        key = self._random.choice(list(value))
        match self._random.randrange(8):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {**value, str(self._random.choice(ODD)): self._random.choice(ODD)}
            case _:
                return {**value, key: self._changed(value[key], depth + 1)}

    def _bytes(self, frame: bytes) -> bytes:
        for _ in range(self._random.choice((1, 1, 3))):
            place = self._random.randrange(len(frame) + 1)
            length = self._random.choice((0, 1, 2, 20))
            frame = frame[:place] + self._random.choice((*SNIPS, NaN)) + frame[place + length :]
        return frame

    def choice(self, among: tuple[Any, ...]) -> Any:
        return self._random.choice(among)

    def binary(self) -> bytes:
        """Something like a preview: a type, a length, and rubbish."""
        head = self._random.choice((0, 1, 2, 3, 4, 5, 2**31)).to_bytes(4)
        return head + self._random.randbytes(self._random.choice((0, 3, 4, 8, 40))) + self._random.choice(SNIPS) * 3


# ---- the wire


def _policy() -> AdmissionPolicy:
    graph = graphs.read_graph(workflows.load("empty-image"), 524_288).nodes
    named = graphs.Named(inputs=dict(workflows.SAMPLES["empty-image"].inputs))
    return AdmissionPolicy(
        Templates(),
        {"empty-image": given(graph, named, "empty-image")},
        "empty-image",
        {"main": frozenset()},
        1_000,
        524_288,
        trust=False,
    )


def wire_reader() -> Callable[[bytes], str]:
    """Reads one frame as the door does, up to the command that the engine would get; the code of what came of it."""
    policy = _policy()
    ids = IdSource(lambda: "01JD0000000000000000ABCDEF", lambda: b"salt", lambda: 7)

    def read(frame: bytes) -> str:
        try:
            envelope = wire.read_asked(frame)
            message = wire.read_request(envelope)
            raw = bytes(envelope.data)
            if isinstance(message, wire.SubmitBatch):
                admitted(message, raw, policy, ids)
            elif isinstance(message, wire.OpenSeries):
                admit.open_series(message, "a", policy, ())
        except Refused as refusal:
            wire.frame("error", wire.error_of(refusal))
            return refusal.code if refusal.code in CODES else f"unknown code {refusal.code}"
        return "taken"

    return read


class _Sent:
    """A request over HTTP as the readers of its parts see it."""

    def __init__(self, target: str, names: Mapping[str, str], headers: Mapping[str, str]) -> None:
        self.raw_path, self.match_info, self.headers = target, names, CIMultiDict(headers)
        self.query = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))


def http_requests() -> tuple[Any, ...]:
    """For each route a good request of its type: the parts as a document, of which any may be made bad."""
    asked = dict(reversed(ASKED))
    made = []
    for number, route in enumerate(ROUTES):
        fields = asked.get(route.kind, {})
        names = dict.fromkeys(route.in_path, "b1")
        rest = {name: fields[field] for name, field in route.fields.items() if field in fields}
        query = {name: str(value) for name, value in rest.items()} if route.method == "GET" else {"wait": "5"}
        made.append({"route": number, "names": names, "query": query, "headers": {KEY_HEADER: "r"}, "body": rest})
    return tuple(made)


def http_reader() -> Callable[[bytes], str]:
    """Reads a request over HTTP as the door does, up to the message; the code of what came of it."""

    def read(frame: bytes) -> str:
        try:
            parts = json.loads(frame)
            route = ROUTES[parts["route"]]
            strings = {part: {str(a): str(b) for a, b in parts[part].items()} for part in ("names", "query", "headers")}
            target = f"{route.path}?{urlencode(strings['query'], errors='replace')}"
            names = {name: strings["names"].get(name, "").encode(errors="replace").decode() for name in route.in_path}
            body = json.dumps(parts["body"], ensure_ascii=False).encode(errors="surrogatepass")
        except (ValueError, LookupError, TypeError, AttributeError):
            route, target, names, strings, body = ROUTES[0], ROUTES[0].path, {}, {"headers": {}}, frame
        return _code_of(route, _Sent(target, names, strings["headers"]), body)

    return read


def _code_of(route: Route, sent: Any, body: bytes) -> str:
    try:
        reading.check_url(sent)
        reading.label_of(sent, Caller("", "admin"))
        reading.read_wait(sent)
        if route.method == "GET":
            reading.read_get(sent, route)
        else:
            reading.read_post(route, reading.body_of(sent, route, body), 1_000_000)
    except Refused as refusal:
        told = problem_of(refusal, route)
        msgspec.json.encode(told)
        return told.code
    return "taken"


# ---- ComfyUI


def comfyui_frames() -> tuple[Any, ...]:
    """What a real ComfyUI said: each kind of frame and answer once or a few times."""
    found: dict[str, Any] = {}
    for path in sorted(RECORDINGS.rglob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            for document in _documents(json.loads(line)):
                found.setdefault(json.dumps([sorted(document), document.get("type")]), document)
    return tuple(found.values())


def _documents(recorded: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Frames and answers; an entry of the history under the id that is asked for below."""
    for value in recorded.values():
        if isinstance(value, dict) and value:
            yield {"p": next(iter(value.values()))} if _is_history(value) else value


def _is_history(value: Mapping[str, Any]) -> bool:
    return all(isinstance(one, dict) and "outputs" in one for one in value.values())


def comfyui_reader() -> Callable[[bytes], str]:
    """Reads one frame as each thing that ComfyUI may say; what came of it."""
    reads: tuple[Callable[[bytes], Any], ...] = (
        messages.parse_text,
        answers.parse_queue,
        lambda frame: answers.parse_history(frame, "p"),
        lambda frame: answers.parse_prompt_answer(200, frame),
        lambda frame: answers.parse_prompt_answer(400, frame),
    )

    def read(frame: bytes) -> str:
        messages.parse_preview(frame)
        answers.parse_cancelled(200, frame)
        for status in (200, 404):
            answers.parse_job(status, frame, "p")
        told = "bad frame"
        for one in reads:
            with suppress(fields.BadFrame):
                one(frame)
                told = "taken"
        return told

    return read


# ---- the UI format of ComfyUI


def document_reader() -> Callable[[bytes], str]:
    """Converts a document; the code of its refusal."""

    def read(frame: bytes) -> str:
        try:
            json.dumps(read_document(frame, INFO, 524_288))
        except Refused as refused:
            return refused.code if refused.code in CODES else f"unknown code {refused.code}"
        return "taken"

    return read


# ---- a run

DOCUMENT_EVERY: Final = 20
"""A document is larger than a frame, and converting it takes longer."""


def fuzz(inputs: int, seed: int, told: Callable[[str], None] = lambda _: None) -> dict[str, Counter[str]]:
    """So many inputs to each reader; what came of them. Whatever is raised comes through, with the frame noted."""
    mutator = Mutator(seed)
    asked = tuple({"type": kind, "id": 1, "data": data} for kind, data in ASKED)
    said = comfyui_frames()
    readers = {
        "wire": (wire_reader(), asked),
        "http": (http_reader(), http_requests()),
        "comfyui": (comfyui_reader(), said),
        "documents": (document_reader(), (of_everything(),)),
    }
    ends: dict[str, Counter[str]] = {name: Counter() for name in readers}
    for number in range(inputs):
        for name, (read, good) in readers.items():
            if name == "documents" and number % DOCUMENT_EVERY:
                continue
            binary = name == "comfyui" and number % 10 == 0
            frame = mutator.binary() if binary else mutator.frame(mutator.choice(good))
            try:
                ends[name][read(frame)] += 1
            except Exception as error:
                error.add_note(f"seed {seed}, input {number}, {name}: {frame!r}")
                raise
        if number % 50_000 == 49_999:
            told(f"{number + 1:,} of {inputs:,}")
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    ends = fuzz(given.inputs, given.seed, lambda line: print(line, file=sys.stderr, flush=True))
    for name, counts in ends.items():
        print(f"{name}: {counts.total():,} inputs, {dict(counts.most_common())}")
    print("nothing was raised that is not meant to be")


if __name__ == "__main__":
    main()
