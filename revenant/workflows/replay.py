"""Replay: runs a workflow's code by hand, without an event loop: to the same answers, the same questions.

Invariant: what the code does next depends on nothing but the answers it has been given, and their order.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from revenant.errors import ConfigurationError
from revenant.eventloop import Unlooped
from revenant.workflows.operation import Awaited, Gather, Mapped, Operation, Part, Race

in_code: ContextVar[bool] = ContextVar("revenant_in_code", default=False)
"""Whether the code of a workflow runs here and now: what it does past its flow would be done again by each replay."""


class _CodeAlone(Unlooped):
    """While this is entered, the code of a workflow runs: no generator, since it is entered for each answer."""

    __slots__ = ("_hooks", "_token")

    def __enter__(self) -> None:
        self._token = in_code.set(True)
        super().__enter__()
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, _finish)

    def __exit__(self, *_: object) -> None:
        sys.set_asyncgen_hooks(*self._hooks)
        super().__exit__()
        in_code.reset(self._token)


class Suspended(BaseException):
    """Thrown into code that is put aside, so that it unwinds; not an Exception, so that nobody swallows it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation came to: a value, or what is raised where it was awaited."""

    value: Any = None
    error: BaseException | None = None


NOTHING = Answer()


class Strand:
    """One line of the code's execution: the whole of it, or a part of a gather, map or race."""

    __slots__ = ("coroutine", "dead", "group", "place", "waits")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], group: Group | None, place: int) -> None:
        self.coroutine = coroutine
        self.group = group
        self.place = place
        self.waits: int | Group | None = None
        """The number of an operation, or a group."""
        self.dead = False


@dataclass(slots=True, eq=False)
class Group:
    """Strands that run side by side for another one."""

    owner: Strand
    what: Gather | Mapped | Race
    strands: set[Strand] = field(default_factory=set)
    results: dict[int, Any] = field(default_factory=dict)
    more: Iterator[Part] | None = None
    count: int = 0


