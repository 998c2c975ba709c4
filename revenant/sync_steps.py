"""External steps for blocking code: what `Sync` hands out as they are claimed; each of its doors waits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from revenant.client.external import ExternalStep

Do = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
"""Has the application's loop run what the function makes, and waits for it."""


class BlockingExternalStep:
    """One external step that this process has claimed: the same names as `ExternalStep`, and each waits.

    `with` it, so that the claim is renewed while you work.
    """

    def __init__(self, *, step: ExternalStep, do: Do) -> None:
        self.name = step.name
        self.token = step.token
        self.workflow = step.workflow
        self.run_id = step.run_id
        self.attempt = step.attempt
        self.idempotency_key = step.idempotency_key
        self.args = step.args
        self.behind = step
        """That of the async application, for its own loop only."""
        self._do = do

    def __repr__(self) -> str:
        return repr(self.behind)

    def __enter__(self) -> Self:
        self._do(self.behind.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(lambda: self.behind.__aexit__(kind, error, trace))

    def renew(self, seconds: float | None = None) -> None:
        """Hold it longer; see `ExternalStep.renew`."""
        self._do(lambda: self.behind.renew(seconds))

    def complete(self, result: Any = None) -> None:
        """End the step with its result; see `ExternalStep.complete`."""
        self._do(lambda: self.behind.complete(result))

    def fail(self, error: BaseException | str, *, retryable: bool = True) -> None:
        """End this attempt as failed; see `ExternalStep.fail`."""
        self._do(lambda: self.behind.fail(error, retryable=retryable))
