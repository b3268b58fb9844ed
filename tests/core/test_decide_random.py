"""Whatever comes in whatever order, the ledger stays sound, nothing is done twice, and every image can come to an end.

A run is a list of moves: groups of commands, reports that fit or do not, workers that take what is owed and end in
every way there is, crashes, time. After each move the rows are checked; at the end everything that people or troubles
stopped is let go on, workers succeed, and every batch must settle.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from comfyledger.core.commands import MadeFrom, OpenSeries, PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.sources import has_bytes, has_ended
from comfyledger.core.events import ImageKept
from comfyledger.core.reports import ImageIsLost, LaneWorks, SeriesAnswered
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Row
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import (
    Effect,
    FetchPrompt,
    FollowPrompt,
    PromptEffect,
    StoreEffect,
    SubmitPrompt,
    UploadImage,
)
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import (
    EVERYTHING,
    Evidence,
    ImageAt,
    LoadedFile,
    VerdictAsked,
    backend_lane,
    store_lane,
    user_lane,
)
from support.core_builders import (
    PlainLedger,
    accepted,
    cancel,
    deleted,
    dropping,
    ended,
    failed,
    fallen,
    foreign,
    forget,
    gone,
    hold,
    intended,
    interrupted,
    kept,
    laid_by,
    left,
    owing,
    prioritizing,
    raising,
    refused,
    release,
    renumbering,
    restoring,
    retry,
    reviewing,
    series,
    sources_of,
    stores,
    stuck,
    submit,
    taking,
    unfit,
    unwanted,
    uploaded,
    uploading,
    wrote,
)
from support.plain_engine import PlainEngine, kept_in_memory
from support.review_checks import check_reviews
from support.row_checks import check_attempts, check_batch, check_fold, check_numbers, rows_of
from support.wrong_ends import end

BATCHES = ("b1", "b2", "b3")
STORES = ("folder", "cloud")
BACKENDS = ("main", "other", "third")
FARMS = (BACKENDS[:2], BACKENDS)
REASONS: tuple[Any, ...] = ("away", "person", "removed", "replaced")
USERS = ("Areg", "Mara")
LANES = (
    EVERYTHING,
    *(user_lane(user.casefold()) for user in USERS),
    *map(store_lane, STORES),
    *map(backend_lane, BACKENDS),
)
MANY = 10_000
WIDE = Limits({}, fetches_max=MANY, uploads_max=MANY, cancels_max=MANY, sources_max=MANY)
NARROW = Limits({}, uploads_max=2, fetches_max=2, cancels_max=1, sources_max=2, priority_age_ms=5_000)
VERDICTS: tuple[VerdictAsked | None, ...] = (None, "approved", "rejected", "none")
Resolve = Callable[[PlainLedger], Message]
Move = Callable[["Run"], None]

batch_ids = st.sampled_from((*BATCHES, "nowhere"))
some_images = st.lists(st.integers(0, 5), max_size=3).map(tuple)


# ---- messages


def sources_before(batch: str) -> st.SearchStrategy[tuple[ImageAt, ...]]:
    """Images of earlier batches, which may not exist, or none."""
    earlier = BATCHES[: BATCHES.index(batch)]
    if not earlier:
        return st.just(())
    some = st.lists(
        st.builds(ImageAt, st.sampled_from(earlier), st.sampled_from([1, 1, 1, 2, 3])), min_size=1, max_size=2
    )
    return st.one_of(st.just(()), some.map(tuple))


def submits_of(*batches: str) -> st.SearchStrategy[Message]:
    return st.sampled_from(batches).flatmap(submits_to)


def submits_to(batch: str) -> st.SearchStrategy[Message]:
    return st.builds(
        lambda quantity, per_prompt, user, into, backend, priority, trust, outputs, sources: submit(
            batch,
            quantity,
            per_prompt=per_prompt,
            body=f"{quantity} of {outputs}",
            outputs=outputs,
            user=user,
            into=into,
            backend=backend,
            priority=priority,
            trust=trust,
            loads=tuple(LoadedFile(f"{place}.image", one) for place, one in enumerate(sources, 5)),
            depth=BATCHES.index(batch) if sources else 0,
        ),
        st.integers(1, 5),
        st.integers(1, 3),
        st.sampled_from(USERS),
        st.sampled_from([(), ("folder",), STORES]),
        st.sampled_from(["", "", "", *BACKENDS[:2]]),
        st.integers(0, 2),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([1, 1, 2, 3]),
        sources_before(batch),
    )


made = st.lists(st.builds(MadeFrom, batch_ids, st.lists(st.integers(0, 3), max_size=3).map(tuple)), max_size=3)
EVERY = tuple(MadeFrom(batch, (1, 2, 3, 4, 5)) for batch in BATCHES)
lanes = st.sampled_from(LANES)
found = st.tuples(st.sampled_from(USERS), st.integers(1, 60))
answers = st.builds(
    lambda user, highest: SeriesAnswered(series(user), (Evidence("folder", "folder:/there", highest),)),
    st.sampled_from(USERS),
    st.integers(-2, 60),
)
steering = st.one_of(
    st.builds(lambda batch, images: cancel(*images, batch=batch), batch_ids, some_images),
    st.builds(lambda batch, images: retry(*images, batch=batch), batch_ids, some_images),
    st.builds(lambda batch: retry(batch=batch, also=EVERY), batch_ids),
    st.builds(lambda images, batch, also: retry(*images, batch=batch, also=also), some_images, batch_ids, made),
    st.builds(
        lambda take, batch, user: taking(take, batch=batch, user=user, outputs=3),
        st.sampled_from(["first", "last", "all"]),
        batch_ids,
        st.sampled_from(USERS),
    ),
    st.builds(
        lambda batches, store: dropping(store, *batches), st.lists(batch_ids, max_size=3), st.sampled_from(STORES)
    ),
    st.builds(
        lambda batch, images, stores: forget(*images, batch=batch, stores=stores),
        batch_ids,
        some_images,
        st.booleans(),
    ),
    st.builds(hold, batch_ids),
    st.builds(release, batch_ids),
    st.builds(
        lambda images, verdict, rating: reviewing(*images, verdict=verdict, rating=rating),
        st.lists(st.builds("{}/{}".format, batch_ids, st.integers(0, 5)), max_size=3),
        st.sampled_from(VERDICTS),
        st.sampled_from([None, 0, 3]),
    ),
    st.builds(prioritizing, st.integers(0, 2), batch_ids),
    st.builds(
        lambda images, store, batch: owing(*images, store=store, batch=batch),
        some_images,
        st.sampled_from(STORES),
        batch_ids,
    ),
    st.builds(
        lambda images, batch, user: renumbering(*images, batch=batch, user=user),
        some_images,
        batch_ids,
        st.sampled_from(USERS),
    ),
)
lane_news = st.one_of(
    st.builds(lambda lane: PauseLane("app", lane), lanes),
    st.builds(lambda lane: ResumeLane("app", lane), lanes),
    st.builds(lambda lane: ResumeLane("app", lane), lanes),
    st.builds(stuck, lanes, st.sampled_from(["not_reached", "credentials"])),
    st.builds(LaneWorks, lanes),
    st.builds(LaneWorks, lanes),
    st.builds(lambda user: OpenSeries("app", series(user), stores("folder")), st.sampled_from(USERS)),
    answers,
    st.builds(lambda *found, store: raising(*found, store=store), found, found, store=st.sampled_from(STORES)),
    st.builds(lambda one, first: restoring(one, margin=5, first=first), found, st.sampled_from([1, 6])),
)


def rogue_prompt_report(kind: int, batch: str, prompt: int, ahead: int, count: int) -> Resolve:
    """A report that no worker made: of any attempt near the present one, of any prompt. None begins an attempt."""

    def resolve(ledger: PlainLedger) -> Message:
        row = ledger.rows.get(("prompt", batch, prompt))
        attempt = ahead + (row.attempt if isinstance(row, PromptRow) else 0)
        queued = isinstance(row, PromptRow) and row.state == "queued"
        loads = row.loads if isinstance(row, PromptRow) else ()
        return (
            intended(prompt, attempt + (7 if queued and ahead == 1 else 0), batch=batch),
            accepted(prompt, attempt, batch=batch),
            refused(prompt, attempt, batch=batch, elsewhere=("other",) * (count % 2)),
            wrote(prompt, attempt, files=(count, count % 2), batch=batch, code="oom" if count == 3 else ""),
            failed(prompt, attempt, batch=batch),
            interrupted(prompt, attempt, batch=batch),
            (fallen if count > 2 else gone)(prompt, attempt, restarted=count > 1, batch=batch),
            kept(*range(count), prompt=prompt, attempt=attempt, batch=batch),
            kept(count, count, prompt=prompt, attempt=attempt, batch=batch),
            laid_by(count, prompt, attempt, batch=batch),
            ImageIsLost(batch, count, STORES[count % 2], prompt, attempt),
            unfit(prompt, attempt, batch=batch),
            sources_of(batch, *(replace(load, sha256=f"{count}") for load in loads), prompt=prompt),
            ended(batch, BATCHES[count % 2], prompt=prompt, image=count),
            left(prompt, attempt, REASONS[count % 4], running=count > 2, batch=batch),
        )[kind]

    return resolve


rogues = st.builds(
    rogue_prompt_report, st.integers(0, 14), batch_ids, st.integers(-1, 4), st.integers(-2, 2), st.integers(0, 4)
)
image_reports = st.builds(
    lambda make, image, store, batch: make(image, store, batch=batch),
    st.sampled_from([uploading, uploaded, unwanted, deleted, foreign]),
    st.integers(-1, 6),
    st.sampled_from((*STORES, "elsewhere")),
    batch_ids,
)


def plain(message: Message) -> Resolve:
    return lambda _: message


plain_messages = st.one_of(submits_of(*BATCHES), steering, steering, steering, lane_news, image_reports)
messages = st.one_of(plain_messages.map(plain), plain_messages.map(plain), rogues)


# ---- moves


class Run:
    """An engine, and a second index that is fed alike but never asked, so that nothing of it ever runs."""

    def __init__(self, backends: tuple[str, ...]) -> None:
        self.wide = replace(WIDE, queue_depths=dict.fromkeys(backends, MANY))
        self.engine = PlainEngine(replace(NARROW, queue_depths=dict.fromkeys(backends, 2)))
        self.feed_both()

    def feed_both(self) -> None:
        self.quiet = PendingWork(self.wide)
        feed = self.engine.owed.apply

        def apply(rows: Iterable[Row], now_ms: int) -> None:
            rows = list(rows)
            feed(rows, now_ms)
            self.quiet.apply(rows, now_ms)

        self.engine.owed.apply = apply  # type: ignore[method-assign]

    def restart(self) -> None:
        self.engine.restart()
        self.feed_both()
        self.quiet.apply(self.engine.ledger.open_rows(), self.engine.now_ms)


def send(*resolves: Resolve) -> Move:
    def move(run: Run) -> None:
        run.engine.post([resolve(run.engine.ledger) for resolve in resolves])

    return move


def take(run: Run) -> None:
    fetched = {(one.batch_id, one.prompt) for one in run.engine.running.values() if isinstance(one, FetchPrompt)}
    for effect in run.engine.take():
        check_effect(run.engine.ledger, effect)
        begins = isinstance(effect, SubmitPrompt) and not effect.resumed
        assert not begins or (effect.batch_id, effect.prompt) not in fetched  # type: ignore[attr-defined]


def end_one(which: int, how: int) -> Move:
    """One of the running effects ends: well, or in one of the ways in which work goes wrong."""

    def move(run: Run) -> None:
        running = list(run.engine.running.values())
        if running:
            end(run.engine, running[which % len(running)], how)

    return move


def leave(which: int, reason: Any, running: bool) -> Move:
    """A live attempt is left behind, or is to be."""

    def move(run: Run) -> None:
        may_be_left = {"submitting", "accepted", "finished"}
        rows = [row for row in rows_of(run.engine.ledger, PromptRow) if row.state in may_be_left]
        if rows:
            row = rows[which % len(rows)]
            run.engine.post(left(row.index, row.attempt, reason, running=running, batch=row.batch_id))

    return move


def begin(run: Run) -> None:
    """What may go to a backend goes there."""
    take(run)
    for effect in list(run.engine.running.values()):
        if isinstance(effect, SubmitPrompt):
            run.engine.perform(effect)


def end_followed(which: int, how: int, *, strays: bool) -> Move:
    """An attempt that was left behind ends, or another one: with all of its files, or in one of the other ways."""

    def move(run: Run) -> None:
        engine = run.engine
        take(run)
        followed = [one for one in engine.running.values() if isinstance(one, FollowPrompt)]
        chosen = [one for one in followed if strays == _is_stray(engine, one)]
        if chosen:
            effect = chosen[which % len(chosen)]
            if how == 0:
                counts = engine.files_expected(effect)
                engine.post(wrote(effect.prompt, effect.attempt, files=counts, batch=effect.batch_id))
                engine.done(effect)
            else:
                end(engine, effect, how)

    return move


def _is_stray(engine: PlainEngine, effect: PromptEffect) -> bool:
    return engine.ledger.prompt(effect.prompt, effect.batch_id).stray(effect.attempt) is not None


def wait(ms: int) -> Move:
    def move(run: Run) -> None:
        run.engine.wait(ms)

    return move


ends = st.builds(end_one, st.integers(0, 9), st.sampled_from([*range(17), 0, 0, 0, 0, 9, 9, 11]))
working = st.lists(ends, min_size=1, max_size=8).map(lambda each: many(take, *each))
few = st.integers(0, 9)
leaving = st.builds(leave, few, st.sampled_from([*REASONS, "away", "away"]), st.booleans())
followed = st.builds(end_followed, few, st.sampled_from([0, 0, 0, *range(7, 17)]), strays=st.booleans())
moving = st.lists(st.one_of(leaving, followed, st.just(take), st.just(begin), ends), min_size=1, max_size=8).map(
    lambda each: many(begin, *each)
)
meddling = st.lists(messages, min_size=1, max_size=4).map(lambda group: send(*group))
moves = st.one_of(
    working,
    working,
    working,
    meddling,
    meddling,
    moving,
    moving,
    moving,
    st.sampled_from([0, 500, 1_000, 30_000]).map(wait),
    st.just(Run.restart),
)
runs = st.builds(
    lambda first, rest: [send(*map(plain, first)), *rest],
    st.tuples(*(submits_of(batch) for batch in BATCHES)),
    st.lists(moves, min_size=15, max_size=30),
)


def many(*parts: Move) -> Move:
    def move(run: Run) -> None:
        for part in parts:
            part(run)

    return move


# ---- what always holds


def check_effect(ledger: PlainLedger, effect: Effect) -> None:
    """What is handed out fits the rows, and nobody has stopped it."""
    paused = {row.name for row in rows_of(ledger, LaneRow) if row.person}
    if isinstance(effect, StoreEffect):
        state = "kept" if isinstance(effect, UploadImage) else "forgetting"
        assert ledger.image(effect.image.index, effect.image.batch_id).state == state
        assert paused.isdisjoint({EVERYTHING, effect.lane})
    elif isinstance(effect, SubmitPrompt) and not effect.resumed:
        batch, prompt = ledger.batch(effect.batch_id), ledger.prompt(effect.prompt, effect.batch_id)
        assert (prompt.state, prompt.next_attempt, batch.held) == ("queued", effect.attempt, "")
        assert batch.backend in {"", effect.backend}
        assert not prompt.lacks_sources
        assert paused.isdisjoint({EVERYTHING, effect.lane, user_lane(batch.user_key)})


def check_depth(run: Run) -> None:
    """At most `queue_depth` prompts of ours are in a ComfyUI, or on their way to it; a suspect is there alone."""
    ledger = run.engine.ledger
    there = {(row.batch_id, row.index): row.backend for row in rows_of(ledger, PromptRow) if row.at_comfyui}
    coming = {
        (effect.batch_id, effect.prompt): effect.backend
        for effect in run.engine.running.values()
        if isinstance(effect, SubmitPrompt)
        and ledger.prompt(effect.prompt, effect.batch_id).state == "queued"
        and ledger.prompt(effect.prompt, effect.batch_id).next_attempt == effect.attempt
    }
    placed = there | coming
    taken = Counter(placed.values())
    assert max(taken.values(), default=0) <= run.engine.limits.queue_depths["main"]
    suspects = (name for (batch_id, index), name in placed.items() if ledger.prompt(index, batch_id).strikes)
    assert all(taken[name] == 1 for name in suspects)


def check_strays(run: Run) -> None:
    """Each stray is followed and cancelled where it was left, and nothing else is that is not live."""
    owed = {
        key: getattr(effect, "backend", "")
        for key, effect in run.engine.owed._effects.wanted.items()
        if key[0] in _TAKING_OUT
    }
    for row in rows_of(run.engine.ledger, PromptRow):
        for stray in row.strays:
            for kind in _TAKING_OUT:
                assert owed.pop((kind, row.batch_id, row.index, stray.attempt)) == stray.backend
        if row.state in {"accepted", "cancelling"}:
            assert owed.pop(("follow", row.batch_id, row.index, row.attempt)) == row.backend
        if row.state == "cancelling":
            assert owed.pop(("cancel", row.batch_id, row.index, row.attempt)) == row.backend
    assert not owed, "nobody asked for this"


_TAKING_OUT = ("follow", "cancel")


def check_fetches(run: Run) -> None:
    """The files of all attempts of a prompt have the same places in the spool, so one fetch writes there."""
    fetched = Counter((one.batch_id, one.prompt) for one in run.engine.running.values() if isinstance(one, FetchPrompt))
    assert max(fetched.values(), default=0) <= 1, "files of two attempts are mixed"


def check_sources(run: Run) -> None:
    """Nothing is sent without its sources. A prompt that waits for some is being looked at, or is about to be, unless
    they are still to come.
    """
    ledger, owed = run.engine.ledger, run.engine.owed
    later = {key for _, key in owed._effects.later}
    awake = (
        {key for calls in owed._effects.calls.values() for key in calls._waiting} | later | owed._effects.running.keys()
    )
    for row in rows_of(ledger, PromptRow):
        assert not (row.lacks_sources and (row.at_comfyui or row.state == "finished")), f"sent without sources: {row}"
        key = ("sources", row.batch_id, row.index, 0)
        waits = row.state == "queued" and row.lacks_sources and not ledger.batch(row.batch_id).held
        assert (key in owed._effects.wanted) == waits
        if waits and key not in awake:
            sources = sources_in(ledger, row)
            assert not any(map(has_ended, sources)), f"nobody ends {row}"
            assert not all(map(has_bytes, sources)), f"nobody begins {row}"


def sources_in(ledger: PlainLedger, prompt: PromptRow) -> list[ImageRow | None]:
    places = [("image", load.source.batch_id, load.source.image) for load in prompt.loads if load.source is not None]
    return [ledger.rows.get(place) for place in places]  # type: ignore[misc]


def check_index(run: Run) -> None:
    """The index that was fed row by row says what a fresh one says that is filled after a crash."""
    now_ms = run.engine.now_ms + 3_600_000
    fresh = PendingWork(run.wide)
    fresh.apply(run.engine.ledger.open_rows(), run.engine.now_ms)
    assert run.quiet._effects.wanted == fresh._effects.wanted
    assert run.quiet.open_counts() == fresh.open_counts()
    assert says(copy.deepcopy(run.quiet), now_ms) == says(fresh, now_ms)


def says(owed: PendingWork, now_ms: int) -> tuple[set[Any], Counter[str], set[tuple[str, int]]]:
    """What an index would start: by key, and of lanes in trouble how many calls, whichever come first.

    Which prompts begin depends on what was before, so of these it counts which begin or wait for it.
    """
    effects = owed.take(now_ms)
    begun = {(one.batch_id, one.prompt) for one in effects if isinstance(one, SubmitPrompt) and not one.resumed}
    others = [one for one in effects if not isinstance(one, SubmitPrompt) or one.resumed]
    probes = [one.lane for one in others if owed.in_trouble(one.lane) and one.kind != "follow"]
    keys = {one.key for one in others if one.lane not in probes}
    return keys, Counter(probes), begun | set(owed._queue._queued)


def check(run: Run) -> None:
    ledger = run.engine.ledger
    check_numbers(ledger)
    for batch in rows_of(ledger, BatchRow):
        check_batch(ledger, batch)
    events = [entry.event for entry in ledger.log]
    check_attempts(events, ledger.rows.values())
    check_reviews(ledger.log, ledger.rows.values())
    kept_files = [event for event in events if isinstance(event, ImageKept)]
    assert all(f"-a{event.attempt}" in event.sha256 for event in kept_files), "a file of another attempt than it says"
    check_depth(run)
    check_strays(run)
    check_fetches(run)
    check_sources(run)
    check_index(run)


def check_all_wait_for_a_choice(ledger: PlainLedger) -> None:
    """What is still open waits for an image of which a person must choose the file, or for what waits for that."""
    for prompt in rows_of(ledger, PromptRow):
        if prompt.state != "done":
            sources = [image for image in sources_in(ledger, prompt) if image is not None]
            assert any(image.awaits_choice or image.state == "pending" for image in sources), f"not done: {prompt}"
    undecided = {image.batch_id for image in rows_of(ledger, ImageRow) if image.awaits_choice}
    open_still = [batch.batch_id for batch in rows_of(ledger, BatchRow) if not batch.settled]
    assert undecided or not open_still


def check_all_can_end(run: Run) -> None:
    """Once nothing is stopped and nothing goes wrong, every batch settles and the index is empty."""
    engine = run.engine
    engine.post(ResumeLane("app", lane) for lane in LANES)
    engine.post(LaneWorks(lane) for lane in LANES)
    engine.post(release(batch) for batch in BATCHES)
    engine.work()
    check_all_wait_for_a_choice(engine.ledger)
    engine.post(taking("first", batch=batch) for batch in BATCHES)
    engine.work()
    assert all(batch.settled for batch in rows_of(engine.ledger, BatchRow))
    assert all(prompt.is_over for prompt in rows_of(engine.ledger, PromptRow))
    engine.wait(3_600_000).take()
    assert kept_in_memory(engine.owed) == 0
    assert kept_in_memory(run.quiet) == 0


@settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FARMS), runs)
def test_after_any_messages_the_ledger_is_sound_and_every_image_can_end(
    backends: tuple[str, ...], played: list[Move]
) -> None:
    run = Run(backends)
    for move in played:
        move(run)
        check(run)
    check_fold(run.engine.ledger)
    check_all_can_end(run)
    check(run)
    run.engine.post(retry(batch=batch, also=EVERY) for batch in BATCHES)
    check(run)
    check_all_can_end(run)
    check_fold(run.engine.ledger)
