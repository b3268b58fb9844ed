"""Which box delivers the webhooks: one row, which names it, and until when by the clock of the database.

Whoever has it renews it. When it has ended, the first box that asks gets it. So two boxes never have it at the same
time, whatever their own clocks say.
"""

from __future__ import annotations

from typing import Final

TABLES: Final = """
CREATE TABLE deliverer (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    box text NOT NULL,
    ends timestamptz NOT NULL
);"""
HOLD: Final = """
INSERT INTO deliverer (box, ends) VALUES (%(box)s, now() + %(lasts_s)s * interval '1 second')
ON CONFLICT (one) DO UPDATE SET box = excluded.box, ends = excluded.ends
    WHERE deliverer.box = excluded.box OR deliverer.ends < now()
RETURNING box"""
PROGRESS: Final = "SELECT row FROM webhook_progress ORDER BY name"
