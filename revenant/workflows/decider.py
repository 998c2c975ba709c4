"""Decider: a workflow as a state machine: a pure function from what has happened to what is done next.

It is run as any workflow's code is, so it shares events, recovery and storage with that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from revenant.errors import ConfigurationError
from revenant.workflows.commands import Command
from revenant.workflows.deciding import decide_along
from revenant.workflows.decisions import DecisionView
from revenant.workflows.flow import Flow
from revenant.workflows.step import as_step
from revenant.workflows.workflow import Workflow

I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers
R = TypeVar("R")


class DeciderWorkflow(Workflow[I, R]):
    """What is known of a decider, as of any workflow."""

    def __init__(self, decider: type[Decider[I, R]], *, name: str, version: int, **options: Any) -> None:
        super().__init__(_typed(decider), name=name, version=version, **options)
        self._decider = decider()
        self._steps = {step.name: step for step in map(as_step, decider.steps)}
        self.__doc__ = decider.__doc__

    def new_decisions(self, run_id: str) -> DecisionView[Any]:
        """Return a view with nothing in it."""
        return DecisionView(None, run_id)

    def begin(self, flow: Flow, given: I, decisions: DecisionView[Any] | None = None) -> Coroutine[Any, Any, R]:
        """Return the code, to be run from where the decisions stand."""
        assert decisions is not None
        decisions.input = given
        return decide_along(self._decider.decide, self._steps, flow, decisions)


class Decider(Generic[I, R]):
    """A workflow that decides, each time that something has come of its last command, which one is next.

    `I` is the type of its input, `R` that of its result. `steps` declares the functions that it may run. `decide` is
    called with a view of all that has happened, and must be pure: the same view, the same command. Class keywords
    are those of `@workflow`: `name` (the class's own by default), `version`, `timeout` and `keep`.

    A command that failed is in `view.failure`, and the decider says what follows from that; one that it asks for
    once more at once, as if nothing had happened, fails the run as the first one did.

    Example:
        >>> class Checkout(Decider[str, str], version=1):
        ...     steps = (charge, ship)
        ...
        ...     def decide(self, view: DecisionView[str]) -> Command:
        ...         if not view.results:
        ...             return RunStep(charge, view.input)
        ...         if view.result(charge) == "declined":
        ...             return Fail("declined")
        ...         return RunStep(ship, view.input) if len(view.results) == 1 else Complete(view.result(ship))
    """

    steps: ClassVar[Sequence[Callable[..., Any]]] = ()
    workflow: ClassVar[DeciderWorkflow[Any, Any]]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        timeout: float | timedelta | None = None,
        keep: timedelta | None = None,
        **more: Any,
    ) -> None:
        super().__init_subclass__(**more)
        if inspect.iscoroutinefunction(cls.decide):
            raise ConfigurationError(
                f"`decide` of {cls.__name__} is `async def`, and has nothing to wait for: what takes time is a step. "
                "Write `def decide(self, view) -> Command`, and return RunStep(…)."
            )
        if cls.decide is not Decider.decide:
            cls.workflow = DeciderWorkflow(
                cls, name=name or cls.__name__, version=version, timeout=timeout, keep=keep
            )  # fmt: skip

    def decide(self, view: DecisionView[I]) -> Command:
        """Return what is done next, or how the run ends."""
        raise NotImplementedError


def as_workflow(given: object) -> Workflow[Any, Any] | None:
    """Return the workflow that is meant: itself, or that of a decider's class; None if it is neither."""
    if isinstance(given, type) and issubclass(given, Decider):
        if "workflow" not in vars(given):
            raise ConfigurationError(
                f"The decider {given.__name__} has no `decide` of its own. Write `def decide(self, view) -> Command`."
            )
        return given.workflow
    return given if isinstance(given, Workflow) else None


def _typed(decider: type[Decider[Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a function whose annotations are the decider's types."""

    async def code(flow: Flow, given: Any) -> Any:
        raise NotImplementedError

    async def code_without_input(flow: Flow) -> Any:
        raise NotImplementedError

    bases = [
        base
        for one in decider.__mro__
        for base in vars(one).get("__orig_bases__", ())
        if get_origin(base) is Decider and len(get_args(base)) == 2
    ]
    given, result = get_args(bases[0]) if bases else (Any, Any)
    made = code_without_input if given is type(None) or given is None else code
    made.__annotations__ = {"flow": Flow, "given": given, "return": result}
    made.__qualname__ = made.__name__ = decider.__qualname__
    made.__module__ = decider.__module__
    return made
