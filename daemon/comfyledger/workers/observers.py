"""Who looks on at what is committed: the metrics, and the log's line for each batch that settles."""

from __future__ import annotations

from comfyledger.ledger.observers import Committed, Observer
from comfyledger.metrics import Metrics
from comfyledger.workers.batch_log import BatchLog


def observers_of(metrics: Metrics) -> list[Observer]:
    def count(committed: Committed) -> None:
        metrics.committed(committed.lines, committed.rows, committed.messages, committed.seconds)

    return [count, BatchLog()]
