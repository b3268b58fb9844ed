"""The faults of the stand-in for object stores: rules that wait for a request, and what each one does to it.

At most one rule strikes a request. The name of a fault says where it strikes: in the body, before anything
is stored, or after it is stored. In the last case the true answer is made and lost on its way.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from comfyledger.sim.faults import Faults, Struck
from comfyledger.sim.objects.answers import Refused, error_response
from comfyledger.sim.objects.ledger import Entry

Name = Literal[
    "reset_before_body",
    "reset_mid_body",
    "reset_after_body",
    "hang",
    "truncate",
    "html_502",
    "answer",
    "store_then_reset",
    "store_then_hang",
    "store_then_truncate",
    "store_then_html_502",
    "store_then_answer",
    "alter",
    "latency",
]


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a rule waits for: every field that is set must fit."""

    key: str | None = None
    prefix: str | None = None
    """How the key begins."""
    method: str | None = None
    query: str | None = None
    """A parameter that the query must have: `uploads`, `partNumber`, `uploadId`, `list-type`; empty for no query."""
    nth: int = 1
    """Strike from the n-th fitting request on."""

    def fits(self, method: str, key: str, query: dict[str, str]) -> bool:
        """Whether a request is one of those."""
        return (
            self.key in (None, key)
            and key.startswith(self.prefix or "")
            and self.method in (None, method)
            and (self.query is None or (self.query in query if self.query else not query))
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault, the requests that it waits for, and its answer. `times` 0 means always."""

    fault: Name
    match: Match = Match()
    times: int = 1
    code: str = "InternalError"
    """Of `answer`: an error of S3. Status, text and headers follow from it if they are not given."""
    status: int = 0
    message: str = ""
    headers: dict[str, str] = {}
    seconds: float = 0.0
    """Of `latency`."""


class Visit(Struck[Rule]):
    """One request on its way through the stand-in, with its entry in the ledger and the fault that waits for it."""

    withheld = frozenset({"reset_after_body", "hang", "html_502", "answer"})

    def __init__(self, request: web.Request, entry: Entry, faults: Faults[Rule]) -> None:
        super().__init__(request, faults)
        self.entry = entry
        self.rule = faults.first(lambda rule: rule.match.fits(entry.method, entry.key, entry.query))
        entry.fault = self.rule.fault if self.rule else None

    def header(self, name: str) -> str:
        """A header of the request, or an empty text."""
        return self.request.headers.get(name, "")

    def said(self, kind: str, rule: Rule) -> web.Response | None:
        if kind != "answer":
            return None
        refused = Refused(rule.code, rule.message, rule.status, rule.headers)
        return error_response(refused, self.request.path, self.entry.number)
