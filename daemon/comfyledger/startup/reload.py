"""Takes in the configuration again while the daemon runs: all that can change at once, or nothing if it is refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog

from comfyledger.admission.characters.known import read_characters
from comfyledger.admission.configured import keys_of_backends
from comfyledger.core.urls import reached
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies
from comfyledger.settings import Settings
from comfyledger.startup.all_backends import AllBackends
from comfyledger.startup.backends import Changes
from comfyledger.startup.build_comfyui import Wanted
from comfyledger.workers.reporting import Secrets

log = structlog.get_logger("comfyledger.app")


def wanted_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, Wanted]:
    """The ComfyUIs of a configuration, by their names in the log and in its order. Raises Refused(config_invalid)."""
    keys = keys_of_backends(settings, environ)
    return {settings.backend_name(name): Wanted(section, keys[name]) for name, section in settings.comfyui.items()}


def secrets_of(wanted: Iterable[Wanted]) -> Iterator[str]:
    """What no text may show. The passwords in the URLs are among it: a proxy in front of a ComfyUI may quote them."""
    for one in wanted:
        yield from one.keys.values()
        yield reached(one.section.url).password


class Reload:
    """`running`: where the ComfyUIs are that are used. `secrets`: what is masked in texts."""

    def __init__(self, context: Dependencies, running: AllBackends, secrets: Secrets) -> None:
        self._context = context
        self._running = running
        self._secrets = secrets

    async def take_in(self, load: Callable[[], Settings]) -> Settings:
        """Use the characters and the ComfyUIs of the configuration that `load` reads, and the keys that these have.

        Requests continue meanwhile, with those of before. Raises Refused, and changes nothing then.
        """
        policy, characters = self._context.policy, self._context.characters
        try:
            found = load()
            wanted = wanted_of(found, os.environ)
            read = await asyncio.to_thread(
                read_characters, found, policy.workflows, policy.default_workflow, characters.now
            )
        except Refused as refusal:
            characters.not_reread = str(refusal)
            raise
        characters.now, characters.not_reread = read, ""
        log.info("characters.read", characters=len(read.by_slug), problems=len(read.problems))
        self._secrets.hide(secrets_of(wanted.values()))
        self._log(self._running.configure(wanted, found.backends.trusted))
        self._context.added.reread(found.backends.allowed)
        return found

    def _log(self, changes: Changes) -> None:
        if changes:
            log.info(
                "backends.changed",
                added=changes.added,
                changed=changes.changed,
                replaced=changes.replaced,
                removed=changes.removed,
            )
