"""What became of prompts at ComfyUI."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.events.event import Attempt, BatchId, By, Event, FileGiven, FolderGiven, PromptIndex, Words
from comfyledger.core.values import MoveReason, OutputFile, OutputPlace, Pinned, StrayOutcome, Take


class PromptSubmitting(Event, frozen=True):
    """An attempt is about to be sent to ComfyUI. The event is durable before the call, so after a crash the daemon
    knows where to look first."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    prompt_id: Annotated[
        str,
        Meta(
            description="ComfyUI's id of the run, made from batch, prompt and attempt.",
            examples=["5f1b0c1e-7d0a-5a5e-9c51-0d3a1d1f7c11"],
        ),
    ]
    backend: Annotated[str, Meta(description="The ComfyUI that it goes to.", examples=["main"])]
    outputs: Annotated[
        tuple[int, ...],
        Meta(description="The places of the outputs that are asked for, from 1; empty if all are.", examples=[[2]]),
    ] = ()
    choice_over: Annotated[
        bool,
        Meta(
            description="Whether this attempt drops files that an earlier `retry --take` chose and that no image has "
            "received."
        ),
    ] = False
    version: Annotated[
        str,
        Meta(description="The version of this ComfyUI; empty if it is not known.", examples=["0.29.0"]),
    ] = ""
    left_out: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Nodes that are not sent, because no output needs them and ComfyUI lacks their class; null if "
            "that was not recorded.",
            examples=[["12"]],
        ),
    ] = None
    server: Annotated[
        str,
        Meta(
            description="Which server this ComfyUI is: host, port and the path if it has one; empty if that was not "
            "recorded.",
            examples=["127.0.0.1:8188"],
        ),
    ] = ""


class PromptAccepted(Event, frozen=True):
    """ComfyUI has the attempt: queued, running or finished."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt


class PromptRefused(Event, frozen=True):
    """ComfyUI refused the graph. If another ComfyUI may take it, the prompt is queued again. Otherwise all pending
    images of the batch fail, except those of prompts that ComfyUI has accepted."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    code: Annotated[
        str,
        Meta(
            description="ComfyUI's code, for example `prompt_outputs_failed_validation`; or, from the daemon "
            "itself, `forgotten` (the graph or the inputs were erased), `secret_missing` (a secret is not configured) "
            "or `comfyui_refused` (ComfyUI gave no code).",
            examples=["prompt_outputs_failed_validation"],
        ),
    ]
    words: Words = None
    again: Annotated[
        bool, Meta(description="Whether another ComfyUI may take it, so that another attempt is owed.")
    ] = False


class PromptFinished(Event, frozen=True):
    """ComfyUI wrote the files of a run. If an output gave fewer files than it has images, the images without a file
    fail as `wrong_count`. If an output gave more, `files_waiting` follows. If the run failed after some outputs had
    given their files, `code` says why; once these files are kept, `prompt_failed` follows for the other outputs."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    files: Annotated[
        tuple[OutputFile, ...],
        Meta(
            description="The files that the output nodes wrote: output by output, and for each output in the "
            "order of its images."
        ),
    ]
    code: Annotated[
        str,
        Meta(
            description="Why some outputs of the run gave no file, as in `prompt_failed`; empty if all "
            "outputs gave files.",
            examples=["execution_error"],
        ),
    ] = ""
    words: Words = None


class FilesWaiting(Event, frozen=True):
    """Outputs of a run gave more files than they have images. These files wait in the spool until `retry` with `take`
    chooses some of them. The images of these outputs are parked as `wrong_count`."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    images: Annotated[
        tuple[int, ...], Meta(description="Indexes of the images that wait for one of the files.", examples=[[1, 2]])
    ]
    files: Annotated[
        tuple[Pinned, ...],
        Meta(
            description="The files in the order of the run; `image` is the place of each file among the files "
            "of the run, from 1."
        ),
    ]
    words: Words = None


