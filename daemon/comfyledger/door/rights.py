"""Which right each request needs. One table, and the rule that who may only submit steers nothing but their own."""

from __future__ import annotations

from typing import Final

from comfyledger import wire
from comfyledger.door.tokens import Caller, Right
from comfyledger.errors import Refused
from comfyledger.ledger.reader import Reader

NEEDED: Final[dict[type[wire.Message], Right]] = {
    wire.Hello: "read",
    wire.GetBatch: "read",
    wire.ListBatches: "read",
    wire.GetImage: "read",
    wire.ListImages: "read",
    wire.Subscribe: "read",
    wire.Unsubscribe: "read",
    wire.ReadLog: "read",
    wire.Explain: "read",
    wire.ServerInfo: "read",
    wire.SubmitBatch: "submit_configured",
    wire.OpenSeries: "submit_configured",
    wire.Cancel: "submit_configured",
    wire.Retry: "submit_configured",
    wire.Recover: "operate",
    wire.Pause: "operate",
    wire.Resume: "operate",
    wire.Forget: "admin",
    wire.SurveyStore: "admin",
    wire.RaiseSeries: "admin",
}


def check(caller: Caller, needed: Right) -> None:
    """Raises Refused(forbidden)."""
    if not caller.may(needed):
        hint = f"Give it a token with the right `{needed}`: `comfyledger token add LABEL --right {needed}`."
        raise Refused("forbidden", f"The token of {caller.label} may {caller.right}; this needs {needed}.", hint=hint)


async def check_request(caller: Caller, message: wire.Message, reader: Reader) -> None:
    """Raises Refused(forbidden). A batch that does not exist is left to those who look for it."""
    check(caller, NEEDED[type(message)])
    if isinstance(message, wire.SubmitBatch) and isinstance(message.workflow, dict):
        _check_graph(caller)
    if isinstance(message, wire.Cancel | wire.Retry) and not caller.may("operate"):
        batch = await reader.batch(message.batch_id)
        if batch is not None and batch.label != caller.label:
            text = f"{caller.label} may steer its own batches only; this one was asked for by {batch.label}."
            hint = "Use the token of that client, or one with the right `operate`."
            raise Refused("forbidden", text, hint=hint, path="$.data.batch_id")


def _check_graph(caller: Caller) -> None:
    if not caller.may("submit"):
        text = f"The token of {caller.label} may submit configured workflows; a graph needs submit."
        hint = "Name a configured workflow, or give it a token: `comfyledger token add LABEL --right submit`."
        raise Refused("forbidden", text, hint=hint, path="$.data.workflow")
