"""Checks whether a configuration can be used, for `config check` and for the start of the daemon.

It does not use the network: the daemon waits for a store that does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from comfyledger.admission.characters.known import read_characters
from comfyledger.admission.configured import read_workflows, secrets_of_workflows
from comfyledger.errors import Refused
from comfyledger.plugins import open_stores, store_kinds
from comfyledger.server.tokens import own_token
from comfyledger.settings import Invalid, Mistake, Settings, is_source, read_secret
from comfyledger.workers.webhooks.target import configured


def refuse_mistakes(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises Invalid with everything that prevents the daemon from using these settings."""
    mistakes = mistakes_of(settings, environ)
    if mistakes:
        raise Invalid(settings.source or "The configuration", mistakes)


def mistakes_of(settings: Settings, environ: Mapping[str, str]) -> list[Mistake]:
    """The mistakes, in the order of the parts of the configuration. Changes nothing."""
    alone = [*_of_workflows(settings), *_of_secrets(settings, environ), *_of_webhooks(settings, environ)]
    together = [] if alone else _of_all_secrets(settings, environ)
    characters = [] if alone else _of_characters(settings)
    return [*_of_stores(settings), *alone, *together, *characters, *_of_token(settings.token_path, environ)]


def _of_stores(settings: Settings) -> Iterator[Mistake]:
    """What the plugins think of their options. A store that must be asked first is none of a file's mistakes."""
    for store in open_stores(store_kinds(), settings.stores, settings.state_path).values():
        if store.waiting is None:
            yield Mistake(
                f"stores.{store.name}",
                f"The store cannot be used: {store.problem.removeprefix(f'stores.{store.name}: ')}",
                "See `comfyledger config example`.",
            )


def _of_workflows(settings: Settings) -> Iterator[Mistake]:
    for name, workflow in settings.workflows.items():
        try:
            read_workflows(msgspec.structs.replace(settings, workflows={name: workflow}))
        except Refused as refusal:
            sentence = refusal.message.removeprefix(f"[workflows.{name}]: ")
            yield Mistake(f"workflows.{name}", sentence, refusal.hint)


def _of_secrets(settings: Settings, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for section, key, source in _sources(settings):
        if not is_source(source):
            continue  # a mistake of the file that is said already, and perhaps a secret
        try:
            read_secret(source, environ)
        except Refused as refusal:
            text = f"{refusal.message} [{section}] {key} names that place."
            yield Mistake(f"{section}.{key}", text, refusal.hint)


def _of_webhooks(settings: Settings, environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Secrets that are not there, or that no receiver could use."""
    for name, webhook in settings.webhooks.items():
        if not is_source(webhook.secret):
            continue  # a mistake of the file that is said already, and perhaps a secret
        try:
            configured({name: webhook}, environ)
        except Refused as refusal:
            yield Mistake(f"webhooks.{name}.secret", refusal.message, refusal.hint)


def _of_all_secrets(settings: Settings, environ: Mapping[str, str]) -> Iterator[Mistake]:
    """What shows only where each of them is there: those of a workflow's file, and what would keep them in images."""
    try:
        secrets_of_workflows(settings, read_workflows(settings), environ)
    except Refused as refusal:
        yield Mistake(refusal.path or "spool.strip_metadata", refusal.message, refusal.hint)


def _of_characters(settings: Settings) -> Iterator[Mistake]:
    """What does not fit the workflows. That a workflow is not configured is a mistake of the file, and said already.

    The files of `characters_dir` prevent nothing.
    """
    alone = msgspec.structs.replace(settings, characters_dir="")
    try:
        read_characters(alone, read_workflows(settings), settings.default_workflow)
    except Invalid as invalid:
        yield from (one for one in invalid.key_mistakes if not one.path.endswith(".workflow"))


def character_problems(settings: Settings) -> tuple[str, ...]:
    """What is wrong with files of `characters_dir`, for settings without mistakes. The daemon starts nevertheless."""
    return read_characters(settings, read_workflows(settings), settings.default_workflow).problems


def _sources(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Every place that holds a secret, after the section and the key that name it."""
    if is_source(settings.ledger.shared):
        yield "ledger", "shared", settings.ledger.shared
    for name, comfyui in settings.comfyui.items():
        yield from ((f"comfyui.{name}", f"extra_data.{key}", source) for key, source in comfyui.extra_data.items())
    for name, workflow in settings.workflows.items():
        yield from ((f"workflows.{name}", f"secrets.{key}", source) for key, source in workflow.secrets.items())


def _of_token(path: Path, environ: Mapping[str, str]) -> Iterator[Mistake]:
    """One that is not there yet is made at the start."""
    try:
        own_token(path, environ)
    except Refused as refusal:
        yield Mistake("state_dir", refusal.message, refusal.hint)
    except OSError as error:
        hint = "Correct its owner and mode. Or remove it: the next start makes a new one."
        yield Mistake("state_dir", f"The token in {path} cannot be read: {error.strerror}.", hint)
