"""The HTTP routes below `/v1`: which request each one is, and from where its fields come.

A route is the same request as on the websocket. Fields that are in the path come from there. Of a GET or DELETE the
others come from the query, of a POST or PUT from the body, which is a JSON object. The server and the OpenAPI document
are made from this table.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, Literal

import msgspec

from comfyledger.errors import Refused
from comfyledger.wire.requests import REQUESTS
from comfyledger.wire.requests.parts import Message

EVENT_STREAM: Final = "text/event-stream"
Part = Literal["", "workflows", "backends", "stores"]
ABOUT_PARTS: Final[dict[Part, tuple[str, ...]]] = {"backends": ("fits",)}
"""The fields that say something about a part of an answer; the other parts take none."""

CLIENT_HEADER: Final = "Comfyledger-Client"
"""Names the client, as `hello` does on the websocket, if its token has no label."""
KEY_HEADER: Final = "Idempotency-Key"
"""Stands for `request_id`."""
LAST_EVENT_ID: Final = "Last-Event-ID"
"""Stands for `epoch` and `after`, as `EPOCH:POSITION`."""
WAIT_S_MAX: Final = 600
"""How long `wait` may be, in seconds."""


class Route(msgspec.Struct, frozen=True, dict=True):
    """One method at one path. `kind`: the type of the request on the websocket.

    `renamed`: names of parameters that differ from their field, by parameter. `part`: the only field of the answer
    that is shown. `status`: of an answer that is no refusal. `stream`: the request whose events come as Server-Sent
    Events, if a client accepts `text/event-stream`.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    kind: str
    summary: str
    renamed: dict[str, str] = {}
    part: Part = ""
    status: int = 200
    stream: str = ""

    @cached_property
    def as_stream(self) -> Route:
        """The route of a client that accepts a stream."""
        return msgspec.structs.replace(self, kind=self.stream, stream="")

    @cached_property
    def request(self) -> type[Message]:
        return REQUESTS[self.kind]

    @cached_property
    def has_body(self) -> bool:
        """Whether its fields come in a body."""
        return self.method in {"POST", "PUT"}

    @cached_property
    def waits(self) -> bool:
        """Whether it waits for a batch if the query says so."""
        return self.path in {BATCH, BATCHES} and (self.method, self.path) != ("GET", BATCHES)

    @cached_property
    def in_path(self) -> tuple[str, ...]:
        """The parameters in the path."""
        return tuple(piece.partition("}")[0] for piece in self.path.split("{")[1:])

    @cached_property
    def fields(self) -> dict[str, str]:
        """The fields that come from query or body, by the name that they have there."""
        outside = {field: parameter for parameter, field in self.renamed.items()}
        taken = {self.renamed.get(parameter, parameter) for parameter in self.in_path}
        if self.part:
            return {field: field for field in ABOUT_PARTS.get(self.part, ())}
        return {outside.get(field, field): field for field in self.request.__struct_fields__ if field not in taken}


