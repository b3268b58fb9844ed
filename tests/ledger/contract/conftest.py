"""Every test here holds for every implementation of the protocols in `ledger/ports.py`, and uses no other way in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyledger.ledger.ports import Ledger
from support.ledger_kinds import KINDS, PARAMETERS, Kind


@pytest.fixture(params=PARAMETERS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    return KINDS[request.param](tmp_path)


@pytest.fixture
def ledger(kind: Kind) -> Iterator[Ledger]:
    with kind.opened() as opened:
        yield opened
