"""The engine on its ledger, played with in any order, against a model of a hundred lines.

After each move the tables equal the fold of the log and say what the model says, the index of what is owed says what a
fresh one says, and nothing is under way twice. In the end workers succeed, and every image must come to its end.
MACHINE_EXAMPLES and MACHINE_STEPS make it longer; a failure is then made small as well.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, precondition, rule
from msgspec.structs import replace

from comfyledger.core.commands import PauseLane, ResumeLane, SubmitBatch
from comfyledger.core.reports import LaneWorks, Report
from comfyledger.core.results import Accepted, Changed, Wanted
from comfyledger.core.rows import PromptRow
from comfyledger.core.scheduling.effects import (
    Effect,
    FindSources,
    FollowPrompt,
    RemoveInput,
    SubmitPrompt,
    UploadImage,
)
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import decode
from support.core_builders import (
    accepted,
    cancel,
    failed,
    finished,
    fixed,
    gone,
    hold,
    intended,
    interrupted,
    kept,
    left,
    refused,
    release,
    retry,
    stuck,
    unwanted,
    uploaded,
    uploading,
)
from support.input_checks import check_loads
from support.ledger_builders import check_tables, log_of, rows_in, submission
from support.machine_engine import MachineEngine
from support.machine_files import Files
from support.machine_lives import FORGOTTEN, Lives
from support.machine_messages import (
    AREG,
    BOTH,
    IMAGES,
    MARA,
    SPELLED,
    STORE_HOLDS,
    at_a_glance,
    named,
    raising_after,
    said,
    snapshot,
)
from support.machine_model import Model
from support.plain_engine import kept_in_memory
from support.row_checks import check_attempts

LANES = ("everything", "user/areg", "backend/main", "backend/other", "store/folder")
WAYS = ("dies", "silent", "stuck", "refused", "fails", "interrupted", "removed", "lost", "miscounted", "half")
REASONS = ("away", "away", "away", "person", "person", "removed", "replaced")
LARGE = "x" * 200_000

spelled = st.sampled_from(sorted(SPELLED))
quantities = st.integers(1, 4)
some_images = st.lists(st.integers(1, 4), max_size=2).map(tuple)
which = st.integers(0, 30)


class EngineMachine(Lives, Files):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="comfyledger-machine-"))
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.count = 0
        self.answered: list[SubmitBatch] = []
        self.put: set[tuple[str, int, str]] = set()
        self.sound = False
        self.play(self.open(self.folder / "0" / "ledger.db"))

    def play(self, move: Coroutine[Any, Any, None]) -> None:
        self.sound = False
        self.loop.run_until_complete(move)
        self.sound = True

    async def open(self, path: Path) -> None:
        self.life = MachineEngine(path)
        await self.life.begin()

    # ---- submitting

    def command(self, who: tuple[str, str], quantity: int, request: str, **more: Any) -> SubmitBatch:
        self.count += 1
        per_prompt = more.pop("per_prompt", 1)
        made = submission(request, user=who[0], character=who[1], quantity=quantity, trust=SPELLED[who] == AREG, **more)
        outputs = len(made.media)
        return replace(made, batch_id=f"b{self.count}", prompts=fixed(quantity * outputs, per_prompt * outputs))

    def fresh(self, *asked: tuple[tuple[str, str], int]) -> list[SubmitBatch]:
        """Every third is one of images and videos."""
        return [
            self.command(who, quantity, f"fresh {self.count}", media=IMAGES if self.count % 3 else BOTH)
            for who, quantity in asked
        ]

    def take(self, command: SubmitBatch, answer: Any) -> None:
        """Hold an answer to a batch against the model."""
        request, body = (command.label, command.request_id), command.request_digest
        outputs = named(SPELLED[command.username, command.character], command.media)
        if self.model.conflicts(request, body):
            assert isinstance(answer, Refused)
            assert answer.code == "request_id_conflict"
        elif isinstance(answer, Accepted):
            numbers = tuple(image.number for image in answer.images)
            if request in self.model.answered:
                assert answer.repeated
                self.model.repeated(request, body, answer.batch_id, numbers)
            else:
                for series in outputs:
                    self.model.opened(series, STORE_HOLDS[series])
                self.model.accepted(request, body, outputs, answer.batch_id, numbers)
                self.answered.append(command)
        else:
            assert answer.code == "series_unanswered"
            assert (outputs[0], self.life.highest) == (MARA, None)
            assert any(series not in self.model.next or series in self.model.unasked for series in outputs)

    def take_all(self, commands: Sequence[SubmitBatch], answers: Sequence[Any]) -> None:
        """Of one group, in the order of the log: who waits for two series may come after who waits for one of them.

        What was committed before a crash is only now answered.
        """

        def order(pair: tuple[SubmitBatch, Any]) -> tuple[bool, int, bool]:
            answer = pair[1]
            return (False, answer.position, answer.repeated) if isinstance(answer, Accepted) else (True, 0, False)

        for command, answer in sorted(zip(commands, answers, strict=True), key=order):
            self.take(command, answer)

    def asked_stores(self, answering: bool = True) -> None:
        self.life.highest = STORE_HOLDS[MARA] if answering else None

    @rule(
        who=spelled,
        quantity=quantities,
        per_prompt=st.integers(1, 3),
        request=st.sampled_from(["r1", "r2", "r3", "r4", "r5"]),
        label=st.sampled_from(["app", "bot"]),
        body=st.sampled_from(["", "", "other"]),
        media=st.sampled_from([IMAGES, BOTH]),
        answering=st.sampled_from([True, True, False]),
    )
    def submit(self, who: Any, quantity: int, answering: bool, request: str, **more: Any) -> None:
        async def move() -> None:
            self.asked_stores(answering)
            command = self.command(who, quantity, request, **more)
            self.take(command, *await self.life.send(command))

        self.play(move())

    @precondition(lambda self: self.answered)
    @rule(number=which, other=st.booleans())
    def ask_again(self, number: int, other: bool) -> None:
        """Under a request_id that was used: the same words, or others."""

        async def move() -> None:
            asked = replace(self.answered[number % len(self.answered)], batch_id=f"again {number}")
            again = replace(asked, request_digest="other words") if other else asked
            position = self.life.engine.view.position
            self.take(again, *await self.life.send(again))
            assert self.life.engine.view.position == position

        self.play(move())

    @rule(asked=st.lists(st.tuples(spelled, quantities), min_size=2, max_size=4), copies=st.integers(1, 3))
    def submit_at_the_same_time(self, asked: Any, copies: int) -> None:
        async def move() -> None:
            self.asked_stores()
            commands = [command for command in self.fresh(*asked) for _ in range(copies)]
            self.take_all(commands, await self.life.send(*commands))

        self.play(move())

    @rule(asked=st.lists(st.tuples(spelled, quantities), min_size=3, max_size=3))
    def one_message_of_a_group_raises(self, asked: Any) -> None:
        async def move() -> None:
            self.asked_stores()
            commands = self.fresh(*asked)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self.life.ledger, "follow", raising_after(self.life.ledger.follow, commands[1]))
                answers = await self.life.send(*commands)
            assert (type(answers[1]), answers[1].code) == (Refused, "internal")
            self.take_all(commands[::2], answers[::2])

        self.play(move())

    # ---- steering

    def some_batch(self, number: int) -> str:
        """Preferably one that is under way: of random ones most have not begun or are over."""
        batches = sorted({batch_id for batch_id, _ in self.model.images})
        still_open = [batch for batch in batches if not self.model.settled(batch)]
        half_way = [batch for batch in still_open if self.model.in_state(self.model.of(batch), "kept")]
        chosen = (half_way, half_way, still_open, batches)[number % 4] or batches
        return chosen[number % len(chosen)]

    def sized(self, batch_id: str, images: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(index for index in images if (batch_id, index) in self.model.images)

    async def changes(self, command: Any, images: int | None) -> None:
        """A command that changes so many images, or is refused because there is nothing to do (None)."""
        (answer,) = await self.life.send(command)
        if images is None:
            assert (type(answer), answer.code) == (Refused, "nothing_to_do")
        else:
            assert isinstance(answer, Changed)
            assert answer.images == images

    @precondition(lambda self: self.model.images)
    @rule(number=which, images=some_images)
    def cancel(self, number: int, images: tuple[int, ...]) -> None:
        batch = self.some_batch(number)
        chosen = self.sized(batch, images)
        self.play(self.changes(cancel(*chosen, batch=batch), self.model.cancel(batch, chosen)))

    @precondition(lambda self: self.model.images)
    @rule(number=which, images=some_images)
    def retry(self, number: int, images: tuple[int, ...]) -> None:
        batch = self.some_batch(number)
        chosen = self.sized(batch, images)
        self.play(self.changes(retry(*chosen, batch=batch), self.model.retry(batch, chosen)))

    @precondition(lambda self: self.model.images)
    @rule(number=which, on=st.booleans())
    def hold_or_release(self, number: int, on: bool) -> None:
        batch = self.some_batch(number)
        pending = len(self.model.in_state(self.model.of(batch), "pending"))
        done = self.model.hold(batch) if on else self.model.release(batch)
        self.play(self.changes(hold(batch) if on else release(batch), pending if done else None))

    @rule(lane=st.sampled_from(LANES), on=st.booleans())
    def pause_or_resume(self, lane: str, on: bool) -> None:
        done = self.model.pause(lane) if on else self.model.resume(lane)
        self.play(self.changes(PauseLane("app", lane) if on else ResumeLane("app", lane), 0 if done else None))

    # ---- workers

    async def report(self, *reports: Report, twice: bool = False) -> None:
        """What a worker saw; said a second time it changes nothing."""
        for report in reports:
            await self.life.send(report)
            self.worked()
            position = self.life.engine.view.position
            if twice:
                await self.life.send(report)
                assert self.life.engine.view.position == position, f"a doubled report was taken: {report}"

    def worked(self) -> None:
        self.model.worked(*at_a_glance(self.life.path))

    async def go(self, effect: SubmitPrompt | UploadImage) -> bool:
        """Ask whether the work is still wanted, as a worker does before its call goes out."""
        position = self.life.engine.view.position
        if isinstance(effect, SubmitPrompt):
            question: Report = intended(effect.prompt, effect.attempt, batch=effect.batch_id, backend=effect.backend)
        else:
            question = uploading(effect.image.index, effect.store, batch=effect.image.batch_id)
        (answer,) = await self.life.send(question)
        assert isinstance(answer, Wanted)
        if isinstance(effect, SubmitPrompt) and self.life.engine.view.position > position:
            self.model.began(effect.batch_id, effect.prompt, effect.attempt)
        return answer.go

    async def end(self, effect: Effect, way: str = "well", twice: bool = False) -> None:
        """One effect under way comes to its end."""
        going = way not in {"dies", "silent"}
        if going and isinstance(effect, FindSources | RemoveInput):
            await self.sees_to(effect)
            going = False
        if isinstance(effect, SubmitPrompt | UploadImage):
            going = await self.go(effect) and going
        if going:
            await self.report(*said(effect, way, self.life.path), twice=twice)
            if isinstance(effect, UploadImage) and way not in {"stuck", "refused"}:
                self.put.add((effect.image.batch_id, effect.image.index, effect.store))
            if way == "well" and self.life.engine.view.in_trouble(effect.lane) and not isinstance(effect, FollowPrompt):
                await self.report(LaneWorks(effect.lane))
        under = self.life.under[effect.key]
        if way == "dies":
            under.end.set_exception(RuntimeError("a worker died"))
        else:
            under.end.set_result(None)
        await self.life.rest()

    @precondition(lambda self: self.life.under)
    @rule(numbers=st.lists(which, min_size=3, max_size=12), twice=st.booleans(), store_waits=st.booleans())
    def workers_succeed(self, numbers: list[int], twice: bool, store_waits: bool) -> None:
        async def move() -> None:
            for number in numbers:
                under = [one for one in self.life.under.values() if not store_waits or one.effect.kind != "upload"]
                if under:
                    await self.end(under[number % len(under)].effect, "well", twice)

        self.play(move())

    @precondition(lambda self: self.life.under)
    @rule(number=which, way=st.sampled_from(WAYS), twice=st.booleans())
    def a_worker_comes_to_grief(self, number: int, way: str, twice: bool) -> None:
        under = list(self.life.under.values())
        self.play(self.end(under[number % len(under)].effect, way, twice))

    @precondition(lambda self: self.life.under)
    @rule(
        leaving=st.lists(st.tuples(which, st.sampled_from(REASONS), st.booleans()), min_size=3, max_size=6),
        ways=st.lists(st.tuples(which, st.sampled_from(["well"] * 8 + list(WAYS)), st.booleans()), min_size=6),
        twice=st.booleans(),
    )
    def prompts_are_left_behind(self, leaving: list[tuple[int, Any, bool]], ways: Any, twice: bool) -> None:
        """They begin elsewhere, and what was left ends in all the ways there are, before or after its successor."""

        async def move() -> None:
            await self.all_that_may_begin()
            for number, reason, running in leaving:
                if self.live:
                    await self.is_left(self.live[number % len(self.live)], reason, running=running, twice=twice)
            await self.all_that_may_begin()
            for number, way, strays in ways:
                followed = [one.effect for one in self.life.under.values() if isinstance(one.effect, FollowPrompt)]
                chosen = [one for one in followed if self.is_stray(one) == strays]
                if chosen:
                    await self.end(chosen[number % len(chosen)], way, twice)

        self.play(move())

    def is_stray(self, effect: FollowPrompt) -> bool:
        row = rows_in(self.life.path)["prompt", effect.batch_id, effect.prompt]
        return isinstance(row, PromptRow) and row.stray(effect.attempt) is not None

    async def all_that_may_begin(self) -> None:
        for under in list(self.life.under.values()):
            if isinstance(under.effect, SubmitPrompt):
                await self.end(under.effect)

    async def is_left(self, row: PromptRow, reason: Any, *, running: bool, twice: bool) -> None:
        """No image changes. What is left is looked after, or given up if nobody can be asked for it."""
        states = at_a_glance(self.life.path)
        await self.report(left(row.index, row.attempt, reason, running=running, batch=row.batch_id), twice=twice)
        assert at_a_glance(self.life.path) == states
        after = rows_in(self.life.path)["prompt", row.batch_id, row.index]
        assert isinstance(after, PromptRow)
        is_gone, is_left = reason in {"removed", "replaced"}, after.state == "queued"
        assert is_left or row.waiting or (row.strikes and not is_gone)
        assert (after.stray(row.attempt) is not None) == (is_left and not is_gone)

    @property
    def live(self) -> list[PromptRow]:
        """The prompts that have an attempt which may be left behind."""
        rows = rows_in(self.life.path).values()
        states = {"submitting", "accepted", "finished"}
        return [row for row in rows if isinstance(row, PromptRow) and row.state in states]

    @precondition(lambda self: self.model.images)
    @rule(number=which, prompt=st.integers(1, 4), behind=st.integers(1, 3), nowhere=st.booleans())
    def late_and_foreign_reports_change_nothing(self, number: int, prompt: int, behind: int, nowhere: bool) -> None:
        async def move() -> None:
            batch = "nowhere" if nowhere else self.some_batch(number)
            row = rows_in(self.life.path).get(("prompt", batch, prompt))
            attempt = row.attempt - behind if isinstance(row, PromptRow) else behind
            if isinstance(row, PromptRow) and row.stray(attempt) is not None:
                return
            position = self.life.engine.view.position
            makers = (intended, accepted, refused, finished, failed, interrupted, gone, left)
            reports: list[Any] = [make(prompt, attempt, batch=batch) for make in makers]
            reports += [kept(1, 2, prompt=prompt, attempt=attempt, batch=batch)]
            reports += [make(9, batch=batch) for make in (uploading, uploaded, unwanted)]
            reports += [uploaded(1, "elsewhere", batch=batch)]
            await self.life.send(*reports)
            assert self.life.engine.view.position == position

        self.play(move())

    @rule(ms=st.sampled_from([500, 1_000, 30_000, 120_000]))
    def time_passes(self, ms: int) -> None:
        self.play(self.life.wait(ms))

    # ---- disks and deaths

    @rule(asked=st.tuples(spelled, quantities), dies=st.booleans(), number=which)
    def the_disk_is_full_for_a_while(self, asked: Any, dies: bool, number: int) -> None:
        async def move() -> None:
            self.asked_stores()
            before, position = snapshot(self.life.path), self.life.engine.view.position
            await self.life.room(0)
            large = self.command(("Areg", "Opal Fever"), asked[1], f"fresh {self.count}", prompt=f"{self.count}{LARGE}")
            (answer,) = await self.life.send(large)
            assert (type(answer), answer.code) == (Refused, "storage_full")
            assert (snapshot(self.life.path), self.life.engine.view.position) == (before, position)
            if dies:
                await self.die(0, large, *self.fresh(asked))
            else:
                works = self.life.post(stuck("store/folder", f"trouble {number}"))
                await self.life.room(100_000)
                assert await works[0] is None
                self.take(large, *await self.life.send(large))

        self.play(move())

    async def die(self, statements: int, *commands: SubmitBatch) -> None:
        """Die with batches under way; the apps, which had no answer, ask again."""
        left = await self.life.die(self.folder / f"after {self.count}", statements, *commands)
        shutil.rmtree(self.life.path.parent)
        await self.open(left)
        self.asked_stores()
        self.worked_out_of(commands)
        self.take_all(commands, await self.life.send(*commands))

    def worked_out_of(self, commands: tuple[SubmitBatch, ...]) -> None:
        """Nothing that was acknowledged is gone; what may be there beside it is what had no answer yet."""
        rows = snapshot(self.life.path)
        unanswered = {command.batch_id for command in commands}
        assert {image: state for image, state in rows["images"].items() if image[0] not in unanswered} == (
            self.model.images
        )

    @rule(statements=st.integers(0, 70), asked=st.lists(st.tuples(spelled, quantities), min_size=1, max_size=3))
    def crash(self, statements: int, asked: Any) -> None:
        async def move() -> None:
            self.asked_stores()
            self.count += 1
            await self.die(statements, *self.fresh(*asked))

        self.play(move())

    @rule()
    def stop_and_start(self) -> None:
        async def move() -> None:
            await self.life.stop()
            await self.open(self.life.path)

        self.play(move())

    # ---- what always holds

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        self.sound = False
        check_tables(self.life.path)
        check_loads(rows_in(self.life.path))
        self.model.check(snapshot(self.life.path))
        events = [decode(line.kind, line.schema, line.data) for line in log_of(self.life.path)]
        check_attempts(events, rows_in(self.life.path).values())
        self.loop.run_until_complete(self.life.check_index())
        for under in self.life.under.values():
            effect = under.effect
            if isinstance(effect, UploadImage):
                assert (effect.image.batch_id, effect.image.index, effect.store) not in self.put, "uploaded twice"
        self.sound = True

    def teardown(self) -> None:
        try:
            if self.sound:
                self.loop.run_until_complete(self.everything_ends())
            self.loop.run_until_complete(self.life.stop())
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)

    async def everything_ends(self) -> None:
        """Once nothing is stopped and nothing goes wrong, every image is stored but those that were cancelled or that
        are made from such a one.
        """
        await self.life.send(*(ResumeLane("app", lane) for lane in sorted(self.model.paused)))
        batches = sorted({batch_id for batch_id, _ in self.model.images})
        await self.all_settle(batches)
        again = [batch for batch in batches if self.model.retry(batch, ()) is not None]
        await self.life.send(*(retry(batch=batch) for batch in again))
        await self.all_settle(again)
        failed = set(self.model.in_state(self.model.images, "failed"))
        assert failed <= self.failed_for_want_of_a_source()
        assert set(self.model.images.values()) <= {"stored", "cancelled", "failed", *FORGOTTEN}
        assert all(row.is_over for row in rows_in(self.life.path).values() if isinstance(row, PromptRow))
        assert kept_in_memory(self.life.engine._state.owed) == 0
        check_tables(self.life.path)

    async def all_settle(self, batches: list[str]) -> None:
        for _ in range(500):
            await self.life.send(*(release(batch) for batch in sorted(self.model.held)))
            self.model.held.clear()
            for under in list(self.life.under.values()):
                await self.end(under.effect)
            if not self.life.under:
                await self.life.wait(60_000)
            if not self.life.under:
                break
        assert all(self.model.settled(batch) for batch in batches)


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(
    max_examples=int(os.environ.get("MACHINE_EXAMPLES", "11")),
    stateful_step_count=int(os.environ.get("MACHINE_STEPS", "25")),
    deadline=None,
    derandomize="MACHINE_EXAMPLES" not in os.environ,
    phases=set(Phase) if "MACHINE_EXAMPLES" in os.environ else {Phase.reuse, Phase.generate},
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
