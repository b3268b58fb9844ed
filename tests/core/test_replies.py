"""The reply that a command declares is the one that its rule gives."""

import typing

import pytest

from comfyledger.core.commands import Command
from comfyledger.core.decide.decide import _COMMANDS
from comfyledger.core.results import SeriesUnknown


def _declared(command: type[Command[typing.Any]]) -> typing.Any:
    (base,) = command.__orig_bases__  # type: ignore[attr-defined]
    return typing.get_args(base)[0]


@pytest.mark.parametrize("command", _COMMANDS, ids=lambda one: one.__name__)
def test_a_rule_gives_the_reply_that_its_command_declares(command: type[Command[typing.Any]]) -> None:
    given = typing.get_type_hints(_COMMANDS[command])["return"]
    kinds = set(typing.get_args(given)) or {given}
    assert kinds - {SeriesUnknown} == {_declared(command)}