class FilesTaken(Event, frozen=True):
    """A person chose which of the waiting files to use."""

    batch_id: BatchId
    prompt: PromptIndex
    images: Annotated[
        tuple[int, ...], Meta(description="Indexes of the images that get a file now.", examples=[[1, 2]])
    ]
    files: Annotated[
        tuple[int, ...],
        Meta(
            description="The place of each chosen file among the files of the run, from 1, in the order of the "
            "prompt's images.",
            examples=[[1]],
        ),
    ]
    take: Annotated[Take, Meta(description="Which files were chosen: the value of `take` in the request.")]
    by: By


class ImageAdded(Event, frozen=True):
    """A batch got one more image, with the next number of its series, for a surplus file that a person chose."""

    batch_id: BatchId
    prompt: PromptIndex
    series: Annotated[
        str,
        Meta(
            description="The series that gave the number.",
            examples=["areg/premade_characters/opal-fever/images/areg_opal-fever_image_"],
        ),
    ]
    image: Annotated[int, Meta(description="The new image's index, above the existing ones.", examples=[9])]
    number: Annotated[int, Meta(description="Its number in the series.", examples=[58])]
    folder: FolderGiven
    file: FileGiven
    by: By
    output: OutputPlace = 1


class PromptFailed(Event, frozen=True):
    """An attempt failed."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    code: Annotated[
        str,
        Meta(
            description="Why: `execution_error`, `timeout` (it ran longer than `render_timeout_s`), `wrong_count` (no"
            " file; in older releases also more files than images), `file_missing`, `broken`, `too_slow` "
            "(a file did not arrive in time), `redirected` (a file is only at another address), `poison` "
            "(the daemon stopped too often while it checked a file), `not_rendered` (an image was retried "
            "while the attempt ran, and the attempt made no file for it), `input_failed` (a file that the prompt "
            "loads cannot be had, or ComfyUI does not take it), or `http_STATUS`.",
            examples=["execution_error"],
        ),
    ]
    again: Annotated[bool, Meta(description="Whether another attempt is owed.")]
    words: Words = None


class PromptLost(Event, frozen=True):
    """ComfyUI was restarted and does not know the attempt any more, and the files of the attempt are not on ComfyUI's
    disk. Another attempt is owed."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    running: Annotated[
        bool,
        Meta(
            description="Whether the prompt was running when ComfyUI stopped, which is a strike. From the "
            "first strike on, the prompt runs alone; after `poison_strikes_max` strikes its "
            "images fail as `poison`."
        ),
    ] = False


class PromptRemoved(Event, frozen=True):
    """The attempt was removed from ComfyUI."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    by: Annotated[
        Literal["cancel", "foreign"],
        Meta(description="Who removed it: `cancel` (the daemon cancelled it) or `foreign` (a person did, at ComfyUI)."),
    ]


class PromptMoved(Event, frozen=True):
    """The attempt is left behind at its ComfyUI, and another one is owed, which any ComfyUI may get. What was left
    behind is a stray: once its ComfyUI answers, it is removed there, or used if it has finished first."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    backend: Annotated[str, Meta(description="The ComfyUI that it was left at.", examples=["main"])]
    reason: Annotated[
        MoveReason,
        Meta(
            description="Why: `away` (this ComfyUI did not work for `move_after_s`), `person` (somebody moved its "
            "prompts), `removed` (it is not configured any more), `replaced` (another server has its name) or "
            "`overtaken` (an earlier attempt has finished first)."
        ),
    ]
    running: Annotated[
        bool,
        Meta(
            description="Whether it was running when this ComfyUI went away, which is a strike: from then on the "
            "prompt runs alone, and does not move by itself again."
        ),
    ] = False


class StrayEnded(Event, frozen=True):
    """What became of an attempt that was left behind."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    backend: Annotated[str, Meta(description="The ComfyUI that it was left at.", examples=["main"])]
    outcome: Annotated[
        StrayOutcome,
        Meta(
            description="`used` (it finished first, and its files are used), `late` (it finished, and nobody wanted "
            "its files any more), `gone` (it is not there any more) or `given_up` (nobody can be asked: its "
            "ComfyUI is not used any more, and may still be rendering it)."
        ),
    ]
    files: Annotated[
        tuple[OutputFile, ...],
        Meta(description="The files that are used, as in `prompt_finished`; empty if none are."),
    ] = ()