BATCHES, BATCH, IMAGE = "/v1/batches", "/v1/batches/{batch_id}", "/v1/images/{image}"
FILE: Final = f"{IMAGE}/file"
"""The bytes of an image, for a token or a signature. It is no request of the websocket, so it is not in the table."""
THUMBNAIL: Final = f"{IMAGE}/thumbnail"
"""A small picture of an image, for a token or a signature. It is not in the table either."""
INPUTS: Final = "/v1/inputs"
"""PUT takes the bytes of an input file. It is no request of the websocket, so it is not in the table."""
BACKEND: Final = "/v1/backends/{name}"
BOX: Final = "/v1/boxes/{name}"
WEBHOOK: Final = "/v1/webhooks/{name}"
WORKFLOW: Final = "/v1/workflows/{workflow}"
STORE: Final = "/v1/stores/{store}/series"
_PAGE: Final = {"cursor": "before"}

ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", BATCHES, "submit_batch", "Ask for images.", status=201),
    Route("GET", BATCHES, "list_batches", "Batches, newest first.", renamed=_PAGE),
    Route("GET", BATCH, "get_batch", "One batch with its images."),
    Route("POST", f"{BATCH}/cancel", "cancel", "Give up what is not rendered yet."),
    Route("POST", f"{BATCH}/retry", "retry", "Try again what failed, was parked or is held."),
    Route("POST", f"{BATCH}/priority", "set_priority", "Make a batch more or less urgent."),
    Route("GET", "/v1/images", "list_images", "Images, newest batch first.", renamed=_PAGE),
    Route("GET", "/v1/images/count", "count_images", "How many images fit."),
    Route("GET", f"{IMAGE}/story", "explain", "Everything that happened to an image.", renamed={"image": "what"}),
    Route("GET", f"{IMAGE}/recipe", "get_recipe", "What made an image."),
    Route("GET", IMAGE, "get_image", "One image, by public id or by batch_id/index."),
    Route("GET", "/v1/characters", "list_characters", "Characters with their defaults, by name.", renamed=_PAGE),
    Route("POST", INPUTS, "add_input", "Have the daemon fetch an input file.", status=201),
    Route("GET", INPUTS, "list_inputs", "Input files, newest first.", renamed=_PAGE),
    Route("DELETE", f"{INPUTS}/{{input}}", "forget_input", "Give up an input file."),
    Route("GET", "/v1/explain", "explain", "The history of an image, a batch or a number without an image."),
    Route("GET", "/v1/events", "read_log", "A page of the log, or the log as it grows.", stream="subscribe"),
    Route("GET", f"{WORKFLOW}/inputs", "describe_workflow", "The inputs of a configured workflow, for forms."),
    Route("POST", "/v1/workflows/check", "check_workflow", "What would be done with a workflow."),
    Route("POST", "/v1/series", "open_series", "Ask the stores which numbers a series has."),
    Route("POST", "/v1/pause", "pause", "Stop giving out new work."),
    Route("POST", "/v1/move", "move", "Give the prompts of a ComfyUI to others."),
    Route("POST", "/v1/resume", "resume", "Undo a pause, or let a held batch continue."),
    Route("POST", "/v1/recover", "recover", "Try again what is parked, failed or missing."),
    Route("POST", "/v1/forget", "forget", "Erase texts and files."),
    Route("POST", "/v1/review", "review", "Approve, reject or rate images."),
    Route("GET", "/v1/server", "server_info", "The state of the daemon."),
    Route("GET", "/v1/workflows", "server_info", "The configured workflows.", part="workflows"),
    Route("GET", "/v1/backends", "server_info", "The ComfyUI servers.", part="backends"),
    Route("PUT", BACKEND, "add_backend", "Add a ComfyUI, or keep one that was added."),
    Route("DELETE", BACKEND, "remove_backend", "Remove a ComfyUI that was added."),
    Route("POST", f"{BOX}/give-up", "give_up_box", "Wait no more for a box that has left the fleet."),
    Route("GET", "/v1/stores", "server_info", "The stores.", part="stores"),
    Route("GET", STORE, "survey_store", "A page of what a store holds, by series."),
    Route("POST", STORE, "raise_series", "Make series continue above the numbers that a store holds."),
    Route("GET", "/v1/webhooks", "list_webhooks", "The webhooks, and how their deliveries are."),
    Route("PUT", WEBHOOK, "add_webhook", "Add a webhook, or change one that was added."),
    Route("DELETE", WEBHOOK, "remove_webhook", "Remove a webhook that was added."),
    Route("POST", f"{WEBHOOK}/test", "test_webhook", "Send one test request now."),
    Route("POST", f"{WEBHOOK}/replay", "replay_webhook", "Deliver again what was delivered."),
    Route("GET", "/v1/activity", "activity", "What happened in each hour."),
    Route("GET", "/v1/checks", "list_checks", "What `audit` and `doctor` found last."),
)
LISTS: Final = frozenset({"kinds"})
"""Fields of GET requests that hold several words."""
ROUTES_HINT: Final = "`comfyledger schema --format openapi` prints every route with its fields."
WITHOUT_ROUTE: Final = frozenset({"hello", "subscribe", "unsubscribe"})
"""Requests about a websocket itself. The same events come as Server-Sent Events from `/v1/events`."""


def read_query(route: Route, path: dict[str, str], query: list[tuple[str, str]]) -> Message:
    """The request of a GET. Lists are given with commas. Raises Refused(unknown_field, invalid_field)."""
    values: dict[str, Any] = {route.renamed.get(name, name): value for name, value in path.items()}
    for name, value in query:
        field = route.fields.get(name)
        if field is None:
            known = ", ".join(route.fields) or "none"
            text = f"There is no parameter {name[:64]!r}."
            raise Refused("unknown_field", text, hint=f"Known: {known}.", path=f"query.{name[:64]}")
        if field in values:
            text = f"The parameter {name!r} occurs twice."
            raise Refused("invalid_field", text, hint="Give each parameter once.", path=f"query.{name}")
        values[field] = value.split(",") if field in LISTS else value
    try:
        message: Message = msgspec.convert(values, type=route.request, strict=False)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `$")
        field = place.lstrip(".").partition("[")[0].rstrip("`")
        name = {inside: outside for outside, inside in route.fields.items()}.get(field, field)
        raise Refused(
            "invalid_field", f"{sentence[:300]}.", hint=ROUTES_HINT, path=f"query.{name}" if name else "query"
        ) from error
    _check_not_null(route, message, values)
    return message


def _check_not_null(route: Route, message: Message, values: dict[str, Any]) -> None:
    """Raises Refused(invalid_field): `null` reads as nothing where no text is taken, so that it would be ignored."""
    for name, field in route.fields.items():
        if field in values and getattr(message, field) is None:
            text = f"The parameter {name!r} has no value `null`."
            raise Refused("invalid_field", text, hint="Leave it out.", path=f"query.{name}")
