"""Standing: where a run stands after somebody has asked something of it, as the commit of that says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revenant.workflows.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What came of a `cancel`, `park`, `resume`, `requeue` or `migrate`, once it was recorded.

    Example:
        >>> stood = await run.cancel("sold out")
        >>> if stood.status == "blocked":
        ...     print(stood.problem)  # the code that undoes is nowhere; a second cancel ends the run without it
    """

    changed: bool
    """Whether it is an event of the run now; false: it stood so already, and nothing was done."""
    status: str | None
    """`running`, `parked` or `blocked`; `cancelling` or `failing` while what it did is undone; or how it has ended.

    None: a worker of an older release took it, and does not say.
    """
    problem: str | None
    """Why it is parked or blocked, or what could not be undone."""
    version: int | None
    """Of its workflow's code."""


def recorded(view: View, *, changed: bool) -> dict[str, Any]:
    """Return where a run stands as what a reply holds of it."""
    closing = view.closing
    status = view.status
    if status == "running" and closing is not None:
        status = closing.type.partition(".")[2]
    return {"changed": changed, "status": status, "problem": view.problem, "version": view.version}


def standing_of(told: Any) -> Standing:
    """Return what `recorded` made; a worker of an older release only says that it is done."""
    if not isinstance(told, dict):
        return Standing(changed=True, status=None, problem=None, version=None)
    return Standing(**{name: told[name] for name in ("changed", "status", "problem", "version")})
