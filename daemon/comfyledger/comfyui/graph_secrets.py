"""Inputs of a graph that hold a secret: never stored, and filled in after everything else is. PURE.

A key that somebody typed into a node would stay in the log's texts for ever. What a configured workflow holds is taken
out of its template; what an app sends is refused, since a prompt must be renderable again after any restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from comfyledger.errors import Refused

_KEYS: Final = re.compile(
    r"(?:^|[_. -])(?:api[_ -]?key|secret|secret[_ -]?key|password|passwd|passphrase|token|bearer|authorization)$",
    re.IGNORECASE,
)
"""Names of inputs that end like a key's: `api_key`, `openai_api_key`, `hf_token`. `max_tokens` and `seed` do not."""
_HINT: Final = (
    'Name it on the server, like [workflows.NAME] secrets = { "12.api_key" = "env:MY_KEY" }, and leave it out here.'
)


def looks_secret(name: str) -> bool:
    return _KEYS.search(name) is not None


def secrets_in(graph: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a graph that look like keys, by address."""
    return {
        f"{node_id}.{name}": value
        for node_id, node in graph.items()
        for name, value in node.get("inputs", {}).items()
        if isinstance(value, str) and value and looks_secret(name)
    }


def without(graph: Mapping[str, Any], addresses: Iterable[str]) -> dict[str, Any]:
    """A copy with empty texts at the addresses, all of which are there."""
    emptied = dict(graph)
    for address in addresses:
        node_id, _, name = address.partition(".")
        node = emptied[node_id]
        emptied[node_id] = {**node, "inputs": {**node["inputs"], name: ""}}
    return emptied


def check_no_secrets(graph: Mapping[str, Any]) -> None:
    """Raises Refused(secret_input) for a graph that would have to be stored with a key in it."""
    for address in secrets_in(graph):
        raise _refusal(address, address)


def check_not_secret(address: str, value: Any, path: str, secrets: Iterable[str]) -> None:
    """Raises Refused(secret_input) for an input that the configuration fills in, or that looks like a key."""
    if address in secrets or (isinstance(value, str) and value and looks_secret(address.partition(".")[2])):
        raise _refusal(address, path)


def _refusal(address: str, path: str) -> Refused:
    return Refused("secret_input", f"{address[:128]} looks like a secret and would be stored.", hint=_HINT, path=path)
