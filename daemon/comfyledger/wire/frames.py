"""Frames: reading and writing envelopes and what is in them."""

from __future__ import annotations

import functools
from typing import Any, Final, TypeVar

import msgspec

from comfyledger.errors import Refused
from comfyledger.wire.answers import ANSWERS, RESULTS
from comfyledger.wire.answers.events import LoggedEvent
from comfyledger.wire.answers.mistakes import mistakes_of
from comfyledger.wire.answers.parts import Answer
from comfyledger.wire.answers.server import ErrorInfo
from comfyledger.wire.requests import REQUESTS, TYPE_OF
from comfyledger.wire.requests.files import keyed
from comfyledger.wire.requests.parts import Id, Message
from comfyledger.wire.routes import ROUTES_HINT
from comfyledger.wire.strict import check_once, is_json, mended

T = TypeVar("T")


class Envelope(msgspec.Struct, frozen=True):
    """A frame whose data is not read yet."""

    type: str
    id: Id = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Asked(Envelope, frozen=True, forbid_unknown_fields=True):
    """A frame from a client: options that stand beside `data` would be ignored, so they are refused."""


_envelope = msgspec.json.Decoder(Envelope)
_asked = msgspec.json.Decoder(Asked)
_raw = msgspec.json.Decoder(msgspec.Raw)
_encoder = msgspec.json.Encoder()


@functools.cache
def _decoder(kind: type) -> msgspec.json.Decoder[Any]:
    """Made at first use: it evaluates the annotations of its type, which an import should not wait for."""
    return msgspec.json.Decoder(kind)


def read_envelope(frame: str | bytes) -> Envelope:
    """The envelope of a frame of the daemon. Raises Refused(not_json, not_utf8, bad_envelope)."""
    return _read(_envelope, frame)


def read_asked(frame: bytes) -> Envelope:
    """The envelope of a frame of a client. Raises Refused(not_json, not_utf8, bad_envelope, invalid_field)."""
    try:
        text = frame.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"The frame is not UTF-8: the byte at offset {error.start} is invalid.") from error
    try:
        envelope = _read(_asked, frame)
    except Refused as refusal:
        if refusal.code != "not_json" or (finite := mended(text)) is None:
            raise
        envelope = _read(_asked, finite)
    check_once(text.removeprefix("\ufeff"))
    return envelope


BOM: Final = b"\xef\xbb\xbf"


def read_body(kind: str, body: bytes) -> Envelope:
    """The body of an HTTP request as the data of a frame of this type. It is one JSON value.

    Raises Refused(not_json, not_utf8, invalid_field) with paths below `$.data`.
    """
    body = body.removeprefix(BOM)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"The body is not UTF-8: the byte at offset {error.start} is invalid.") from error
    try:
        data = _raw.decode(body)
    except RecursionError as error:
        raise Refused("not_json", "The body is nested too deeply.") from error
    except msgspec.DecodeError as error:
        if not is_json(body):  # with anything behind its value it could add keys to a frame
            raise Refused("not_json", _sentence(error)) from error
        return read_asked(b'{"type":"' + kind.encode() + b'","data":' + body + b"}")
    check_once(text, "$.data")
    return Envelope(kind, data=data)


def _read(decoder: msgspec.json.Decoder[Any], frame: str | bytes) -> Envelope:
    try:
        envelope: Envelope = decoder.decode(frame)
        return envelope
    except msgspec.ValidationError as error:
        hint = 'Send {"type": ..., "id": ..., "data": {...}}.'
        raise Refused("bad_envelope", _sentence(error), hint=hint, path=_path(error, "$")) from error
    except RecursionError as error:
        raise Refused("not_json", "The frame is nested too deeply.") from error
    except UnicodeError as error:
        raise Refused("not_utf8") from error
    except msgspec.DecodeError as error:
        raise Refused("not_utf8" if "utf-8" in str(error).lower() else "not_json", _sentence(error)) from error


