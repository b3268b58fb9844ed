"""The store plugin, found by its entry point: `comfyledger_stores` says which kinds of store it brings."""

from comfyledger_objects.store import comfyledger_stores as comfyledger_stores

COMFYLEDGER_API = 2
