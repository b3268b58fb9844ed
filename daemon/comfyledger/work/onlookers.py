"""Who looks on at what is committed: the metrics, and the log's line for each batch that settles."""

from __future__ import annotations

from comfyledger.ledger.committed import Committed, Observer
from comfyledger.metrics import Metrics
from comfyledger.work.settling import Settling


def onlookers(metrics: Metrics) -> list[Observer]:
    def count(committed: Committed) -> None:
        metrics.committed(committed.lines, committed.rows, committed.messages, committed.seconds)

    return [count, Settling()]
