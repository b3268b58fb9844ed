"""What a request becomes with the defaults of its character. PURE.

The inputs of the request take precedence, each for itself. The template wraps the prompt: that of the image, else that
of the batch, else that of the character's own inputs, else nothing. By then every input is known by its address, so it
does not matter how a request calls it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from comfyledger import wire
from comfyledger.admission.files.find import NO_FILES, Files, filled
from comfyledger.admission.shots import whose
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused
from comfyledger.queries.characters import CharacterSet, NamedCharacter
from comfyledger.queries.dependencies import ReadyWorkflow
from comfyledger.settings import CharacterDefaults, InputFile
from comfyledger.settings.characters import PLACE

PROMPT: Final = "prompt"
"""The input that a template is about."""


class Filling(NamedTuple):
    """The defaults of a character for one workflow."""

    inputs: Mapping[str, Any]
    """By address."""
    prompt_at: str = ""
    """The address of the prompt; empty without a template."""
    template: str = ""

    @property
    def addresses(self) -> frozenset[str]:
        """Where it puts something."""
        return frozenset(self.inputs) | ({self.prompt_at} if self.prompt_at else set())


NOTHING: Final = Filling({})


def defaults_of(message: wire.SubmitBatch, label: str, characters: CharacterSet) -> CharacterDefaults | None:
    """The defaults that a request takes; None for none. Raises Refused(unknown_character) only if it asks for them."""
    if message.character_defaults is False:
        return None
    if message.character_defaults is None and not characters.is_default_for(label):
        return None
    _, name, premade = whose(message)
    found = characters.named(name)
    if found is not None:
        return found.character.defaults(premade=premade)
    if message.character_defaults is None:
        return None
    raise Refused(
        "unknown_character",
        f"No defaults are known for the character {name[:64]!r}.",
        hint=_hint(name, characters.by_slug),
        path="$.data.character",
    )


def _hint(typed: str, known: Mapping[str, NamedCharacter]) -> str:
    near = difflib.get_close_matches(typed[:64].lower().replace(" ", "-"), list(known), n=1)
    meant = f"Did you mean {known[near[0]].name!r}? " if near else ""
    return f"{meant}`comfyledger characters` lists the characters that have defaults."


def asked_by(defaults: CharacterDefaults) -> dict[str, wire.InputValue]:
    """The inputs of a character as a request would give them."""
    return {
        name: wire.FileAsked(input=value.input) if isinstance(value, InputFile) else value
        for name, value in defaults.inputs.items()
    }


def filling(
    defaults: CharacterDefaults, workflow: ReadyWorkflow, files: Files = NO_FILES, info: ObjectInfo | None = None
) -> Filling:
    """Raises Refused as `check_inputs` does, with the path `inputs.NAME`, or `prompt` for the template."""
    try:
        inputs = graphs.check_inputs(workflow.graph, workflow.plan, filled(asked_by(defaults), files), info)
    except Refused as refusal:
        raise refusal.below("inputs") from refusal
    if not defaults.prompt:
        return Filling(inputs)
    prompt_at = next(iter(graphs.check_inputs(workflow.graph, workflow.plan, {PROMPT: ""})))
    return Filling(inputs, prompt_at, defaults.prompt)


def merged(own: Mapping[str, Any], of_character: Filling) -> dict[str, Any]:
    """The inputs of an image by address. `own`: those of the request. No brace of a prompt means anything."""
    values = {**of_character.inputs, **own}
    if of_character.prompt_at:
        prompt = str(values.get(of_character.prompt_at, ""))
        values[of_character.prompt_at] = of_character.template.replace(PLACE, prompt)
    return values
