"""The workflows that one application knows, by name and version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from revenant.errors import ConfigurationError
from revenant.workflows.decider import Decider, as_workflow
from revenant.workflows.workflow import Workflow


class Workflows:
    """Workflow definitions; built once, and read only."""

    def __init__(self, workflows: Iterable[Workflow[Any, Any] | type[Decider[Any, Any]]]) -> None:
        if isinstance(workflows, str | Workflow | type) or not isinstance(workflows, Iterable):
            raise ConfigurationError(
                f"workflows= takes a list of workflows, and got {workflows!r}. Write Revenant(workflows=[checkout])."
            )
        kinds: dict[str, dict[int, Workflow[Any, Any]]] = {}
        for given in workflows:
            found = as_workflow(given)
            if found is None:
                raise ConfigurationError(f"{given!r} is no workflow. Mark the function with @workflow, and pass that.")
            found.check()
            versions = kinds.setdefault(found.kind, {})
            if versions.setdefault(found.version, found) is not found:
                raise ConfigurationError(
                    f"Two workflows are called {found.name!r} and are of version {found.version}. Give one of them "
                    'another name or version: @workflow(name="…", version=2).'
                )
        self.kinds: Mapping[str, Mapping[int, Workflow[Any, Any]]] = MappingProxyType(kinds)

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def find(self, kind: str, version: int) -> Workflow[Any, Any] | None:
        """Return the code of that version, if it is here."""
        return self.kinds.get(kind, {}).get(version)

    def newest(self, kind: str) -> Workflow[Any, Any]:
        """Return the code of the highest version, by which new runs are started."""
        versions = self.kinds[kind]
        return versions[max(versions)]

    def all(self) -> list[Workflow[Any, Any]]:
        """Return all definitions."""
        return [found for versions in self.kinds.values() for found in versions.values()]

    def described(self, only: Iterable[str] | None = None) -> dict[str, Any]:
        """Return what a worker's row says of them: {kind: {"vsn": newest, "handlers": [], "versions": [1, 2]}}."""
        wanted = set(self.kinds if only is None else only)
        return {
            kind: {"vsn": max(versions), "handlers": [], "versions": sorted(versions)}
            for kind, versions in sorted(self.kinds.items())
            if kind in wanted
        }
