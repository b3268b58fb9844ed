"""The Python client: one websocket to the daemon that reconnects by itself, and each request of the wire as a method.

    async with Client(name="my-app") as client:
        batch = await client.submit(request_id="...", username="Areg", character="Opal Fever", quantity=8)
        async for event in client.follow(batch.batch_id):
            ...

When the connection breaks, the client finds the daemon again (a restarted one may listen on another port), repeats
requests without an answer with the same body, and continues subscriptions after the last position that it received.

A slow reader costs no memory and never blocks other answers: at most `EVENTS_WAITING_MAX` events of a subscription wait
here. At that limit the client ends the subscription, and begins it again after the last of them once they are read. The
log holds the rest. Progress and previews that nobody reads are dropped.

Imports the standard library, msgspec, websockets, and of comfyledger the wire, the core's values and events, and the
errors: it installs without the daemon's parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack, cast

from comfyledger import wire
from comfyledger.client.batch_states import OVER, Batch, OnProgress, id_of, states_of
from comfyledger.client.downloading import Downloader, Size
from comfyledger.client.finding import Address, find_daemon
from comfyledger.client.image_filters import ImageFilters
from comfyledger.client.link import Feed, Link, Pushed
from comfyledger.client.uploading import Uploader
from comfyledger.client.workflow_files import read_workflow
from comfyledger.core import events
from comfyledger.core.media import Medium
from comfyledger.errors import Refused
from comfyledger.wire.requests.reading import CountBy

__all__ = ["Client", "Pushed", "events", "read_workflow"]


class Client:
    """A connection to the daemon. Use it as `async with Client() as client`.

    `name` is the label of the request ids. `timeout_s` limits the time of each answer, reconnecting included; None
    waits forever. With `wait`, the first connection may take that long as well; without it, a missing daemon raises
    Refused(not_running) at once. `on_waiting` is called with the reason when an answer takes longer.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        state_dir: Path | str | None = None,
        *,
        name: str = "default",
        timeout_s: float | None = 60.0,
        wait: bool = False,
        on_waiting: Callable[[wire.Waiting], None] | None = None,
    ) -> None:
        def find() -> Address:
            return find_daemon(url, token, state_dir, os.environ)

        self._link = Link(find, name, timeout_s, wait, on_waiting)
        self._uploader = Uploader(find, name, timeout_s)
        self._new_downloader = partial(Downloader, find, name, timeout_s)
        self._downloader = self._new_downloader()

    async def __aenter__(self) -> Self:
        """Connect. Raises Refused(not_running, unauthorized, forbidden_host, forbidden_origin, protocol_version)."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> Self:
        """Connect, as `async with` does. Raises Refused as it does. A client that was closed may be opened again."""
        await self._link.open()
        self._downloader = self._new_downloader()  # whose turns belong to the running event loop
        return self

    async def close(self) -> None:
        """End the connection. What still waits for an answer is refused as `not_running`."""
        await self._link.close()

    @property
    def welcome(self) -> wire.Welcome:
        """The daemon's answer to the last hello: its version, ledger, epoch and position."""
        if self._link.welcome is None:
            raise Refused("not_running", "The client is not connected yet.")
        return self._link.welcome

    # ---- requests

    async def submit(
        self,
        *,
        request_id: str,
        username: str | None = None,
        character: str | None = None,
        premade: bool | None = None,
        quantity: int | None = None,
        images: Sequence[wire.ImageAsked | Mapping[str, Any]] | None = None,
        workflow: str | Mapping[str, Any] | os.PathLike[str] | None = None,
        output: str | None = None,
        outputs: Sequence[str] | None = None,
        inputs: Mapping[str, wire.InputValue | Mapping[str, Any]] | None = None,
        inputs_each: Mapping[str, Sequence[wire.InputValue | Mapping[str, Any]]] | None = None,
        character_defaults: bool | None = None,
        seed: int | str | None = None,
        images_per_prompt: int | None = None,
        priority: wire.Priority = "normal",
        backend: str | None = None,
        needs: Sequence[str] | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        like: str | None = None,
        webhook: str | None = None,
    ) -> wire.BatchAccepted:
        """Request a batch. Use a new `request_id` for each; the same id with the same body gets the same answer.

        The fields are those of `wire.SubmitBatch`. A `workflow` that is a path, not a text, is read: JSON, or a picture
        that ComfyUI made. Raises Refused with the daemon's code, sentence, hint and path.
        """
        if workflow is not None and not isinstance(workflow, str):
            workflow = await _graph(workflow)
        message = wire.SubmitBatch(
            request_id=request_id,
            username=username,
            character=character,
            premade=premade,
            quantity=quantity,
            images=None if images is None else cast("list[wire.ImageAsked]", list(images)),
            workflow=workflow,
            output=output,
            outputs=None if outputs is None else list(outputs),
            inputs=cast("dict[str, wire.InputValue]", dict(inputs or {})),
            inputs_each=cast(
                "dict[str, list[wire.InputValue]]", {name: [*values] for name, values in (inputs_each or {}).items()}
            ),
            character_defaults=character_defaults,
            seed=seed,
            images_per_prompt=images_per_prompt,
            priority=priority,
            backend=backend,
            needs=None if needs is None else list(needs),
            tags=list(tags),
            metadata=dict(metadata or {}),
            dry_run=dry_run,
            like=like,
            webhook=webhook,
        )
        return await self._link.ask(message, wire.BatchAccepted)

    async def check_workflow(
        self, workflow: Mapping[str, Any] | os.PathLike[str], *, strict: bool = False, convert: bool = False
    ) -> wire.WorkflowReport:
        """What would be done with a graph. A graph that would be refused raises nothing: see `verdict`.

        A file that holds no workflow raises Refused, as `read_workflow` does.
        """
        message = wire.CheckWorkflow(await _graph(workflow), strict, convert)
        return await self._link.ask(message, wire.WorkflowReport)

    async def describe_workflow(self, workflow: str) -> wire.WorkflowInputs:
        """The inputs of a configured workflow, for a form. Raises Refused(unknown_workflow)."""
        return await self._link.ask(wire.DescribeWorkflow(workflow), wire.WorkflowInputs)

    async def open_series(
        self, username: str, character: str, *, premade: bool = False, medium: Medium = "image"
    ) -> wire.SeriesInfo:
        return await self._link.ask(wire.OpenSeries(username, character, premade, medium), wire.SeriesInfo)

    async def get_batch(self, batch_id: str) -> wire.BatchInfo:
        return await self._link.ask(wire.GetBatch(batch_id), wire.BatchInfo)

    async def list_batches(
        self, *, username: str | None = None, open_only: bool = False, before: str | None = None, limit: int = 50
    ) -> wire.Batches:
        return await self._link.ask(wire.ListBatches(username, open_only, before, limit), wire.Batches)

    async def get_image(self, image: str) -> wire.ImageInfo:
        """An image by its public id, its file name, or `<batch_id>/<index>`."""
        return await self._link.ask(wire.GetImage(image), wire.ImageInfo)

    async def recipe(self, image: str, *, graph: bool = False) -> wire.Recipe:
        """What made an image; with `graph` also the graph that was sent. Raises Refused(unknown_image)."""
        return await self._link.ask(wire.GetRecipe(image, graph), wire.Recipe)

    async def url_of(self, image: str) -> str:
        """An address of an image's file that a browser shows without a token, until it expires (`[door] file_url_s`).

        `image`: as for `get_image`. Raises Refused(unknown_image) for an image without a file, and where the daemon
        has no address for browsers.
        """
        found = await self.get_image(image)
        if not found.file_url:
            hint = "Ask again when the image is kept. Browsers need a [door] that listens at a port."
            raise Refused(
                "unknown_image", f"The image {found.image_id} is {found.state}; it has no address.", hint=hint
            )
        return found.file_url

    async def file(self, image: str) -> bytes:
        """The file of an image, compared with its sha256. `image`: as for `get_image`.

        At most 256 MiB; `save_file` takes files of any size. Raises Refused: unknown_image for an image without a file,
        store_unavailable with its `retry_after_s`, file_too_large, file_broken.
        """
        return await self._downloader.read(await self._kept(image))

    async def save_file(self, image: str, to: str | os.PathLike[str]) -> Path:
        """Write the file of an image to a disk, and return its path. `image`: as for `get_image`.

        `to`: a folder, in which the file gets its own name, or the path of the file. What is there under this name is
        replaced once the file is whole. Raises Refused as `file`, OSError of the disk.
        """
        return await self._downloader.save(await self._kept(image), to)

    async def thumbnail(self, image: str, size: Size = "small") -> bytes:
        """A WebP of an image: `small` of at most 256 pixels wide and high, `large` of 1024.

        `image`: as for `get_image`. Raises Refused: unknown_image for an image without a file, thumbnail_unsupported
        for a kind of file that has no thumbnails, thumbnail_failed for a file of which none can be made,
        store_unavailable with its `retry_after_s`.
        """
        return await self._downloader.thumbnail(image, size)

    async def thumbnail_url_of(self, image: str, size: Size = "small") -> str:
        """An address of a thumbnail for browsers: a signed one as of `url_of`, or that of a store that scales.

        Raises Refused(unknown_image) as `url_of`, and for a kind of file that has no thumbnails.
        """
        found = await self.get_image(image)
        url = found.thumbnail_large_url if size == "large" else found.thumbnail_url
        if not url:
            text = f"The image {found.image_id} is {found.state}; its thumbnail has no address."
            hint = "Ask again when the image is kept. Not every kind of file has thumbnails."
            raise Refused("unknown_image", text, hint=hint)
        return url

    async def _kept(self, image: str) -> wire.ImageInfo:
        """Raises Refused(unknown_image) for an image without a file."""
        found = await self.get_image(image)
        if not found.sha256 or found.state in {"forgetting", "forgotten"}:
            hint = "An image has its file once it is kept; `wait` for its batch."
            raise Refused("unknown_image", f"The image {found.image_id} is {found.state}; it has no file.", hint=hint)
        return found

    async def list_images(
        self, *, before: str | None = None, limit: int = 50, **filters: Unpack[ImageFilters]
    ) -> wire.Images:
        """A page of images, newest batch first."""
        message = wire.ListImages(before=before, limit=limit, **cast(Any, filters))
        return await self._link.ask(message, wire.Images)

    async def count_images(
        self, *, by: CountBy | None = None, cursors_every: int = 0, **filters: Unpack[ImageFilters]
    ) -> wire.ImageCounts:
        """How many images fit; with `by` in groups, with `cursors_every` where each page of so many begins."""
        message = wire.CountImages(by=by, cursors_every=cursors_every, **cast(Any, filters))
        return await self._link.ask(message, wire.ImageCounts)

    async def list_characters(self, *, before: str | None = None, limit: int = 50) -> wire.Characters:
        """A page of the characters that have defaults, with what each backend lacks for them."""
        return await self._link.ask(wire.ListCharacters(before, limit), wire.Characters)

    async def add_input(
        self, file: str | os.PathLike[str] | bytes | BinaryIO, *, name: str | None = None
    ) -> wire.InputInfo:
        """Send a file for workflows to load: a path, bytes, or an open binary file, which is read to its end.

        Its `input` goes into a request as `{"input": ...}`. The same bytes are the same input file. `name` says what
        bytes are that do not say it themselves; default: the name of the path. It needs no open connection.

        Raises Refused(input_broken, input_too_large, inputs_full, storage_full), OSError of the file.
        """
        return await self._uploader.upload(file, name)

    async def list_inputs(self, *, before: str | None = None, limit: int = 50) -> wire.Inputs:
        """A page of the input files that can be used, newest first."""
        return await self._link.ask(wire.ListInputs(before, limit), wire.Inputs)

    async def forget_input(self, input: str, *, all_labels: bool = False) -> wire.InputInfo:
        """Give up an input file. Raises Refused(input_missing)."""
        return await self._link.ask(wire.ForgetInput(input, all_labels), wire.InputInfo)

    async def add_backend(
        self, name: str, url: str, *, tags: Sequence[str] = (), ttl_s: int = 0, queue_depth: int = 0
    ) -> wire.AddedBackend:
        """Add a ComfyUI, or keep one that was added: with `ttl_s`, repeat the call before so many seconds are over.

        Raises Refused(backend_not_allowed, backend_exists, backends_limit).
        """
        message = wire.AddBackend(name, url, list(tags), ttl_s, queue_depth)
        return await self._link.ask(message, wire.AddedBackend)

    async def remove_backend(self, name: str, *, move: bool = False) -> wire.RemovedBackend:
        """Remove a ComfyUI that was added. Raises Refused(unknown_backend), and Refused(backend_busy) while it has
        prompts, unless they are to `move` to others."""
        return await self._link.ask(wire.RemoveBackend(name, move), wire.RemovedBackend)

    async def give_up_box(self, name: str) -> wire.GivenUpBox:
        """Wait no more for a box that has left the fleet: the images that only it keeps are rendered again.

        Raises Refused(unknown_box, box_present).
        """
        return await self._link.ask(wire.GiveUpBox(name), wire.GivenUpBox)

    async def add_webhook(self, name: str, url: str, *, kinds: Sequence[str] = ()) -> wire.AddedWebhook:
        """Add a webhook, or give one that was added another address or other kinds. The answer has its secret, also if
        it is repeated with equal values.

        Raises Refused(webhook_not_allowed, webhook_exists, webhooks_limit).
        """
        return await self._link.ask(wire.AddWebhook(name, url, list(kinds)), wire.AddedWebhook)

    async def remove_webhook(self, name: str) -> wire.RemovedWebhook:
        """Remove a webhook that was added; what it owes is not delivered. Raises Refused(unknown_webhook)."""
        return await self._link.ask(wire.RemoveWebhook(name), wire.RemovedWebhook)

    async def list_webhooks(self) -> wire.Webhooks:
        """All webhooks, and how their deliveries are."""
        return await self._link.ask(wire.ListWebhooks(), wire.Webhooks)

    async def test_webhook(self, name: str) -> wire.WebhookTested:
        """Send one test request now. Raises Refused(unknown_webhook, webhook_not_allowed)."""
        return await self._link.ask(wire.TestWebhook(name), wire.WebhookTested)

    async def replay_webhook(
        self, name: str, *, since_position: int | None = None, since_ms: int | None = None, dry_run: bool = False
    ) -> wire.WebhookReplayed:
        """Deliver again what was delivered since a position or a time.

        Raises Refused(unknown_webhook, unknown_position), and Refused(nothing_to_do) if there is nothing since then.
        """
        message = wire.ReplayWebhook(name, since_position, since_ms, dry_run)
        return await self._link.ask(message, wire.WebhookReplayed)

    async def activity(
        self, *, since_ms: int | None = None, until_ms: int | None = None, step_s: int = 3_600
    ) -> wire.Activity:
        """What happened in each step of a span; by default in each hour of the last day. Raises Refused(invalid_field).

        While its `more` is true, older steps are missing: ask again.
        """
        return await self._link.ask(wire.GetActivity(since_ms, until_ms, step_s), wire.Activity)

    async def list_checks(self) -> wire.Checks:
        """What `audit` and `doctor` found when they ran last."""
        return await self._link.ask(wire.ListChecks(), wire.Checks)

    async def cancel(self, batch_id: str, images: Sequence[int] = ()) -> wire.ChangedCount:
        return await self._link.ask(wire.Cancel(batch_id, list(images)), wire.ChangedCount)

    async def retry(
        self, batch_id: str, images: Sequence[int] = (), *, take: wire.Take | None = None
    ) -> wire.ChangedCount:
        """Retry what failed, was parked or is held. `take` applies only to runs that gave too many files."""
        return await self._link.ask(wire.Retry(batch_id, list(images), take), wire.ChangedCount)

    async def set_priority(self, batch_id: str, priority: wire.Priority) -> wire.ChangedCount:
        """Make a batch more or less urgent. Raises Refused(nothing_to_do) for a batch that is settled."""
        return await self._link.ask(wire.SetPriority(batch_id, priority), wire.ChangedCount)

    async def review(
        self,
        images: str | Sequence[str],
        *,
        verdict: wire.VerdictAsked | None = None,
        rating: int | None = None,
        forget: bool = False,
        stores: bool = False,
    ) -> wire.Reviewed:
        """Approve, reject or rate images, all of them or none; `none` and 0 take that back.

        `images`: as for `get_image`. `forget`: rejected images are forgotten, with `stores` also what the stores have;
        repeat the call if it failed.
        Raises Refused(unknown_image, no_file).
        """
        named = [images] if isinstance(images, str) else list(images)
        return await self._link.ask(wire.Review(named, verdict, rating, forget, stores), wire.Reviewed)

    async def recover(self, wanted: wire.Recover) -> wire.Recovered:
        """Recover one page: ask again with its `cursor` until there is none. `drop_store` has one page.

        Raises Refused: `store_unavailable` with its `retry_after_s`, `nothing_to_do` if nothing is owed to the store
        that is given up.
        """
        return await self._link.ask(wanted, wire.Recovered)

    async def forget(
        self,
        batch_id: str | None = None,
        images: Sequence[int] = (),
        *,
        username: str | None = None,
        before: str | None = None,
        stores: bool = False,
        dry_run: bool = False,
    ) -> wire.Forgotten:
        """Forget a batch, images of it, or one page of a user's batches. The next page takes `before` of the answer."""
        message = wire.Forget(batch_id, list(images), username, before, stores, dry_run)
        return await self._link.ask(message, wire.Forgotten)

    async def pause(self, scope: str = "everything") -> wire.ChangedCount:
        return await self._link.ask(wire.Pause(scope), wire.ChangedCount)

    async def move(self, scope: str) -> wire.Moved:
        """Pause a ComfyUI, `backend:NAME`, and give the prompts that it has to others."""
        return await self._link.ask(wire.Move(scope), wire.Moved)

    async def resume(self, scope: str = "everything") -> wire.ChangedCount:
        return await self._link.ask(wire.Resume(scope), wire.ChangedCount)

    async def server_info(self, *, fits: bool = False) -> wire.Info:
        """`fits`: also say which configured workflows each ComfyUI can run."""
        return await self._link.ask(wire.ServerInfo(fits), wire.Info)

    async def survey_store(self, store: str, *, prefix: str = "", cursor: str = "") -> wire.Survey:
        """One page of what a store holds. Raises Refused(store_unavailable) with its `retry_after_s`."""
        return await self._link.ask(wire.SurveyStore(store, prefix, cursor), wire.Survey)

    async def raise_series(self, store: str, found: Sequence[wire.SeriesFound]) -> wire.SeriesRaised:
        """Raise 1 to 500 series above the numbers that a store holds. Repeating it changes nothing."""
        return await self._link.ask(wire.RaiseSeries(store, list(found)), wire.SeriesRaised)

    async def read_log(self, wanted: wire.ReadLog) -> wire.LogPage:
        """A page of past events; the next page begins after its `position`. `subscribe` has the events to come."""
        return await self._link.ask(wanted, wire.LogPage)

    async def explain(
        self, what: str, *, username: str | None = None, character: str | None = None
    ) -> wire.Explanation:
        """The history of an image, a batch or a number without an image. Raises Refused(unknown_image)."""
        return await self._link.ask(wire.Explain(what, username, character), wire.Explanation)

    # ---- following

    async def subscribe(
        self,
        *,
        after: int = 0,
        epoch: str | None = None,
        batch_id: str | None = None,
        username: str | None = None,
        kinds: Sequence[str] | None = None,
        progress: bool = False,
        previews: bool = False,
    ) -> AsyncGenerator[Pushed, None]:
        """All events after a position, then new ones, without gap or duplicate, across broken connections.

        Does not end by itself. Raises Refused(epoch_changed) after a restore, Refused(not_running) if the daemon is
        away for longer than the client's timeout.
        """
        names = None if kinds is None else list(kinds)
        feed = Feed(wire.Subscribe(after, epoch, batch_id, username, names, progress, previews))
        try:
            while True:
                while feed.items:
                    yield feed.items.popleft()
                if feed.id:
                    feed.woken.clear()
                    await feed.woken.wait()
                else:
                    await self._link.ask(feed.request(), wire.Subscribed, feed)
        finally:
            self._link.unsubscribe(feed.id)

    async def follow(
        self, batch: Batch, *, progress: bool = False, previews: bool = False
    ) -> AsyncGenerator[Pushed, None]:
        """The events of a batch from its beginning until it is settled. Raises Refused(unknown_batch)."""
        batch_id = id_of(batch)
        await self.get_batch(batch_id)
        pushed = self.subscribe(batch_id=batch_id, progress=progress, previews=previews)
        async with contextlib.aclosing(pushed):
            async for item in pushed:
                yield item
                if (
                    isinstance(item, wire.LoggedEvent)
                    and item.kind == "batch_settled"
                    and await self._is_over(batch_id)
                ):
                    return

    async def _is_over(self, batch_id: str) -> bool:
        """`retry` may have reopened a settled batch; then more events follow."""
        return (await self.get_batch(batch_id)).status in OVER

    async def wait(
        self, batch: Batch, *, timeout_s: float | None = None, on_progress: OnProgress | None = None
    ) -> wire.BatchInfo:
        """Wait until a batch is settled. Returns it with its images. `batch`: the answer to `submit`, or an id.

        `on_progress` gets the batch when something happened, at most once a second, and at the end. `timeout_s`: for
        how long to wait; None for ever. Raises Refused: unknown_batch, timeout.
        """
        states = states_of(self, batch, timeout_s, all_of_them=on_progress is not None)
        async with contextlib.aclosing(states):
            async for state in states:
                if on_progress is not None:
                    on_progress(state)
        return state


async def _graph(workflow: Mapping[str, Any] | os.PathLike[str]) -> dict[str, Any]:
    """A graph that JSON can carry: the one that is given, or that of a file."""
    if isinstance(workflow, os.PathLike):
        return await asyncio.to_thread(read_workflow, workflow)
    return dict(wire.finite(workflow, "$.data.workflow"))