class Replay:
    """The code of one run, as far as it has come."""

    def __init__(self, *, asks: Callable[[int, Operation[Any]], Answer | None]) -> None:
        self._asks = asks
        """Told of each operation; returns the answer of those that are answered at once."""
        self._ready: deque[tuple[Strand, Answer]] = deque()
        self._waiting: dict[int, Strand] = {}
        self._count = 0
        self._main: Strand | None = None
        self.dropped: list[int] = []
        """Numbers of operations that nobody waits for any more."""
        self.end: Answer | None = None
        """What the code returned or raised."""

    def begin(self, code: Coroutine[Any, Any, Any], *, count: int = 0) -> None:
        """Run the code as far as it goes; the first operation gets the number after `count`."""
        self._count = count
        self._main = Strand(code, None, 0)
        self._ready.append((self._main, NOTHING))
        self._run()

    def answer(self, number: int, answer: Answer) -> None:
        """Give an operation's answer, and run the code as far as it goes; nothing if nobody waits for it."""
        strand = self._waiting.pop(number, None)
        if strand is not None:
            self._ready.append((strand, answer))
            self._run()

    @property
    def count(self) -> int:
        """How many operations the code has asked for."""
        return self._count

    def awaits(self, number: int) -> bool:
        """Whether the code still waits for this operation."""
        return number in self._waiting

    def close(self) -> None:
        """Put the code aside: it unwinds, and asks for nothing more. Safe twice."""
        main, self._main = self._main, None
        self._ready.clear()
        if main is not None and self.end is None:
            with _CodeAlone():
                self._drop(main)
        self._waiting.clear()

    def _run(self) -> None:
        with _CodeAlone():
            self._go_on()

    def _go_on(self) -> None:
        while self._ready:
            strand, answer = self._ready.popleft()
            if strand.dead:
                continue
            strand.waits = None
            try:
                if answer.error is not None:
                    asked = strand.coroutine.throw(answer.error)
                else:
                    asked = strand.coroutine.send(answer.value)
            except StopIteration as ended:
                self._ended(strand, Answer(ended.value))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 # whatever ends the code is how it ended
                self._ended(strand, Answer(error=error))
            else:
                self._wait(strand, asked)

    def _wait(self, strand: Strand, asked: object) -> None:
        if isinstance(asked, Operation):
            self._count += 1
            number = self._count
            answer = self._asks(number, asked)
            if answer is not None:
                # It goes on before others begin: a race that it decides asks for nothing more.
                self._ready.appendleft((strand, answer))
                return
            strand.waits = number
            self._waiting[number] = strand
        elif isinstance(asked, Gather | Mapped | Race):
            self._branch(strand, asked)
        else:
            error = ConfigurationError(
                f"The workflow's code awaited {asked!r}, which is none of flow's operations: it would not be the same "
                "when the code runs again. Put what waits for the outside into a step, and await flow.step(…); sleep "
                "by flow.sleep(…)."
            )
            self._ready.append((strand, Answer(error=error)))

    def _branch(self, owner: Strand, what: Gather | Mapped | Race) -> None:
        group = Group(owner, what)
        owner.waits = group
        if isinstance(what, Mapped):
            group.more = what.parts
            for _ in range(what.limit):
                if not self._add_next(group):
                    break
        else:
            for part in what.parts:
                self._add(group, part)
        if not group.strands:
            self._close_group(group, Answer([]))

    def _add_next(self, group: Group) -> bool:
        """Start the next part of a map; return whether there was one."""
        assert group.more is not None
        try:
            part = next(group.more)
        except StopIteration:
            return False
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 # the code's own generator, or what it was given
            self._close_group(group, Answer(error=error))
            return False
        if isinstance(part, Awaited):
            part.used = True
        self._add(group, part)
        return True

    def _add(self, group: Group, part: Part) -> None:
        code = part if isinstance(part, Coroutine) else _alone(part)
        strand = Strand(code, group, group.count)
        group.count += 1
        group.strands.add(strand)
        self._ready.append((strand, NOTHING))

    def _ended(self, strand: Strand, answer: Answer) -> None:
        strand.dead = True
        group = strand.group
        if group is None:
            self.end = answer
            return
        group.strands.discard(strand)
        what = group.what
        if isinstance(what, Race):
            won = answer if answer.error is not None else Answer((strand.place, answer.value))
            self._close_group(group, won)
        elif answer.error is not None and not _is_result(what, answer.error):
            self._close_group(group, answer)
        else:
            group.results[strand.place] = answer.value if answer.error is None else answer.error
            if group.more is not None and self._add_next(group):
                return
            if not group.strands and not group.owner.dead and group.owner.waits is group:
                self._close_group(group, Answer([group.results[place] for place in range(group.count)]))

    def _close_group(self, group: Group, answer: Answer) -> None:
        if group.owner.waits is not group:
            return
        # In their order: what is dropped is recorded.
        for strand in sorted(group.strands, key=lambda one: one.place):
            self._drop(strand)
        group.strands.clear()
        group.owner.waits = None
        self._ready.append((group.owner, answer))

    def _drop(self, strand: Strand) -> None:
        strand.dead = True
        if isinstance(strand.waits, int):
            if self._waiting.pop(strand.waits, None) is not None:
                self.dropped.append(strand.waits)
        elif isinstance(strand.waits, Group):
            for other in sorted(strand.waits.strands, key=lambda one: one.place):
                self._drop(other)
        strand.waits = None
        _unwind(strand.coroutine)


async def _alone(part: Awaitable[Any]) -> Any:
    return await part


def _is_result(what: Gather | Mapped | Race, error: BaseException) -> bool:
    """Whether an error is wanted as a result; what is no Exception, such as the wish to go on afresh, never is."""
    return isinstance(what, Gather) and what.return_exceptions and isinstance(error, Exception)


def _unwind(code: Coroutine[Any, Any, Any]) -> None:
    """Throw Suspended into the code until it ends; what it awaits on the way is not asked for."""
    try:
        for _ in range(100):
            code.throw(Suspended())
        code.close()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001, S110 # it has ended, in whatever way
        pass


def _finish(left: AsyncGenerator[Any, Any]) -> None:
    """End a generator that code has left in the middle, as a loop's `break` does: at once, and not by an event loop."""
    if in_code.get():
        # Where the code runs already, asyncio finds no loop to be set aside.
        _end(left)
    else:
        with _CodeAlone():
            _end(left)


def _end(left: AsyncGenerator[Any, Any]) -> None:
    closing = left.aclose()
    try:
        closing.send(None)
    except BaseException:  # noqa: BLE001 # it has ended, in whatever way
        return
    _unwind(closing)
