"""What became of prompts at ComfyUI."""

from __future__ import annotations

from typing import Literal

from comfyledger.core.events.event import Event
from comfyledger.core.values import OutputFile, Pinned, Take


class PromptSubmitting(Event, frozen=True):
    """Durable before the call goes out: it says where to look first after a crash, nothing else."""

    batch_id: str
    prompt: int
    attempt: int
    prompt_id: str
    backend: str


class PromptAccepted(Event, frozen=True):
    batch_id: str
    prompt: int
    attempt: int


class PromptRefused(Event, frozen=True):
    """ComfyUI will not run the graph. `words`: digest of what it said."""

    batch_id: str
    prompt: int
    attempt: int
    code: str
    words: str | None = None


class PromptFinished(Event, frozen=True):
    batch_id: str
    prompt: int
    attempt: int
    files: tuple[OutputFile, ...]


class FilesWaiting(Event, frozen=True):
    """More files came than images were asked for. All of them wait in the spool until a person says whose they are.

    `files` in their order, each with its place (from 1) as `image`. `words`: digest of both numbers, in words.
    """

    batch_id: str
    prompt: int
    attempt: int
    images: tuple[int, ...]
    files: tuple[Pinned, ...]
    words: str | None = None


class FilesTaken(Event, frozen=True):
    """A person said which of the files that wait are taken. `files`: the place of each, in the order of the images."""

    batch_id: str
    prompt: int
    images: tuple[int, ...]
    """Those that get one now; an image of the prompt that has come to its end otherwise keeps what it has."""
    files: tuple[int, ...]
    take: Take
    by: str


class ImageAdded(Event, frozen=True):
    """An image more of a batch, with the next number of its series, for a file more than images were asked for."""

    batch_id: str
    prompt: int
    series: str
    image: int
    number: int
    folder: str
    file: str
    by: str


class PromptFailed(Event, frozen=True):
    """An attempt came to nothing. `again`: another one is owed."""

    batch_id: str
    prompt: int
    attempt: int
    code: str
    again: bool
    words: str | None = None


class PromptLost(Event, frozen=True):
    """ComfyUI was restarted and no longer knows the prompt; another attempt is owed.

    `running`: it was what ComfyUI was at when it went away, which counts as a strike.
    """

    batch_id: str
    prompt: int
    attempt: int
    running: bool = False


class PromptRemoved(Event, frozen=True):
    """The prompt was taken out of ComfyUI. `by`: cancel (it was ours to take) or foreign (a person did it there)."""

    batch_id: str
    prompt: int
    attempt: int
    by: Literal["cancel", "foreign"]
