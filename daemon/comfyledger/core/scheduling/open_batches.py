"""The batches that are open, and their prompts that are not over, found by batch, user and template."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.classes import PromptId


class OpenBatches:
    """Rows as they are after a commit. A batch stays until it is settled and none of its prompts is open."""

    def __init__(self) -> None:
        self.batches: Final[dict[str, BatchRow]] = {}
        self.prompts: Final[dict[PromptId, PromptRow]] = {}
        self._open: dict[str, set[int]] = {}
        self._users: dict[str, set[str]] = {}
        self._templates: dict[str, set[str]] = {}

    def put_batch(self, row: BatchRow) -> BatchRow | None:
        """Returns the batch as it was before."""
        before = self.batches.get(row.batch_id)
        self.batches[row.batch_id] = row
        self._users.setdefault(row.user_key, set()).add(row.batch_id)
        self._templates.setdefault(row.template, set()).add(row.batch_id)
        return before

    def put_prompt(self, row: PromptRow) -> PromptRow | None:
        """Returns the prompt as it was before, if it was open."""
        place = (row.batch_id, row.index)
        before = self.prompts.pop(place, None)
        if row.is_over:
            self._open.get(row.batch_id, set()).discard(row.index)
        else:
            self.prompts[place] = row
            self._open.setdefault(row.batch_id, set()).add(row.index)
        return before

    def let_go(self, batch_id: str) -> str | None:
        """Forget a batch if it is over. Returns its template, if no other open batch has it."""
        batch = self.batches.get(batch_id)
        if batch is None or not batch.settled or self._open.get(batch_id):
            return None
        del self.batches[batch_id]
        self._open.pop(batch_id, None)
        mine = self._users[batch.user_key]
        mine.discard(batch_id)
        if not mine:
            del self._users[batch.user_key]
        alike = self._templates[batch.template]
        alike.discard(batch_id)
        if alike:
            return None
        del self._templates[batch.template]
        return batch.template

    def prompts_of(self, batch_id: str) -> list[PromptRow]:
        """The open prompts of a batch, by index."""
        return [self.prompts[batch_id, index] for index in sorted(self._open.get(batch_id, ()))]

    def of_user(self, user_key: str) -> Collection[str]:
        """The open batches of a user."""
        return self._users.get(user_key, ())

    def of_template(self, template: str) -> list[str]:
        """The open batches that use a template, in the order of their ids."""
        return sorted(self._templates.get(template, ()))
