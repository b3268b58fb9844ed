"""comfyledger keeps the ledger of a ComfyUI box. Importing it costs nothing: each room is imported by its name."""

__version__ = "0.1.0"
