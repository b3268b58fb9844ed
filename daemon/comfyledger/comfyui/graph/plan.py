"""What was found in a graph: its outputs, and the addresses of what a run fills in. PURE.

An address is `node id.input name`, divided at the first dot.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.core.media import Medium

PREFIX_NAME: Final = "filename_prefix"
SAVE_IMAGE_FILE: Final = "{prefix}_{place:05}_.png"
"""The names that SaveImage gives (ComfyUI, recorded)."""


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node of the graph whose files become images of the batch."""

    node: str
    prefix: str
    """The address of the prefix that the node puts before the names of its files."""
    medium: Medium = "image"
    """What its files are by the table of savers, and by the values in the graph."""
    file: str = ""
    """The final name of file `place` (1, 2, ...) of an attempt, as a format of `prefix` and `place`. Empty if it cannot
    be foretold: then no file is looked for after a restart, and the prompt is rendered again."""

    def file_of(self, prefix: str, place: int) -> str:
        """The path of a file below ComfyUI's output folder; empty if it cannot be foretold. `place` counts from 1."""
        return self.file.format(prefix=prefix, place=place)


def classic_output(node_id: str) -> Output:
    """The output of a plan that lists none: a node that saves images as SaveImage does."""
    return Output(node_id, f"{node_id}.{PREFIX_NAME}", file=SAVE_IMAGE_FILE)


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found in a graph; recorded in the event log as JSON. All places are addresses."""

    output: str
    """Id of the first node that saves images."""
    prefix: str
    """The address of its prefix."""
    seeds: tuple[str, ...]
    """All seeds that feed the output; empty if there is none."""
    batch_size: str | None
    """What decides how many files a run makes: the batch size of a latent, and the like. None if the configuration
    names none and it is not exactly one for each output."""
    inputs: dict[str, str]
    """What callers may fill in by name: `{"prompt": "6.text"}`."""
    secrets: tuple[str, ...] = ()
    """Inputs that the configuration fills in just before the graph is sent. The template has no value there."""
    outputs: tuple[Output, ...] = ()
    """Every output in the order of its images. Empty if there is just one, and it saves images as SaveImage does: such
    plans are in the log since before there were others."""
    left_out: tuple[str, ...] = ()
    """Other nodes that save or show something and are not run, at most a hundred."""
    no_nodes: tuple[str, ...] = ()
    """What stood beside the nodes and was left out, by name: `_meta`, or what a wrapper has besides the graph. At most
    a hundred."""
    seed_range: tuple[int, int] | None = None
    """The smallest and the largest seed that every place of a seed takes, if `/object_info` says that not all from 0 to
    2^53-1 will do."""
    batch_sizes_too: tuple[str, ...] = ()
    """The batch sizes of further outputs, which get the same number."""
    batch_size_max: int | None = None
    """The largest batch size, if `/object_info` says that it is below what a request may ask for. 1 if there is an
    output beside it whose files it does not decide."""
    seeds_unclear: tuple[str, ...] = ()
    """Seeds that are linked, and not to one number that can be filled in. At most a hundred."""
    batch_sizes_unclear: tuple[str, ...] = ()
    """What decides how many files a run makes, if that is not one place or cannot be filled in. At most a hundred."""

    @property
    def every_batch_size(self) -> tuple[str, ...]:
        return () if self.batch_size is None else (self.batch_size, *self.batch_sizes_too)

    @property
    def every_output(self) -> tuple[Output, ...]:
        """At least one output."""
        return self.outputs or (classic_output(self.output),)


def prefixes(plan: Plan, batch_id: str, first_number: int, attempt: int) -> list[str]:
    """A folder for each batch and file prefixes for each attempt, so that ComfyUI's counters never collide.

    One for each output. The first one is as it was when there was only one. `first_number`: of the prompt's first
    image.
    """
    prefix = f"comfyledger/{batch_id.lower()}/{first_number}-a{attempt}"
    return [prefix, *(f"{prefix}-o{number}" for number in range(2, len(plan.outputs) + 1))]


def addresses_of_the_run(plan: Plan) -> dict[str, str]:
    """The addresses that the run fills in itself, each with what to use instead."""
    taken = dict.fromkeys(plan.seeds, "Use `seed`.")
    taken |= dict.fromkeys(plan.every_batch_size, "Use `images_per_prompt`.")
    taken |= dict.fromkeys((output.prefix for output in plan.every_output), "Omit it: the daemon names the files.")
    taken |= dict.fromkeys(plan.secrets, "Omit it: the configuration says where its secret is.")
    return taken
