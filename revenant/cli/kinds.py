"""The classes and workflows of an application, as commands ask for them."""

from __future__ import annotations

from typing import Any

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.errors import UnknownKind, UnknownWorkflow
from revenant.workflows.workflow import KIND, Workflow


def definition_of(app: Revenant, kind: str) -> type[Entity]:
    """Return the class of a kind.

    Raises:
        UnknownKind: the application has none.
    """
    found = app.registry.kinds.get(kind)
    if found is None:
        known = ", ".join(sorted(app.registry.kinds)) or "none"
        raise UnknownKind(f"No entity is of kind {kind!r}. This application has: {known}.")
    return found


def workflow_of(app: Revenant, name: str) -> Workflow[Any, Any]:
    """Return the newest version of a workflow.

    Raises:
        UnknownWorkflow: the application has none of that name.
    """
    if f"{KIND}{name}" not in app.workflows.kinds:
        raise UnknownWorkflow(f"No workflow is called {name!r}. This application has: {workflows_of(app)}.")
    return app.workflows.newest(f"{KIND}{name}")


def workflows_of(app: Revenant) -> str:
    """Return the names of the application's workflows, for a person to read."""
    return ", ".join(sorted(kind.removeprefix(KIND) for kind in app.workflows.kinds)) or "none"
