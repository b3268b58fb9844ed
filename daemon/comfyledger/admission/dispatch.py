"""Answers each request of the wire: reads from the reader, everything else as a command of the engine."""

from __future__ import annotations

import asyncio
from typing import Final, get_args

from msgspec.structs import replace

from comfyledger import crash_points, wire
from comfyledger.admission import (
    admit,
    backends,
    boxes,
    check_each,
    forget,
    inputs,
    moving,
    recover,
    repeats,
    retries,
    reviews,
    scopes,
    store_import,
    webhooks,
)
from comfyledger.admission.characters import listing
from comfyledger.admission.workflows import describe, fitting
from comfyledger.core.commands import (
    CancelBatch,
    Command,
    HoldBatch,
    ReleaseBatch,
    ResumeLane,
    RetryBatch,
    SetPriority,
    SubmitBatch,
)
from comfyledger.core.decide.commands import images_named
from comfyledger.core.results import Accepted, Changed
from comfyledger.core.scheduling.fit import ALL_INPUTS, allowed
from comfyledger.core.scheduling.fit_words import told_where
from comfyledger.core.values import ImageNamed
from comfyledger.errors import Refused
from comfyledger.ledger.ports import ImageFilter
from comfyledger.maintenance import saved_checks
from comfyledger.queries import activity as activities
from comfyledger.queries import backends as backend_lists
from comfyledger.queries import disks as disk_lists
from comfyledger.queries import explain, fleet, listings, recipe, serialize
from comfyledger.queries import webhooks as webhook_lists
from comfyledger.queries.dependencies import Dependencies


async def answer(context: Dependencies, label: str, message: wire.Message, raw: bytes) -> wire.Answer:
    """The reply to a request that is not about the connection itself. Raises Refused."""
    match message:
        case wire.SubmitBatch():
            return await submit(context, label, message, raw)
        case wire.OpenSeries():
            return await _open_series(context, label, message)
        case wire.GetBatch() | wire.ListBatches() | wire.GetImage() | wire.ListImages() | wire.ServerInfo():
            return await _read(context, message)
        case _ if isinstance(message, _TOLD):
            return await _tell(context, label, message, raw)
        case wire.ListCharacters():
            return await listing.list_characters(context, message)
        case wire.AddInput() | wire.ListInputs() | wire.ForgetInput():
            return await _about_input(context, label, message)
        case wire.Recover() | wire.Forget() | wire.Review() | wire.Move() | wire.GiveUpBox():
            return await _operated(context, label, message)
        case wire.SurveyStore() | wire.RaiseSeries() | wire.AddBackend() | wire.RemoveBackend():
            return await _about_place(context, label, message)
        case _ if isinstance(message, webhooks.MESSAGES):
            return await webhooks.answer(context, label, message)
        case _:
            series = await _series_of(context, message)
            return await _changed(context, _steering(context, label, message, series), _PATHS[type(message)])


async def _series_of(context: Dependencies, message: wire.Message) -> tuple[str, ...]:
    """The series that number files beyond the requested ones; none if none is needed."""
    if not isinstance(message, wire.Retry) or message.take != "all":
        return ()
    batch = await context.reader.batch(message.batch_id)
    return tuple(output.series for output in batch.every_output) if batch is not None else ()


_Told = (
    wire.CountImages
    | wire.GetActivity
    | wire.ReadLog
    | wire.Explain
    | wire.GetRecipe
    | wire.CheckWorkflow
    | wire.DescribeWorkflow
    | wire.ListChecks
)
_TOLD: Final = get_args(_Told)


async def _tell(
    context: Dependencies,
    label: str,
    message: _Told,
    raw: bytes,
) -> wire.Answer:
    match message:
        case wire.ReadLog():
            return await explain.read_log(context, message)
        case wire.Explain():
            return await explain.explain(context, message)
        case wire.GetRecipe():
            return await recipe.recipe(context, message)
        case wire.CheckWorkflow():
            return await check_each.check_workflow(context, label, message, raw)
        case wire.GetActivity():
            return await activities.activity(context, message, context.webhooks.wall_ms())
        case wire.CountImages():
            return await listings.image_counts(context.reader, message)
        case wire.ListChecks():
            return wire.Checks(await asyncio.to_thread(saved_checks.load, context.state))
        case wire.DescribeWorkflow():
            return await describe.describe_workflow(context, message)


async def _operated(
    context: Dependencies,
    label: str,
    message: wire.Recover | wire.Forget | wire.Review | wire.Move | wire.GiveUpBox,
) -> wire.Answer:
    match message:
        case wire.Recover():
            return await recover.recover(context, label, message)
        case wire.Forget():
            return await forget.forget(context, label, message)
        case wire.Review():
            return await reviews.review(context, label, message)
        case wire.Move():
            return await moving.move(context, label, message)
        case wire.GiveUpBox():
            return await boxes.give_up(context, label, message)


