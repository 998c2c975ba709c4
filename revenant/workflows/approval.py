"""Approval: a question that a run asks a person, and the decision that one of them gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic.errors import PydanticInvalidForJsonSchema

from revenant.workflows.operation import Misfit, Operation, why_not
from revenant.workflows.signature import Shape

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Decision(Generic[F]):
    """What somebody decided: `by` whom, and `form` as they filled it in, or the `reason` why not."""

    approved: bool
    by: str
    form: F | None = None
    reason: str | None = None


class ApprovalOperation(Operation[Decision[F]]):
    """Ask a person, and wait for the decision, at most until the deadline."""

    __slots__ = ("about", "after", "assignee", "at", "form")
    type = "approval"

    def __init__(
        self, name: str, form: Shape, *, assignee: str | None, about: Any, after: float | None, at: datetime | None
    ) -> None:
        super().__init__(name)
        self.form = form
        self.assignee = assignee
        self.about = about
        """What is to be decided, as what JSON holds."""
        self.after = after
        self.at = at

    def schema(self) -> Any:
        """Return the JSON schema of the form, for whoever draws it; None where it has none."""
        try:
            return self.form.adapter.json_schema() or None
        except PydanticInvalidForJsonSchema:
            return None

    def misfit(self, decision: Mapping[str, Any]) -> Misfit | None:
        """Return why this decision cannot be taken; None: it can."""
        try:
            self.read(decision)
        except Exception as error:  # noqa: BLE001 # a type may refuse what it reads in any way
            return Misfit("InvalidArguments", why_not(error))
        return None

    def read(self, result: Any) -> Decision[F]:
        """Return the decision."""
        form = self.form.read(result["form"]) if result["approved"] else None
        return Decision(result["approved"], result["by"], form, result["reason"])
