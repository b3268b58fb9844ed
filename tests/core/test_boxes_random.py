"""Whatever becomes of the boxes of a fleet, no two of them upload one image unbidden, and every image comes to an end.

A run is a list of moves: boxes work and fail in every way, die, sleep, wake, are declared left, return, are given up;
people steer. After each move the rows are sound, and no effect is owned by two boxes. At the end some boxes return, and
the others are given up: then every batch must settle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from comfyledger.core.commands import LeaveBox, PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.events import BoxJoined, BoxLeft, ImageKept, ImageLost, ImageTakenOver
from comfyledger.core.reports import LaneWorks
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow
from comfyledger.core.scheduling.effects import EffectKey, UploadImage
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import EVERYTHING, backend_lane, store_lane
from support.core_builders import cancel, dropping, forget, hold, owing, release, retry, submit, taking
from support.plain_engine import kept_in_memory
from support.plain_fleet import ORPHAN_AFTER_MS, PlainBox, PlainFleet
from support.row_checks import check_attempts, check_batch, check_fold, check_numbers, rows_of
from support.wrong_ends import end

BATCHES = ("b1", "b2")
STORES = ("folder", "cloud")
BOXES = {"east": ["a"], "north": ["a", "b"], "south": ["a"]}
DEPTH = 2
LATE = 5
"""How far a box comes back: to its next work, and just in time."""
LANES = (EVERYTHING, *map(store_lane, STORES), backend_lane("north.a"), backend_lane("south.a"))
Move = Callable[[PlainFleet], None]

batches = st.sampled_from(BATCHES)
indexes = st.lists(st.integers(1, 5), max_size=2).map(tuple)
names = st.sampled_from(tuple(BOXES))
few = st.integers(0, 9)
lanes = st.sampled_from(LANES)

submits = st.builds(
    lambda batch, quantity, per_prompt, into, user: submit(
        batch, quantity, per_prompt=per_prompt, into=into, user=user, body=f"{quantity}"
    ),
    batches,
    st.integers(1, 5),
    st.integers(1, 2),
    st.sampled_from([("folder",), ("cloud",), STORES]),
    st.sampled_from(["Areg", "Mara"]),
)
steering = st.one_of(
    submits,
    st.builds(lambda batch, images: cancel(*images, batch=batch), batches, indexes),
    st.builds(lambda batch, images: retry(*images, batch=batch), batches, indexes),
    st.builds(lambda batch, images: forget(*images, batch=batch, stores=True), batches, indexes),
    st.builds(lambda take, batch: taking(take, batch=batch), st.sampled_from(["first", "last"]), batches),
    st.builds(dropping, st.sampled_from(STORES), batches),
    st.builds(lambda images, batch: owing(*images, store="cloud", batch=batch), indexes, batches),
    st.builds(hold, batches),
    st.builds(release, batches),
    st.builds(lambda lane: PauseLane("app", lane), lanes),
    st.builds(lambda lane: ResumeLane("app", lane), lanes),
)


# ---- moves


def chosen(fleet: PlainFleet, name: str) -> PlainBox | None:
    """The box, if it is awake, or another one that is."""
    awake = fleet.awake()
    return next((box for box in awake if box.name == name), awake[0] if awake else None)


def asking(name: str, *messages: Message) -> Move:
    def move(fleet: PlainFleet) -> None:
        if box := chosen(fleet, name):
            box.post(messages)

    return move


def working(name: str, ends: list[tuple[int, int]]) -> Move:
    """A box takes what is owed to it, and some of what it runs ends, in one of many ways; also if it was declared left
    and does not know it.
    """

    def move(fleet: PlainFleet) -> None:
        box = fleet[name]
        if box.is_asleep:
            return
        for which, how in ends:
            box.take()
            running = list(box.running.values())
            if running:
                end(box, running[which % len(running)], how)

    return move


def untold(name: str, which: int, *, dies: bool) -> Move:
    """A box puts an image into its store, and dies or falls asleep before it can say so."""

    def move(fleet: PlainFleet) -> None:
        box = fleet[name]
        if box.is_asleep:
            return
        box.take()
        uploads = [effect for effect in box.running.values() if isinstance(effect, UploadImage)]
        if uploads:
            box.put(uploads[which % len(uploads)])
            (box.die if dies else box.fall_asleep)()

    return move


def falling(name: str, *, dies: bool) -> Move:
    def move(fleet: PlainFleet) -> None:
        if not fleet[name].is_asleep:
            (fleet[name].die if dies else fleet[name].fall_asleep)()

    return move


def declaring(name: str) -> Move:
    def move(fleet: PlainFleet) -> None:
        others = [box for box in fleet.awake() if box.name != name]
        if others and fleet.row(name).present and fleet[name].is_asleep:
            fleet.declare_left(name)

    return move


def stopping(name: str) -> Move:
    """A daemon is stopped, and says so."""

    def move(fleet: PlainFleet) -> None:
        box = fleet[name]
        if box in fleet.awake():
            box.post(LeaveBox("fleet", name, box.term, "stopped"))
            box.die()

    return move


def giving_up(name: str) -> Move:
    def move(fleet: PlainFleet) -> None:
        if not fleet.row(name).present and fleet.awake():
            fleet.give_up(name)

    return move


def waking(name: str) -> Move:
    """One that slept wakes up as what it was; one that died is started."""

    def move(fleet: PlainFleet) -> None:
        box = fleet[name]
        if box.is_asleep:
            (box.start if box.is_dead else box.wake)()

    return move


def joining(name: str) -> Move:
    """One that was declared left and is awake finds that out."""

    def move(fleet: PlainFleet) -> None:
        box = fleet[name]
        if not box.is_asleep and not fleet.row(name).present:
            box.join()

    return move


def tending(fleet: PlainFleet) -> None:
    for box in fleet.awake():
        box.move()
        box.take_up_orphans()


def finding_orphans(fleet: PlainFleet) -> None:
    """What is found out now is reported later, when it may be true no more."""
    fleet.late += [(box.name, report) for box in fleet.awake() for report in box.about_orphans()]


def reporting_late(fleet: PlainFleet) -> None:
    late, fleet.late = fleet.late, []
    for name, report in late:
        if not fleet[name].is_asleep:
            fleet[name].post(report)


def waiting(ms: int) -> Move:
    def move(fleet: PlainFleet) -> None:
        fleet.wait(ms)

    return move


def many(*parts: Move) -> Move:
    def move(fleet: PlainFleet) -> None:
        for part in parts:
            part(fleet)

    return move


def fate(name: str, leaves: Move, works: list[Move], given_up: bool, knows: bool, comes: int) -> Move:
    """A box that has work leaves in the middle of it, the others take it up, and the box comes back: not at all, not
    knowing that it had left, or knowing it at once; or just before the others report what it seems to have lost.
    """
    ends = working(name, [(0, 0)] * 6)
    after = giving_up(name) if given_up else waiting(ORPHAN_AFTER_MS)
    back = [waking(name), *([] if knows else [ends]), joining(name)]
    if comes == LATE:
        then = [finding_orphans, *back, reporting_late, ends]
    else:
        then = [tending, *works, tending, *[*back, ends][:comes]]
    return many(working(name, [(0, 0)] * 8), leaves, declaring(name), after, *then)


ends = st.lists(st.tuples(few, st.sampled_from([*range(6, 17), *[0] * 40])), min_size=1, max_size=10)
works = st.builds(working, names, ends)
leaving = st.one_of(
    st.builds(falling, names, dies=st.booleans()),
    st.builds(untold, names, few, dies=st.booleans()),
    st.builds(stopping, names),
)
returning = st.one_of(st.builds(waking, names), st.builds(joining, names))
fates = names.flatmap(
    lambda name: st.builds(
        fate,
        st.just(name),
        st.one_of(
            st.builds(untold, st.just(name), few, dies=st.booleans()),
            st.builds(falling, st.just(name), dies=st.booleans()),
        ),
        st.lists(works, max_size=4),
        st.booleans(),
        st.booleans(),
        st.integers(0, LATE),
    )
)
moves = st.one_of(
    *[works] * 5,
    fates,
    fates,
    st.builds(asking, names, steering),
    st.builds(asking, names, steering),
    leaving,
    leaving,
    st.builds(declaring, names),
    st.builds(declaring, names),
    st.builds(giving_up, names),
    returning,
    returning,
    st.just(tending),
    st.just(tending),
    st.sampled_from([500, 30_000, ORPHAN_AFTER_MS]).map(waiting),
)
runs = st.builds(
    lambda first, rest: [asking("north", submit("b1", first, into=STORES)), *rest],
    st.integers(2, 5),
    st.lists(moves, min_size=10, max_size=25),
)


# ---- what always holds


def check_apart(fleet: PlainFleet) -> None:
    """No effect is owned by two boxes that take part, and each owns what it would after a restart."""
    seen: set[EffectKey] = set()
    for box in fleet.awake():
        wanted = box.owed._effects.wanted
        assert seen.isdisjoint(wanted), "two boxes own it"
        seen |= wanted.keys()
        fresh = PendingWork(box.limits)
        fresh.apply(fleet.ledger.open_rows(), box.now_ms)
        assert wanted == fresh._effects.wanted


def check_uploads(fleet: PlainFleet) -> None:
    """Between uploads of one image into one store by two boxes, the first one lost the image, or had it taken over."""
    events = [entry.event for entry in fleet.ledger.log]
    last: dict[tuple[str, int, str], tuple[int, str]] = {}
    for position, box, batch_id, image, store in fleet.begun:
        before, by = last.get((batch_id, image, store), (position, box))
        if by != box:
            assert any(_lets_go(event, batch_id, image) for event in events[before:position]), "two boxes upload it"
        last[batch_id, image, store] = position, box


def _lets_go(event: object, batch_id: str, image: int) -> bool:
    match event:
        case ImageLost(batch_id=batch, images=images):
            return batch == batch_id and image in images
        case ImageTakenOver(batch_id=batch, image=index):
            return (batch, index) == (batch_id, image)
    return False


def check_losses(fleet: PlainFleet) -> None:
    """A box that takes part loses an image only if it says so itself."""
    at: dict[tuple[str, int], str] = {}
    present: set[str] = set()
    for entry, by in zip(fleet.ledger.log, fleet.deciders, strict=True):
        match entry.event:
            case BoxJoined(box=box):
                present.add(box)
            case BoxLeft(box=box):
                present.discard(box)
            case ImageKept(batch_id=batch_id, image=image, box=box):
                at[batch_id, image] = box
            case ImageTakenOver(batch_id=batch_id, image=image, box=box, before=before):
                assert (at[batch_id, image], by) == (before, box)
                assert before not in present
                at[batch_id, image] = box
            case ImageLost(batch_id=batch_id, images=(image,)):
                box = at.pop((batch_id, image))
                assert box == by or box not in present, "another box says so"


def check_depth(fleet: PlainFleet) -> None:
    there = Counter(row.backend for row in rows_of(fleet.ledger, PromptRow) if row.at_comfyui)
    assert max(there.values(), default=0) <= DEPTH


def check(fleet: PlainFleet) -> None:
    ledger = fleet.ledger
    check_numbers(ledger)
    for batch in rows_of(ledger, BatchRow):
        check_batch(ledger, batch)
    check_attempts([entry.event for entry in ledger.log], ledger.rows.values())
    assert all(entry.event.box in BOXES for entry in ledger.log if isinstance(entry.event, ImageKept))
    check_apart(fleet)
    check_uploads(fleet)
    check_losses(fleet)
    check_depth(fleet)


def check_all_can_end(fleet: PlainFleet, gone: tuple[str, ...]) -> None:
    """Once boxes that are `gone` are given up, the others are back, and nothing is stopped or goes wrong any more."""
    for name, box in fleet.boxes.items():
        if name not in gone and (box.is_asleep or not fleet.row(name).present):
            (box.start if box.is_dead else box.join)()
    for name in gone:
        if fleet.row(name).present:
            fleet[name].die()
            fleet.declare_left(name)
        fleet[name].die()
        fleet.give_up(name)
    one = fleet.awake()[0]
    one.post(ResumeLane("app", lane) for lane in LANES)
    one.post(LaneWorks(row.name) for row in rows_of(fleet.ledger, LaneRow) if row.code)
    one.post(release(batch) for batch in BATCHES)
    fleet.work()
    one.post(taking("first", batch=batch) for batch in BATCHES)
    fleet.work()
    assert all(batch.settled for batch in rows_of(fleet.ledger, BatchRow))
    assert all(prompt.is_over for prompt in rows_of(fleet.ledger, PromptRow))
    for row in rows_of(fleet.ledger, ImageRow):
        for upload in row.uploads if row.state == "stored" else ():
            assert upload.state in {"stored", "dropped"}
            assert upload.state == "dropped" or (upload.store, row.public_id) in fleet.stored
    for box in fleet.awake():
        box.wait(3_600_000).take()
        assert kept_in_memory(box.owed) == 0


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs, st.sampled_from([(), (), ("south",), ("east",), ("east", "north")]))
def test_whatever_becomes_of_its_boxes_a_fleet_uploads_nothing_twice_and_every_image_can_end(
    played: list[Move], gone: tuple[str, ...]
) -> None:
    fleet = PlainFleet(BOXES, DEPTH)
    for move in played:
        move(fleet)
        check(fleet)
    check_fold(fleet.ledger)
    check_all_can_end(fleet, gone)
    check(fleet)
