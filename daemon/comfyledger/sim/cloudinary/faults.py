"""The faults of the stand-in for Cloudinary: rules that wait for a request, and what each one does to it.

At most one rule strikes a request. The name of a fault says where it strikes: in the body, before anything
is stored, or after it is stored. In the last case the true answer is made and lost on its way.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from aiohttp import web

from comfyledger.sim.cloudinary.answers import error_body
from comfyledger.sim.cloudinary.ledger import Entry, Ledger
from comfyledger.sim.faults import Faults, Struck
from comfyledger.sim.stand_in import json_response

Name = Literal[
    "reset_before_body",
    "reset_mid_body",
    "reset_after_body",
    "hang",
    "truncate",
    "html_502",
    "answer",
    "pending",
    "store_then_reset",
    "store_then_hang",
    "store_then_truncate",
    "store_then_html_502",
    "store_then_answer",
    "store_then_pending",
    "alter_etag",
    "rename",
    "latency",
]
_TEXTS: Final = {
    420: "Rate Limit Exceeded. Limit of 500 api operations reached. Try again on 2024-10-04 14:00:00 UTC",
    423: "Resource is locked",
    429: "Too many requests",
    499: "Client closed request",
    500: "General Error",
    503: "Service Unavailable",
}


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a rule waits for: every field that is set must fit."""

    public_id: str | None = None
    prefix: str | None = None
    """How the public id begins."""
    path: str | None = None
    """A part of the path."""
    method: str | None = None
    nth: int = 1
    """Strike from the n-th fitting request on: with a `public_id`, its n-th attempt."""

    def fits(self, method: str, path: str, public_id: str | None) -> bool:
        """Whether a request is one of those. One that waits for a public id fits only once that is known."""
        name, is_by_name = public_id or "", self.public_id is not None or self.prefix is not None
        return (
            is_by_name == (public_id is not None)
            and self.public_id in (None, name)
            and name.startswith(self.prefix or "")
            and (self.path or "") in path
            and self.method in (None, method)
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault, the requests that it waits for, and its answer. `times` 0 means always."""

    fault: Name
    match: Match = Match()
    times: int = 1
    status: int = 500
    """Of `answer`."""
    message: str = ""
    """Of `answer`; if empty, the text that belongs to the status."""
    headers: dict[str, str] = {}
    seconds: float = 0.0
    """Of `latency`."""


class Visit(Struck[Rule]):
    """One request on its way through the stand-in, with its entry in the ledger and the fault that waits for it.

    A rule is looked for at its beginning, and once more when the public id is known.
    """

    withheld = frozenset({"reset_after_body", "hang", "truncate", "html_502", "answer", "pending"})

    def __init__(self, request: web.Request, entry: Entry, faults: Faults[Rule], ledger: Ledger) -> None:
        super().__init__(request, faults)
        self.entry = entry
        self._ledger = ledger
        self._meet(None)

    def learn(self, public_id: str) -> None:
        """Record the public id, and pick a rule that waits for it."""
        self.entry.public_id = public_id
        if self.rule is None:
            self._meet(public_id)
        self._ledger.save(self.entry)

    def cut_early(self) -> None:
        """Apply the faults in the body, for a request without a body or at the end of one. Raises Cut."""
        self.cut_if("reset_before_body")
        self.cut_if("reset_mid_body")

    def said(self, kind: str, rule: Rule) -> web.Response | None:
        match kind:
            case "answer":
                message = rule.message or _TEXTS.get(rule.status, "General Error")
                return json_response(rule.status, error_body(message), {"X-Cld-Error": message, **rule.headers})
            case "pending":
                return json_response(200, {"status": "pending", "batch_id": "0" * 32, "type": "upload"})
        return None

    def _meet(self, public_id: str | None) -> None:
        method, path = self.request.method, self.request.path
        self.rule = self._faults.first(lambda rule: rule.match.fits(method, path, public_id))
        if self.rule is not None:
            self.entry.fault = self.rule.fault