def read_request(envelope: Envelope) -> Message:
    """The message in an envelope. Raises Refused(unknown_type, unknown_field, invalid_field)."""
    kind = REQUESTS.get(envelope.type)
    if kind is None:
        known = ", ".join(REQUESTS)
        raise Refused(
            "unknown_type", f"There is no message {envelope.type[:64]!r}.", hint=f"Known: {known}.", path="$.type"
        )
    return _decoded(kind, envelope.data, _FIELDS_HINT)


def read_strict(body: bytes, kind: type[T]) -> T:
    """The body of an HTTP request that is no request of the websocket, as strict as a frame.

    Raises Refused(not_json, not_utf8, unknown_field, invalid_field).
    """
    return _decoded(kind, read_body("", body).data, ROUTES_HINT)


def _decoded(kind: type[T], data: msgspec.Raw, hint: str) -> T:
    try:
        found: T = _decoder(kind).decode(data)  # type: ignore[arg-type]
        return found
    except msgspec.ValidationError as error:
        code = "unknown_field" if "unknown field" in str(error) else "invalid_field"
        path = keyed(_path(error, "$.data"), data)
        raise Refused(code, _sentence(error), path=path, hint=hint) from error
    except RecursionError as error:
        raise Refused("not_json", "The JSON is nested too deeply.") from error
    except UnicodeError as error:
        raise Refused("not_utf8") from error
    except msgspec.DecodeError as error:
        raise Refused("not_json", _sentence(error)) from error


_FIELDS_HINT: Final = "`comfyledger schema` prints the fields of every message."


def _sentence(error: Exception) -> str:
    text = str(error).split(" - at `")[0][:300]
    return text if text.endswith(".") else f"{text}."


def _path(error: Exception, root: str) -> str:
    """msgspec ends its sentences with where: "... - at `$.images[0].seed`", or "... - at `key` in `$.inputs`"."""
    _, found, place = str(error).partition(" - at `")
    place = place.removeprefix("key` in `")
    return root + place.rstrip("`").removeprefix("$") if found else root


def frame(kind: str, data: Any, id: Id = None) -> bytes:
    """A frame as it goes out, either way."""
    return _encoder.encode({"type": kind, "id": id, "data": data})


EVENT_OPEN: Final = b'{"type":"event","id":null,"data":{"subscription":"'


def event_rest(event: LoggedEvent) -> bytes:
    """What a pushed event's frame has behind its subscription: the same for all subscribers."""
    return frame("event", event).removeprefix(EVENT_OPEN + event.subscription.encode())


def event_frame(subscription: str, rest: bytes) -> bytes:
    """The frame of a pushed event; `subscription` is one of ours, which needs no escape."""
    return EVENT_OPEN + subscription.encode() + rest


def streamed_event(rest: bytes) -> bytes:
    """The same event as JSON without subscription, as Server-Sent Events carry it."""
    return b"{" + rest.removeprefix(b'",')[:-1]


def request_frame(message: Message, id: Id = None) -> bytes:
    return frame(TYPE_OF[type(message)], message, id)


def error_of(refusal: Refused) -> ErrorInfo:
    waits = {"retry_after_s": refusal.retry_after_s} if refusal.retry_after_s else {}
    mistakes = mistakes_of(refusal)
    return ErrorInfo(refusal.code, refusal.message, refusal.path, refusal.hint, mistakes=mistakes, **waits)


def read_answer(envelope: Envelope) -> Answer:
    """What the daemon sent unasked, or an error. Raises KeyError for a type that this version does not know."""
    answer: Answer = _decoder(ANSWERS[envelope.type]).decode(envelope.data)
    return answer


def read_result(request: type[Message], envelope: Envelope) -> Answer:
    """The data of a `result`, read as the answer to a request of this type."""
    answer: Answer = _decoder(RESULTS[TYPE_OF[request]]).decode(envelope.data)
    return answer