async def _about_place(
    context: Dependencies,
    label: str,
    message: wire.SurveyStore | wire.RaiseSeries | wire.AddBackend | wire.RemoveBackend,
) -> wire.Answer:
    match message:
        case wire.SurveyStore():
            return await store_import.survey_store(context, message)
        case wire.RaiseSeries():
            return await store_import.raise_series(context, label, message)
        case wire.AddBackend() | wire.RemoveBackend():
            return await backends.answer(context, label, message)


async def _about_input(
    context: Dependencies, label: str, message: wire.AddInput | wire.ListInputs | wire.ForgetInput
) -> wire.Answer:
    match message:
        case wire.AddInput():
            return await inputs.fetch(context, label, message)
        case wire.ListInputs():
            return await inputs.list_inputs(context, message)
        case wire.ForgetInput():
            return await inputs.forget_input(context, label, message)


async def _read(
    context: Dependencies,
    message: wire.GetBatch | wire.ListBatches | wire.GetImage | wire.ListImages | wire.ServerInfo,
) -> wire.Answer:
    match message:
        case wire.GetBatch(batch_id=batch_id):
            return await _get_batch(context, batch_id)
        case wire.ListBatches():
            return await listings.batches(context.reader, message)
        case wire.GetImage(image=name):
            return await _get_image(context, name)
        case wire.ListImages():
            return await listings.images(context.reader, message)
        case wire.ServerInfo(fits=fits):
            return await _server_info(context, fits=fits)


_PATHS: Final[dict[type[wire.Message], str]] = {
    wire.Cancel: "$.data.batch_id",
    wire.Retry: "$.data.batch_id",
    wire.SetPriority: "$.data.batch_id",
    wire.Pause: "$.data.scope",
    wire.Resume: "$.data.scope",
}
"""The field that a refusal of the command is about. The core names a field only if nothing else checks it."""


def _steering(
    context: Dependencies, label: str, message: wire.Message, series: tuple[str, ...] = ()
) -> Command[Changed]:
    match message:
        case wire.Cancel(batch_id=batch_id, images=images):
            return CancelBatch(label, batch_id, tuple(images))
        case wire.Retry(batch_id=batch_id, images=images, take=take):
            return RetryBatch(label, batch_id, tuple(images), take, series)
        case wire.SetPriority(batch_id=batch_id, priority=priority):
            return SetPriority(label, batch_id, wire.PRIORITIES.index(priority))
        case wire.Pause(scope=scope):
            return scopes.command(context, label, scope, pause=True)
        case wire.Resume(scope=scope):
            return scopes.command(context, label, scope, pause=False)
        case _:
            raise Refused("unknown_type")


async def submit(context: Dependencies, label: str, message: wire.SubmitBatch, raw: bytes) -> wire.BatchAccepted:
    """Admit a batch and get its numbers; a dry run stops after the checks. Raises Refused."""
    admitted = await fitting.admitted(context, label, message, raw)
    if isinstance(admitted, wire.BatchAccepted):
        return admitted
    if message.dry_run:
        return await _dry_run(context, admitted)
    crash_points.at("batch.admitted")
    accepted = await _accepted(context, admitted.command)
    crash_points.at("batch.numbered")
    _note_refusals(context, accepted.batch_id, admitted)
    found = await repeats.found_in(context.reader, accepted.batch_id) if accepted.repeated else admitted.workflow.found
    return serialize.accepted(accepted, context.view.epoch, found)


def _note_refusals(context: Dependencies, batch_id: str, admitted: admit.Admitted) -> None:
    """Its prompts need not go to a ComfyUI that would refuse the graph whatever their inputs are."""
    batch = context.view.batch(batch_id)
    if batch is None:
        return
    filled = {address for inputs in admitted.inputs for address in inputs}
    for name, refusal in admitted.refused.items():
        if any(f"{mistake.node}.{mistake.input}" not in filled for mistake in refusal.mistakes):
            context.engine.refuse(name, batch.template, ALL_INPUTS, refusal.message)


async def _accepted(context: Dependencies, command: SubmitBatch) -> Accepted:
    """The engine's answer. The core names a plain field of the request, like `request_id`."""
    try:
        return await context.engine.command(command)
    except Refused as refusal:
        if not refusal.path:
            raise
        raise refusal.below("$.data") from refusal


