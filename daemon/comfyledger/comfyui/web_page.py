"""Tells a file of ComfyUI's from a web page or a message that a proxy sends in its place, with status 200. PURE.

ComfyUI (0.33.0) names the file in each answer to `/view`: `Content-Disposition: filename="NAME"`. A login page and a
message of a proxy do not. So a workflow may make web pages, JSON and drawings, which begin as such messages do. If a
proxy has taken that header out, content type and first bytes decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from comfyledger.core.media import KINDS, extension_of

MESSAGES: Final = frozenset({"text/html", "application/xhtml+xml", "application/json", "application/problem+json"})
"""Content types of pages and messages of proxies."""


class Flaw(msgspec.Struct, frozen=True):
    """Why an answer is not taken for the file. `final`: the same call would be answered alike."""

    code: str
    text: str
    final: bool = False


def flaw_of(name: str, content_type: str, headers: Mapping[str, str]) -> Flaw | None:
    """What the head of an answer has against being that of the file with this name."""
    if content_type in MESSAGES and not _names_a_file(headers):
        return Flaw("web_page", f"A web page came instead of {name}: a login, or an error of a proxy.")
    if _is_checked_by_length(name) and not _has_known_end(headers):
        text = f"ComfyUI's answer does not say how long {name} is, and nothing else shows whether it is whole."
        return Flaw("no_length", text, final=True)
    return None


def may_be_message(headers: Mapping[str, str], name: str) -> bool:
    """Whether an answer of another type may still be one: then its first bytes tell, because no such file has them."""
    kind = KINDS.get(extension_of(name))
    is_binary = kind is not None and kind.proved and kind.medium != "file"
    return is_binary and not _names_a_file(headers)


def begins_as_message(piece: bytes) -> bool:
    """Whether an answer whose first piece this is begins with markup or JSON."""
    return piece.lstrip()[:1] in {b"<", b"{"}


def _is_checked_by_length(name: str) -> bool:
    """Whether nothing but its length tells if a file of this name is whole."""
    kind = KINDS.get(extension_of(name))
    return kind is None or not kind.proved


def _has_known_end(headers: Mapping[str, str]) -> bool:
    """Whether an answer that is cut off differs from a whole one."""
    return "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "").lower()


def _names_a_file(headers: Mapping[str, str]) -> bool:
    return "filename" in headers.get("Content-Disposition", "").lower()
