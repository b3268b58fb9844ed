"""Laws of backends that come, change and go while prompts wait: who gets what is then as if it had always been so."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import PauseLane, SubmitBatch
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, SubmitPrompt
from comfyledger.core.scheduling.fit import ALL_INPUTS
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import backend_lane
from support.core_builders import accepted, fallen, hold, intended, refused, release, stuck, submit
from support.plain_engine import PlainEngine, kept_in_memory

FLUX = frozenset({"flux"})
ONE = Limits({"a": 2})
TWO = Limits({"a": 2, "b": 2})
WHY = "Node 5 is missing."


def engine(limits: Limits, *messages: object) -> PlainEngine:
    return PlainEngine(limits).given(*messages)  # type: ignore[arg-type]


def change(lived: PlainEngine, limits: Limits, *anew: str) -> PlainEngine:
    """From now on there are the backends of these limits."""
    lived.limits = limits
    lived.owed.set_backends(
        limits.queue_depths, limits.tags, limits.move_after_ms, limits.no_secrets, lived.now_ms, anew
    )
    return lived


def sent(effects: list[Effect]) -> list[tuple[str, int, str]]:
    return [(one.batch_id, one.prompt, one.backend) for one in effects if isinstance(one, SubmitPrompt)]


def backends(effects: list[Effect]) -> set[str]:
    return {backend for _, _, backend in sent(effects)}


def secret(batch: str, quantity: int) -> SubmitBatch:
    asked = submit(batch, quantity)
    return replace(asked, plan={**asked.plan, "secrets": ["5.key"]})


# ---- as if it had always been so


def shape(owed: PendingWork) -> dict[str, Any]:
    """What decides who gets what, without the order in which it came."""
    queue = owed._queue
    classes = queue._classes
    return {
        "waits": {prompt: (queued.of.key, queued.of.backends) for prompt, queued in queue._queued.items()},
        "there": {name: (places.depth, places.there) for name, places in queue._places.items()},
        "free": list(queue._places) if set(queue._free) == set(queue._places) else set(queue._free),
        "serves": {name: one.key for name, one in classes.serves.items()},
        "working": classes._working,
        "servers": classes._servers,
        "unserved": {backends: len(unserved) for backends, unserved in classes._unserved.items()},
    }


def made_with(lived: PlainEngine) -> PendingWork:
    """An index that has had the present backends from the start and gets the same rows."""
    owed = PendingWork(lived.limits)
    owed.apply(lived.ledger.open_rows(), lived.now_ms)
    return owed


class Life:
    """A farm whose backends change at random, while batches come, and prompts are sent and end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lived = PlainEngine(TWO)
        self.count = 0

    def step(self) -> None:
        self.lived.wait(self.chance.choice([0, 10, 2_000]))
        self.chance.choice([self.ask, self.ask, self.work, self.work, self.change, self.pause])()

    def ask(self) -> None:
        self.count += 1
        needs = self.chance.choice([(), (), ("flux",), ("fast",), ("flux", "fast")])
        pin = self.chance.choice(["", "", "", "a", "c"])
        user, priority = self.chance.choice(["Areg", "Mara", "Nino"]), self.chance.randrange(3)
        quantity = self.chance.randint(1, 4)
        self.lived.given(submit(f"b{self.count}", quantity, user=user, needs=needs, backend=pin, priority=priority))

    def work(self) -> None:
        self.lived.take()
        running = list(self.lived.running.values())
        others = [one for one in running if not isinstance(one, SubmitPrompt)]
        for effect in [one for one in running if isinstance(one, SubmitPrompt)]:
            self.lived.perform(effect)
        for effect in self.chance.sample(others, len(others) // 2):
            self.lived.perform(effect)

    def change(self) -> None:
        names = self.chance.sample("abcd", self.chance.randint(1, 4))
        tags = {name: frozenset(self.chance.sample(["flux", "fast"], self.chance.randint(0, 2))) for name in names}
        change(self.lived, Limits({name: self.chance.randint(1, 3) for name in names}, tags))

    def pause(self) -> None:
        lane = backend_lane(self.chance.choice("abcd"))
        self.lived.given(stuck(lane) if self.chance.random() < 0.5 else PauseLane(lane, "Areg"))


@pytest.mark.parametrize("seed", range(30))
def test_after_a_change_all_wait_where_they_would_if_it_had_always_been_so(seed: int) -> None:
    life = Life(seed)
    for _ in range(80):
        life.step()
        life.work()
        life.change()
        found, meant = shape(life.lived.owed), shape(made_with(life.lived))
        for one in ("waits", "there", "working"):
            assert found[one] == meant[one]


@pytest.mark.parametrize("seed", range(30))
def test_the_picks_are_those_of_an_index_that_had_these_backends_from_the_start(seed: int) -> None:
    chance = random.Random(seed)
    users = ["Areg", "Mara", "Nino"]
    asked = [
        submit(f"b{number}", chance.randint(1, 5), user=chance.choice(users), priority=chance.randrange(3))
        for number in range(8)
    ]
    before = Limits(dict.fromkeys(chance.sample("abcd", 2), 2))
    after = Limits({name: chance.randint(1, 3) for name in chance.sample("abcd", 3)})
    changed, meant = change(engine(before, *asked), after), engine(after, *asked)
    assert shape(changed.owed) == shape(meant.owed)
    for _ in range(40):
        effects = changed.take()
        assert effects == meant.take()
        for lived in (changed, meant):
            for effect in list(lived.running.values()):
                lived.perform(effect)
    assert kept_in_memory(changed.owed) == 0


def test_to_say_the_same_backends_again_changes_no_turn() -> None:
    asked = [submit("b1", 9), submit("b2", 9, user="Mara"), submit("b3", 9, user="Nino", priority=2)]
    often, never = engine(TWO, *asked), engine(TWO, *asked)
    for _ in range(30):
        change(often, TWO)
        assert sent(often.take()) == sent(never.take())
        for lived in (often, never):
            for effect in list(lived.running.values()):
                lived.perform(effect)
            lived.wait(1_000)


# ---- one that comes


def test_a_new_backend_gets_what_waits() -> None:
    lived = engine(ONE, submit("b1", 9))
    assert backends(lived.take()) == {"a"}
    assert backends(change(lived, TWO).take()) == {"b"}


def test_a_new_backend_with_a_tag_gets_what_nobody_could_run() -> None:
    lived = engine(ONE, submit("b1", 1, needs=("flux",)), submit("b2", 1, backend="b"))
    assert not lived.take()
    taken = sent(change(lived, Limits({"a": 2, "b": 2}, {"b": FLUX})).take())
    assert sorted(taken) == [("b1", 1, "b"), ("b2", 1, "b")]


def test_a_new_backend_without_the_tag_gets_nothing_that_needs_it() -> None:
    lived = engine(Limits({"a": 2}, {"a": FLUX}), submit("b1", 9, needs=("flux",)))
    lived.take()
    assert not change(lived, Limits({"a": 2, "b": 2}, {"a": FLUX})).take()


def test_what_is_at_a_backend_that_comes_back_takes_its_places() -> None:
    lived = engine(TWO, submit("b1", 9))
    for effect in lived.take():
        lived.given(intended(effect.prompt, backend=effect.backend))  # type: ignore[attr-defined]
    change(lived, ONE)
    assert not sent(change(lived, TWO).take())


def test_a_backend_in_trouble_does_not_work_when_it_comes() -> None:
    lived = engine(ONE, stuck(backend_lane("b")), submit("b1", 9))
    assert backends(change(lived, TWO).take()) == {"a"}


# ---- one that changes


def test_a_depth_that_changes_counts_at_once() -> None:
    lived = engine(ONE, submit("b1", 9))
    assert len(lived.take()) == 2
    assert len(change(lived, Limits({"a": 5})).take()) == 3
    assert not change(lived, Limits({"a": 1})).take()
    assert backends(change(lived, Limits({"a": 5, "b": 9})).take()) == {"b"}


def test_a_tag_that_goes_takes_what_waits_elsewhere() -> None:
    lived = engine(Limits({"a": 1, "b": 1}, {"a": FLUX, "b": FLUX}), submit("b1", 9, needs=("flux",)))
    lived.take()
    change(lived, Limits({"a": 3, "b": 3}, {"b": FLUX}))
    assert backends(lived.take()) == {"b"}


def test_a_backend_that_stays_keeps_what_it_refused_and_another_server_does_not() -> None:
    lived = engine(TWO, submit("b1", 9))
    lived.owed.refuse("a", lived.ledger.batch("b1").template, ALL_INPUTS, WHY, 0)
    assert backends(change(lived, TWO).take()) == {"b"}
    assert backends(change(lived, TWO, "a").take()) == {"a"}
    lived.owed.refuse("a", lived.ledger.batch("b1").template, ALL_INPUTS, WHY, 0)
    change(lived, Limits({"b": 2}))
    assert backends(change(lived, Limits({"a": 9, "b": 2})).take()) == {"a"}, "it may be another by now"


def test_another_server_under_an_old_name_has_nothing_loaded() -> None:
    lived = engine(ONE, submit("b1", 1))
    lived.work()
    assert lived.owed._queue._classes.serves
    change(lived, ONE, "a")
    assert not lived.owed._queue._classes.serves
    assert not lived.owed._queue._classes._servers


def waits_at(lived: PlainEngine) -> dict[int, frozenset[str] | None]:
    return {prompt: queued.of.backends for (_, prompt), queued in lived.owed._queue._queued.items()}


def test_what_is_known_of_one_prompt_counts_for_that_one_alone() -> None:
    three = Limits({"a": 2, "b": 2, "c": 2})
    lived = engine(TWO, submit("b1", 4), intended(1, backend="a"), accepted(1), fallen(1))
    lived.given(intended(2, backend="b"), refused(2, elsewhere=("a",)))
    assert waits_at(change(lived, three)) == {3: None, 4: None, 1: frozenset("a"), 2: frozenset("ac")}
    assert waits_at(change(lived, Limits({"b": 2, "c": 2}))) == {3: None, 4: None, 1: None, 2: frozenset("c")}


def test_what_is_known_of_a_prompt_counts_when_its_backend_comes_back() -> None:
    lived = engine(TWO, submit("b1", 4), intended(1, backend="b"), accepted(1), fallen(1))
    lived.given(intended(2, backend="b"), refused(2, elsewhere=("a",)))
    assert set(waits_at(change(lived, Limits({"a": 2, "c": 2}))).values()) == {None}
    assert waits_at(change(lived, Limits({"a": 2, "b": 2, "c": 2}))) == {
        1: frozenset("b"),
        2: frozenset("ac"),
        3: None,
        4: None,
    }


def test_what_refuses_a_graph_gets_none_of_its_prompts_after_a_change() -> None:
    lived = engine(TWO, submit("b1", 3))
    lived.owed.refuse("a", lived.ledger.batch("b1").template, ALL_INPUTS, WHY, 0)
    assert set(waits_at(change(lived, Limits({"a": 2, "b": 2, "c": 2}))).values()) == {frozenset("bc")}


# ---- one that goes


def test_what_waits_for_a_backend_that_went_goes_to_the_others() -> None:
    lived = engine(TWO, submit("b1", 9))
    lived.owed.refuse("a", lived.ledger.batch("b1").template, ALL_INPUTS, WHY, 0)
    assert not sent(change(lived, Limits({"b": 0})).take())[2:]
    lived.work()
    assert lived.ledger.batch("b1").settled


def test_what_is_pinned_to_a_backend_that_went_waits() -> None:
    lived = engine(TWO, submit("b1", 1, backend="b"), submit("b2", 1))
    assert sent(change(lived, ONE).take()) == [("b2", 1, "a")]
    assert sent(change(lived, TWO).take()) == [("b1", 1, "b")]


def test_a_submit_to_a_backend_that_went_is_sent_to_another_at_once() -> None:
    lived = engine(TWO, submit("b1", 3))
    first = next(one for one in lived.take() if sent([one])[0][2] == "b")
    change(lived, Limits({"a": 9}))
    lived.done(first)
    assert ("b1", 2, "a") in sent(lived.take())


def test_a_suspect_whose_backend_went_goes_elsewhere_also_if_it_waited_to_run_alone() -> None:
    lived = engine(TWO, submit("b1", 9))
    at_a = [prompt for _, prompt, backend in sent(lived.take()) if backend == "a"]
    for prompt in at_a:
        lived.given(intended(prompt, backend="a"), accepted(prompt))
    lived.given(fallen(at_a[0]))
    lived.done(*(one for one in list(lived.running.values()) if sent([one])))
    lived.wait(5_000).take()
    assert lived.owed._queue._alone == {"a": ("b1", at_a[0])}
    change(lived, Limits({"b": 9})).work()
    assert lived.ledger.batch("b1").settled


@pytest.mark.parametrize(
    "after",
    [
        Limits({"a": 2, "b": 2}, tags={"b": FLUX}),
        Limits({"a": 2, "b": 2}, tags={"a": FLUX, "b": FLUX}, no_secrets=frozenset("a")),
    ],
)
def test_a_suspect_goes_elsewhere_once_its_backend_may_not_have_its_batch(after: Limits) -> None:
    asked = replace(secret("b1", 1), needs=("flux",))
    lived = engine(replace(TWO, tags={"a": FLUX, "b": FLUX}), asked, intended(backend="a"), accepted(), fallen())
    assert set(waits_at(lived).values()) == {frozenset("a")}
    assert sent(change(lived, after).take()) == [("b1", 1, "b")]


def test_a_suspect_that_waits_to_run_alone_where_it_never_was_leaves_with_that_backend() -> None:
    lived = engine(Limits({"b": 9, "c": 9}), submit("b1", 9), intended(1, backend="a"), accepted(1), fallen(1))
    for _ in range(20):
        lived.take()
        if lived.owed._queue._alone:
            break
        lived.done(next(one for one in lived.running.values() if sent([one])))
        lived.wait(1_000)
    (backend,) = lived.owed._queue._alone
    left = ({"b", "c"} - {backend}).pop()
    change(lived, Limits({left: 9})).work()
    assert lived.ledger.batch("b1").settled


def test_what_held_batches_have_is_not_queued_by_a_change() -> None:
    lived = engine(ONE, submit("b1", 3), hold("b1"))
    assert not change(lived, TWO).take()
    assert backends(lived.given(release("b1")).take()) == {"a", "b"}


# ---- secrets


def test_what_has_secrets_goes_only_where_secrets_may_go() -> None:
    lived = engine(Limits({"a": 9, "b": 9}, no_secrets=frozenset({"b"})), secret("b1", 2), submit("b2", 2))
    taken = sent(lived.take())
    assert {backend for batch, _, backend in taken if batch == "b1"} == {"a"}
    assert "b" in {backend for batch, _, backend in taken if batch == "b2"}


def test_what_has_secrets_waits_until_a_backend_is_trusted() -> None:
    lived = engine(Limits({"a": 9}, no_secrets=frozenset({"a"})), secret("b1", 2))
    assert not lived.take()
    assert len(change(lived, Limits({"a": 9})).take()) == 2


# ---- nothing is kept


def test_backends_that_come_and_go_leave_nothing() -> None:
    lived = engine(ONE)
    for number in range(200):
        name = f"gpu-{number}"
        change(lived, Limits({"a": 1, name: 2}, {name: FLUX}))
        lived.given(submit(f"b{number}", 2), submit(f"c{number}", 1, needs=("flux",))).work()
        assert lived.ledger.batch(f"c{number}").settled
    change(lived, ONE)
    owed, classes = lived.owed, lived.owed._queue._classes
    assert kept_in_memory(owed) == 0
    assert list(owed._queue._places) == list(owed._queue._free) == list(classes.serves) == ["a"]
    assert not owed._effects.calls
    assert not owed._lanes._trouble
