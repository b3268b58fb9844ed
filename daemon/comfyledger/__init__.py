"""comfyledger keeps the ledger of a ComfyUI server. This module imports nothing: import each module by its name."""

__version__ = "0.1.0"