async def _dry_run(context: Dependencies, admitted: admit.Admitted) -> wire.BatchAccepted:
    """No number is given and the request_id stays unused. The names are those that the images would get now."""
    command, refused = admitted.command, admitted.refused
    images = await _foretold(context, command)
    found = [admitted.workflow.found]
    if refused:
        barred = context.policy.barred(admitted.workflow)
        names = allowed(context.policy.backends, command.backend, command.needs, barred)
        fits = [name for name in names if name not in refused and name in fitting.known_of(context, names)]
        found.append(told_where(fits, {name: refusal.message for name, refusal in refused.items()}))
    foretold = Accepted("", context.view.position, images, repeated=False, media=command.media)
    answer = serialize.accepted(foretold, context.view.epoch, "")
    quantity = sum(len(prompt.images) for prompt in command.prompts)
    return replace(answer, quantity=quantity, dry_run=True, found=found)


async def _foretold(context: Dependencies, command: SubmitBatch) -> tuple[ImageNamed, ...]:
    """The images with the next numbers; none if a store must be asked first, or if the caller has never used one of the
    series.
    """
    rows = {one.key: await context.reader.series(one.key) for one in command.series}
    following = {key: row.next for key, row in rows.items() if row is not None and row.open}
    if len(following) < len(rows):
        return ()
    return images_named(command, following)


async def _open_series(context: Dependencies, label: str, message: wire.OpenSeries) -> wire.SeriesInfo:
    command = admit.open_series(message, label, context.policy, context.store_refs())
    opened = await context.engine.command(command)
    return wire.SeriesInfo(opened.series, opened.next)


async def _changed(context: Dependencies, command: Command[Changed], path: str) -> wire.ChangedCount:
    try:
        if isinstance(command, CancelBatch | RetryBatch | SetPriority | HoldBatch | ReleaseBatch):
            await context.check_shown(command.batch_id)
        if isinstance(command, ResumeLane):
            return await scopes.resumed(context, command)
        if isinstance(command, RetryBatch):
            command = await retries.completed(context, command)
        changed = await context.engine.command(command)
    except Refused as refusal:
        raise refusal.below("$.data.images" if refusal.code == "unknown_image" else path) from refusal
    return wire.ChangedCount(changed.images, changed.left)


async def _get_batch(context: Dependencies, batch_id: str) -> wire.BatchInfo:
    row = await context.reader.batch(batch_id)
    if row is None:
        hint = "`comfyledger batches` lists them."
        raise Refused("unknown_batch", f"There is no batch {batch_id[:64]!r}.", hint=hint, path="$.data.batch_id")
    images = await context.reader.images(ImageFilter(batch_id=batch_id, limit=row.images))
    tagged = await serialize.tagged(context.reader, [row])
    prompts = {prompt.index: prompt for prompt in await context.reader.prompts(batch_id)} if row.pending else {}
    infos = [
        serialize.with_waits(info, prompts[info.prompt]) if info.prompt in prompts else info
        for info in await listings.shown(context.reader, images)
    ]
    return serialize.batch_info(row, tagged.get(batch_id, serialize.Tagged()), infos)


async def _get_image(context: Dependencies, name: str) -> wire.ImageInfo:
    image = await listings.find_image(context.reader, name)
    if image is None:
        raise listings.unknown_image(name)
    (info,) = await listings.shown(context.reader, [image])
    batch = await context.reader.batch(image.batch_id)
    prompt = await context.reader.prompt(image.batch_id, image.prompt)
    return info if batch is None or prompt is None else serialize.with_run(info, batch, prompt)


async def _server_info(context: Dependencies, *, fits: bool) -> wire.Info:
    view, shortage = context.view, context.view.shortage
    shown = await listings.paused_lanes(context.reader)
    found = await fitting.of_each(context) if fits else {}
    return wire.Info(
        version=context.version,
        protocol=wire.PROTOCOL,
        ledger_id=view.ledger_id,
        epoch=view.epoch,
        position=view.position,
        storage_full=shortage is not None,
        storage_text=shortage.message if shortage is not None else "",
        locked_text=view.lock_text,
        uptime_s=context.uptime_s(),
        open=context.open_counts(),
        lanes=shown,
        waiting=context.waiting(),
        backends=list(backend_lists.shown(context, shown, found)),
        stores=[
            wire.StoreInfo(one.name, one.kind, one.identity, one.problem, one.caveat) for one in context.stores.values()
        ],
        boxes=fleet.boxes(context),
        workflows=sorted(context.policy.workflows),
        characters=len(context.characters.now.by_slug),
        character_problems=context.characters.problems() if context.only is None else [],
        inputs=_inputs_held(context) if context.only is None else None,
        demand=backend_lists.demanded(context) if context.only is None else None,
        webhooks=webhook_lists.briefly(context.webhooks, view) if context.only is None else None,
        disks=disk_lists.shown(context.disks.seen()) if context.only is None else None,
    )


def _inputs_held(context: Dependencies) -> wire.InputsHeld:
    kept = context.inputs
    return wire.InputsHeld(kept.files, kept.used_bytes, kept.quota_bytes, context.view.open_work().removals)
