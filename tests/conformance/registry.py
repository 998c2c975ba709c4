"""The workflows that stand for the handlers which the published cases describe, by the cases' numbers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from revenant import Workflow, workflow

HANDLERS: dict[str, Workflow[Any, Any]] = {}


def case(*numbers: str) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], None]:
    """Have this code be what these cases start."""

    def mark(code: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        for number in numbers:
            HANDLERS[number] = workflow(name=f"case {number}")(code)

    return mark
