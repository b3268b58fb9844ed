"""Which backends may run a prompt: those that its batch allows, as long as they have not refused its graph.

What a backend has refused is known in memory only, from checks and from its own answers. It is an opinion with which no
prompt is stopped for good: it ends when the backend says that it has something else, and counts only while a backend is
left that has not refused. What its own ComfyUI refused of one prompt is in the row of the prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from comfyledger.core.backends import box_of
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.values import has_secrets

ALLOWED_KEPT: Final = 1_000
ALL_INPUTS: Final = ""
"""In the place of inputs: the graph is refused whatever they are."""


def allowed(
    tags: Mapping[str, Collection[str]], pin: str, needs: Iterable[str], without: Collection[str] = ()
) -> tuple[str, ...]:
    """The backends that a batch may go to, in the order of the configuration.

    `tags`: of each backend. `pin`: the only backend that the batch names, or empty. `needs`: tags that a backend must
    have. `without`: backends that may not have it whatever their tags.
    """
    wanted = frozenset(needs)
    return tuple(
        name for name, has in tags.items() if pin in ("", name) and wanted.issubset(has) and name not in without
    )


class Fit:
    """Of all backends. `tags`: of each, in the order of the configuration. `no_secrets`: those that get nothing with a
    secret in it.
    """

    def __init__(self, tags: Mapping[str, Collection[str]], no_secrets: Collection[str] = ()) -> None:
        self._tags = tags
        self._no_secrets = no_secrets
        self._allowed: dict[tuple[str, tuple[str, ...], bool], tuple[str, ...]] = {}
        """By pin, needs, and whether there are secrets."""
        self._refused: dict[str, dict[tuple[str, str], str]] = {}
        """By template: which backend refuses it with which inputs, and why."""
        self._given_up: frozenset[str] = frozenset()
        """The boxes of the fleet that were given up."""

    def __len__(self) -> int:
        return len(self._tags)

    @property
    def names(self) -> tuple[str, ...]:
        """All backends."""
        return tuple(self._tags)

    def backends_of(self, batch: BatchRow, row: PromptRow) -> tuple[str, ...]:
        """Where a queued prompt may go: to those that may be able to run it, or if there are none, where its batch may.

        A suspect stays where it struck: else a prompt that stops ComfyUI would stop one after the other. Where a stray
        was left it goes last.
        """
        if self._stays(batch, row):
            return (row.backend,)
        names = self.left(batch, row) or self.allowed(batch)
        if not row.strays:
            return names
        left = {one.backend for one in row.strays}
        return tuple(name for name in names if name not in left) or names

    def _stays(self, batch: BatchRow, row: PromptRow) -> bool:
        """Whether a prompt is a suspect that stays where it is: its batch may go there still, as tags and trust change,
        and it was not left behind there, nor at a box that was given up.
        """
        is_left = any(one.backend == row.backend for one in row.strays)
        is_gone = is_left or box_of(row.backend) in self._given_up
        return bool(row.strikes) and not is_gone and row.backend in self.allowed(batch)

    def elsewhere(self, batch: BatchRow, row: PromptRow, backend: str) -> tuple[str, ...]:
        """The other backends that may take a prompt which this one refuses; none for a suspect, which stays here."""
        return () if self._stays(batch, row) else tuple(name for name in self.left(batch, row) if name != backend)

    def left(self, batch: BatchRow, row: PromptRow) -> tuple[str, ...]:
        """The backends that its batch allows and that have not refused a prompt."""
        names, refused = self.allowed(batch), self._refused.get(batch.template)
        if refused is None and not row.refused_by:
            return names
        against = self.reasons(batch, row)
        return tuple(name for name in names if name not in against)

    def goes_where_its_batch_may(self, batch: BatchRow, row: PromptRow) -> bool:
        """Whether nothing is known of a prompt that keeps it from any backend that its batch allows."""
        return not (row.strikes or row.strays or row.refused_by or batch.template in self._refused)

    def allowed(self, batch: BatchRow) -> tuple[str, ...]:
        """The backends that a batch allows."""
        key = (batch.backend, batch.needs, has_secrets(batch.plan))
        found = self._allowed.get(key)
        if found is None:
            if len(self._allowed) >= ALLOWED_KEPT:
                self._allowed.clear()
            pin, needs, secret = key
            found = self._allowed[key] = allowed(self._tags, pin, needs, self._no_secrets if secret else ())
        return found

    def reasons(self, batch: BatchRow, row: PromptRow) -> dict[str, str]:
        """Which of the backends that its batch allows have refused a prompt, and why, as far as that is known."""
        refused, found = self._refused.get(batch.template, {}), dict[str, str]()
        for name in self.allowed(batch):
            why = refused.get((name, ALL_INPUTS)) or refused.get((name, row.inputs or ALL_INPUTS))
            if why is not None or name in row.refused_by:
                found[name] = why or "It refused the prompt."
        return found

    def set_backends(
        self, tags: Mapping[str, Collection[str]], no_secrets: Collection[str], anew: Collection[str]
    ) -> None:
        """These are all backends from now on. `anew`: other servers under the names of earlier ones. What a backend has
        refused is forgotten with it.
        """
        for backend in [name for name in self._tags if name not in tags or name in anew]:
            self.learned(backend)
        self._tags, self._no_secrets = tags, no_secrets
        self._allowed.clear()

    def give_up(self, boxes: frozenset[str]) -> bool:
        """These boxes, and no others, were given up. Returns whether that is news."""
        before, self._given_up = self._given_up, boxes
        return before != boxes

    def refuse(self, backend: str, template: str, inputs: str, why: str) -> bool:
        """A backend refuses a template. `inputs`: the digest of those with which it does, or ALL_INPUTS.

        Returns whether that is news.
        """
        refused = self._refused.setdefault(template, {})
        is_news = (backend, inputs) not in refused
        refused[backend, inputs] = why
        return is_news

    def learned(self, backend: str) -> list[str]:
        """A backend has something else than before, so what it has refused it may take now. Returns the templates."""
        found = []
        for template, refused in list(self._refused.items()):
            mine = [key for key in refused if key[0] == backend]
            if mine:
                found.append(template)
            for key in mine:
                del refused[key]
            if not refused:
                del self._refused[template]
        return found

    def refusals(self) -> Counter[str]:
        """How many templates each backend refuses."""
        return Counter(backend for refused in self._refused.values() for backend in {backend for backend, _ in refused})

    def forget(self, template: str) -> bool:
        """Forget who has refused a template. Returns whether anybody had."""
        return self._refused.pop(template, None) is not None
