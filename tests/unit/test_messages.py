"""A message is a value: what becomes of one that is built and forgotten; and what may be a handler at all."""

from __future__ import annotations

import gc
import warnings
from typing import Any, cast

import pytest

from revenant import Entity, Revenant, handler
from revenant.entities.context import running
from revenant.errors import ConfigurationError
from tests.entities import Account

APP = Revenant(entities=[Account], database_url="postgresql://nowhere.invalid/shop")


def forget(message: Any) -> None:
    """Let go of a message, as its sender does who has forgotten to await it."""
    del message
    gc.collect()


def test_a_message_that_is_neither_awaited_nor_sent_warns_and_names_itself() -> None:
    with pytest.warns(RuntimeWarning, match=r"Account\('a'\)\.deposit> was never awaited or sent; nothing happened"):
        forget(APP.ref(Account, "a").deposit(5))


async def test_one_that_was_tried_to_be_sent_in_vain_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = APP.ref(Account, "a").deposit(5)
        with pytest.raises(ConfigurationError, match="before the application was started"):
            await message
        forget(message)
        message = APP.ref(Account, "a").deposit(5)
        with pytest.raises(ConfigurationError, match="before the application was started"):
            await APP.cast(message)
        forget(message)


async def test_a_handler_that_sends_through_an_application_that_only_has_a_worker_is_told_of_its_turn() -> None:
    message = APP.ref(Account, "a").deposit(5)
    within = running.set(cast(Any, object()))
    try:
        with pytest.raises(ConfigurationError, match=r"was sent inside a handler.*Use self\.turn: what turn\.cast"):
            await APP.cast(message)
    finally:
        running.reset(within)
    forget(message)


def test_a_handler_that_is_not_async_is_refused_when_it_is_defined() -> None:
    def deposit(self: Any, amount: int) -> int:
        return amount

    careless: Any = deposit
    with pytest.raises(ConfigurationError, match=r"deposit.*async def"):
        handler(careless)
    with pytest.raises(ConfigurationError, match=r"deposit.*async def"):
        handler(readonly=True)(careless)


def test_a_method_without_the_mark_is_none_that_messages_reach() -> None:
    class Quiet(Entity):
        async def plain(self) -> None: ...

    assert "plain" not in Quiet.entity_handlers
