"""Laws of the clock of turns: it knows whose turn was longest ago and who had more than others, and it forgets."""

from __future__ import annotations

from comfyledger.core.scheduling.turns import LEAD_MAX, NEVER, SHARE, Turns


def waiting(*users: str) -> Turns:
    turns = Turns()
    for user in users:
        turns.enter(user)
    return turns


def test_who_comes_for_the_first_time_had_less_than_anybody() -> None:
    turns = waiting("areg", "mara")
    turns.take("mara")
    assert turns.lead("areg") == NEVER < turns.lead("mara")


def test_users_who_take_turns_have_no_lead() -> None:
    turns = waiting("areg", "mara", "ann")
    for _ in range(50):
        for user in ("areg", "mara", "ann"):
            turns.take(user)
    assert all(abs(turns.lead(user)) <= SHARE for user in ("areg", "mara", "ann"))


def test_who_is_alone_has_no_lead_when_others_come() -> None:
    turns = waiting("areg")
    for _ in range(500):
        turns.take("areg")
    turns.enter("mara")
    assert turns.lead("areg") == 0


def test_more_than_a_share_is_a_lead_and_less_is_a_lag() -> None:
    turns = waiting("areg", "mara")
    turns.take("mara")
    for _ in range(10):
        turns.take("areg")
    assert turns.lead("areg") == 10 * SHARE - 10 * SHARE // 2
    assert turns.lead("mara") < 0 < turns.lead("areg")


def test_a_lead_and_a_lag_are_bounded_and_a_debt_is_worked_off() -> None:
    turns = waiting("areg", "mara")
    turns.take("mara")
    for _ in range(10_000):
        turns.take("areg")
    assert (turns.lead("areg"), turns.lead("mara")) == (LEAD_MAX, -LEAD_MAX)
    for _ in range(2 * LEAD_MAX // SHARE):
        turns.take("mara")
    assert turns.lead("areg") <= 0


def test_a_user_counts_in_parts_where_it_waits_in_several_places() -> None:
    turns = waiting("areg", "areg", "areg", "mara")
    assert (turns.share("areg"), turns.share("mara")) == (SHARE // 3, SHARE)


def test_a_stranger_goes_before_the_others_but_not_before_those_who_have_waited_for_two_rounds() -> None:
    turns = waiting("areg", "mara")
    late = turns.take("mara")
    for _ in range(10):
        early = turns.take("areg")
    assert late < turns.enter("ann")[0] < early


def test_strangers_go_in_the_order_in_which_they_came() -> None:
    turns = waiting("areg")
    entries = [turns.enter(f"user {number}") for number in range(20)]
    assert entries == sorted(entries)


def test_nothing_is_remembered_when_nobody_waits() -> None:
    turns = waiting("areg", "mara")
    turns.take("areg")
    turns.leave("areg")
    turns.leave("mara")
    assert not turns._had
    assert not turns._waiting


def test_users_who_went_long_ago_are_forgotten() -> None:
    turns = waiting("areg")
    for number in range(1_000):
        user = f"user {number}"
        turns.enter(user)
        turns.take(user)
        turns.take("areg")
        turns.leave(user)
    assert len(turns._had) < 10
