"""The characters that requests may take defaults from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.answers.parts import Answer


class InputNamed(Answer, frozen=True):
    """An input file, in place of a value."""

    input: Annotated[
        str,
        Meta(
            description="Its bytes, by `sha256:` and their SHA-256.",
            examples=["sha256:478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ]


Value = str | int | float | bool | InputNamed | None


class CharacterDefaultsInfo(Answer, frozen=True):
    """The values that a request for a character gets where the request itself gives none."""

    workflow: Annotated[str, Meta(description="The configured workflow.", examples=["text-to-image"])]
    inputs: Annotated[
        dict[str, Value],
        Meta(
            description="Values and files of inputs, by name or address.",
            examples=[{"negative": "blurry", "steps": 30}],
        ),
    ] = {}
    prompt: Annotated[
        str,
        Meta(
            description="The template around the input `prompt`; empty if there is none.",
            examples=["portrait of embedding:opal-fever, {prompt}"],
        ),
    ] = ""


class CharacterInfo(Answer, frozen=True):
    """A character of the configuration, and what each ComfyUI lacks for it."""

    name: Annotated[str, Meta(description="Its name in the configuration.", examples=["opal-fever"])]
    display_name: Annotated[str, Meta(description="How people call it.", examples=["Opal Fever"])]
    own: Annotated[
        CharacterDefaultsInfo,
        Meta(description="The defaults for a request with `premade` false: the user's own character."),
    ]
    premade: Annotated[
        CharacterDefaultsInfo,
        Meta(description="The defaults for a request with `premade` true: a character that exists already."),
    ]
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
            description="What each backend lacks for the character, by the name of the backend: node classes, models, "
            "files, choices, and the embeddings that the character's texts name; at most 20 sentences for each "
            "backend. A backend that lacks nothing is omitted.",
            examples=[{"main": ["Node 4 (CheckpointLoaderSimple): ckpt_name is 'sd15', which ComfyUI does not have."]}],
        ),
    ] = {}
    unchecked: Annotated[
        list[str],
        Meta(
            description="Backends of which the daemon does not know all node classes, models or embeddings; for these "
            "`missing` may lack something.",
            examples=[["main"]],
        ),
    ] = []


class Characters(Answer, frozen=True):
    """A page of characters."""

    characters: Annotated[list[CharacterInfo], Meta(description="Sorted by name, as it is written in names of files.")]
    more: Annotated[bool, Meta(description="Whether another page follows.")]
    next_cursor: Annotated[
        str,
        Meta(
            description="Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.",
            examples=["opal-fever"],
        ),
    ] = ""
