"""ComfyUIs that clients add and remove: what the configuration allows is checked, then the ledger decides."""

from __future__ import annotations

from comfyledger import wire
from comfyledger.core.backends import BackendRow, box_of
from comfyledger.core.commands import AddBackend, RemoveBackend
from comfyledger.core.decide.backends import unknown_backend
from comfyledger.core.urls import shown_url
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies
from comfyledger.settings.backend_urls import backend_url


async def answer(context: Dependencies, label: str, message: wire.AddBackend | wire.RemoveBackend) -> wire.Answer:
    """The reply to a request. Raises Refused."""
    try:
        if isinstance(message, wire.AddBackend):
            return await _add(context, label, message)
        return await _remove(context, label, message)
    except Refused as refusal:
        raise (refusal.below("$.data") if refusal.path else refusal) from refusal


async def _add(context: Dependencies, label: str, message: wire.AddBackend) -> wire.AddedBackend:
    """Raises Refused(invalid_field, backend_not_allowed, backend_exists, backends_limit)."""
    tags = tuple(dict.fromkeys(message.tags))
    row = BackendRow(_name_here(context, message.name), _address(message.url), tags, message.ttl_s, message.queue_depth)
    context.added.check(row.name, row.url)
    context.added.renew(row)
    known = await context.engine.command(AddBackend(label, row.name, row.url, row.tags, row.ttl_s, row.queue_depth))
    return wire.AddedBackend(row.name, row.url, list(row.tags), row.ttl_s, row.queue_depth, known.changed)


def _name_here(context: Dependencies, name: str) -> str:
    """The name in the log of a ComfyUI that is added here. Raises Refused(invalid_field) for one of another box."""
    own, box = context.fleet.own, box_of(name)
    if box == own:
        return name
    if own and not box:
        return f"{own}.{name}"
    if not own:
        hint = "Only the names of a fleet's ComfyUIs have one, and this daemon is part of none."
        raise Refused("invalid_field", f"The name {name!r} has a dot.", hint=hint, path="name")
    there = context.fleet.box(box)
    where = f", at {there.url}" if there is not None and there.url else ""
    hint = f"Add it at the box {box}{where}, or give it a name without a dot."
    text = f"{name!r} would be a ComfyUI of the box {box}, and this is {own}."
    raise Refused("invalid_field", text, hint=hint, path="name")


def _address(url: str) -> str:
    try:
        return backend_url(url)
    except ValueError as error:
        text = f"{shown_url(url)!r} is not the address of a ComfyUI: {error}."
        hint = "Write it like http://gpu-7.example:8188, without a user."
        raise Refused("invalid_field", text, hint=hint, path="url") from error


async def _remove(context: Dependencies, label: str, message: wire.RemoveBackend) -> wire.RemovedBackend:
    """What a prompt does that begins there between the look and the event is what the others do with `move`. Raises
    Refused(unknown_backend, backend_busy).
    """
    name = message.name if box_of(message.name) or not context.fleet.own else f"{context.fleet.own}.{message.name}"
    if not context.added.is_present(name):
        raise unknown_backend(name)
    prompts = len(context.view.attempts_at(name))  # one that only waits to be sent there may go anywhere
    if prompts and not message.move:
        hint = (
            f"`comfyledger drain backend:{name} --wait` waits until it has none; "
            f"`comfyledger backend remove {name} --move` (`move`) has them go to others."
        )
        raise Refused("backend_busy", f"{name} still has prompts.", hint=hint, path="move")
    await context.engine.command(RemoveBackend(label, name))
    return wire.RemovedBackend(name, prompts if context.only is None else None)
