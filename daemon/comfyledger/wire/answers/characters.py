"""The characters that requests may take defaults from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.answers.parts import Answer

Value = str | int | float | bool | None


class CharacterDefaultsInfo(Answer, frozen=True):
    """What a request for a character gets where it gives nothing itself."""

    workflow: Annotated[str, Meta(description="The configured workflow.", examples=["text-to-image"])]
    inputs: Annotated[
        dict[str, Value],
        Meta(description="Values of inputs, by name or address.", examples=[{"negative": "blurry", "steps": 30}]),
    ] = {}
    prompt: Annotated[
        str,
        Meta(
            description="The template around the input `prompt`; empty if there is none.",
            examples=["portrait of embedding:opal-fever, {prompt}"],
        ),
    ] = ""


class CharacterInfo(Answer, frozen=True):
    """A character of the configuration, and what keeps it from being rendered."""

    name: Annotated[str, Meta(description="Its name in the configuration.", examples=["opal-fever"])]
    display_name: Annotated[str, Meta(description="How people call it.", examples=["Opal Fever"])]
    own: Annotated[CharacterDefaultsInfo, Meta(description="For a user's own character.")]
    premade: Annotated[CharacterDefaultsInfo, Meta(description="For a character that exists already.")]
    file: Annotated[
        str,
        Meta(
            description="The file that it comes from; empty if the configuration itself has it.",
            examples=["/etc/comfyledger/characters/opal-fever.toml"],
        ),
    ] = ""
    missing: Annotated[
        dict[str, list[str]],
        Meta(
            description="By backend, what ComfyUI lacks for it: node classes, models, files, choices, and the "
            "embeddings that its texts name; at most 20 sentences each. A backend that lacks nothing is not there.",
            examples=[{"main": ["Node 4 (CheckpointLoaderSimple): ckpt_name is 'sd15', which ComfyUI does not have."]}],
        ),
    ] = {}
    unchecked: Annotated[
        list[str],
        Meta(description="Backends that have not said all that they have.", examples=[["main"]]),
    ] = []


class Characters(Answer, frozen=True):
    """A page of characters."""

    characters: Annotated[list[CharacterInfo], Meta(description="By name, as in names of files.")]
    more: Annotated[bool, Meta(description="Whether another page follows.")]
    next_cursor: Annotated[
        str,
        Meta(
            description="Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.",
            examples=["opal-fever"],
        ),
    ] = ""
