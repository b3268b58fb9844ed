"""Inputs of a graph that contain a secret: never stored, and filled in after everything else. PURE.

A key that somebody typed into a node would stay in the log's texts for ever. So a secret in a configured workflow is
removed from its template. A secret in an app's graph is refused, because a prompt must be renderable again after any
restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from comfyledger.errors import Refused

_SECRET: Final = frozenset(
    [
        "token",
        "secret",
        "secrets",
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "apikey",
    ]
)
"""Words that make an input a secret if its name contains one: `hfToken`, `auth`, `session_cookie`."""
_HARMLESS: Final = frozenset(
    {
        "trigger",
        "bos",
        "eos",
        "pad",
        "special",
        "max",
        "min",
        "normalization",
        "class",
        "hot",
        "sort",
        "primary",
        "foreign",
    }
)
"""Words beside which `token` and `key` mean something else: `trigger_token`, `bos_token`, `token_normalization`."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SCHEME: Final = re.compile(r"(?:bearer|basic|token) \S+", re.IGNORECASE)
"""The word before a key in an Authorization header. No other secret is written with a space."""
_HINT: Final = (
    'Name the input in the configuration, for example [workflows.NAME] secrets = { "12.api_key" = "env:MY_KEY" },'
    " and omit its value here."
)

_NESTED_HINT: Final = "A secret inside an object cannot be filled in. Give the node a separate input for the secret."


def words_of(name: str) -> list[str]:
    """The words of a name in snake_case, camelCase or with spaces, in lower case: `openaiApiKey` has three."""
    return [word.lower() for word in _WORD.findall(name)]


def looks_secret(name: str) -> bool:
    """Whether an input of this name contains a key. `key` alone does not: it may name an entry of an object."""
    words = words_of(name)
    return not _HARMLESS.intersection(words) and (bool(_SECRET.intersection(words)) or "key" in words[1:])


def is_secret(name: str, value: Any) -> bool:
    """Whether a value must not be stored. Links, numbers and sentences may be."""
    if not isinstance(value, str) or not value.strip() or not looks_secret(name):
        return False
    return not re.search(r"\s", value.strip()) or _SCHEME.fullmatch(value.strip()) is not None


def secrets_in(graph: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a graph that look like keys, by address."""
    return {
        f"{node_id}.{name}": value
        for node_id, node in graph.items()
        for name, value in node.get("inputs", {}).items()
        if is_secret(name, value)
    }


def without(graph: Mapping[str, Any], addresses: Iterable[str]) -> dict[str, Any]:
    """A copy with empty texts at the addresses, all of which exist."""
    emptied = dict(graph)
    for address in addresses:
        node_id, _, name = address.partition(".")
        node = emptied[node_id]
        emptied[node_id] = {**node, "inputs": {**node["inputs"], name: ""}}
    return emptied


def check_no_secrets(graph: Mapping[str, Any]) -> None:
    """Raises Refused(secret_input) for a graph that contains a key."""
    for address in secrets_in(graph):
        raise _refusal(address, address)
    for address in _nested(graph):
        raise _refusal(address, address, _NESTED_HINT)


def _nested(graph: Mapping[str, Any]) -> Iterator[str]:
    """The addresses of inputs that contain an object with a secret."""
    for node_id, node in graph.items():
        yield from (f"{node_id}.{name}" for name, value in node.get("inputs", {}).items() if _inside(value))


def _inside(value: Any) -> bool:
    """Whether an object or a list contains a secret at any depth. Graphs and inputs have a limited depth."""
    if isinstance(value, dict):
        return any(is_secret(name, inner) or _inside(inner) for name, inner in value.items())
    return isinstance(value, list) and any(map(_inside, value))


def check_not_secret(address: str, value: Any, path: str, secrets: Iterable[str]) -> None:
    """Raises Refused(secret_input) for an input that the configuration fills in, or that looks like a key."""
    if address in secrets or is_secret(address.partition(".")[2], value) or _inside(value):
        raise _refusal(address, path)


def _refusal(address: str, path: str, hint: str = _HINT) -> Refused:
    return Refused("secret_input", f"{address[:128]} looks like a secret and would be stored.", hint=hint, path=path)
