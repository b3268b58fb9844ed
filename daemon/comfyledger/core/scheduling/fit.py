"""Which backends may render what: the one that a batch names, and those that have the tags that it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping


def allowed(tags: Mapping[str, Collection[str]], pin: str, needs: Iterable[str]) -> tuple[str, ...]:
    """The backends that a batch may go to, in the order of the configuration.

    `tags`: of each backend. `pin`: the only backend that the batch names, or empty. `needs`: tags that a backend must
    have.
    """
    wanted = frozenset(needs)
    return tuple(name for name, has in tags.items() if pin in ("", name) and wanted.issubset(has))
