"""One group of messages at a time through the ledger: `Engine` takes them, `EngineView` shows what came of them."""

from comfyledger.engine.engine import Engine
from comfyledger.engine.first_use import HINT_LATER, Question
from comfyledger.engine.view import EngineView

__all__ = ["HINT_LATER", "Engine", "EngineView", "Question"]
