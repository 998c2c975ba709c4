"""Versions: which code goes on with a run: its own version's, here or elsewhere; else nobody's, until it is moved."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_core import to_json

from revenant.queue.records import Delivery
from revenant.worker.fleet import Fleet
from revenant.workflows.address import Address
from revenant.workflows.arguments import Unusable, read_args
from revenant.workflows.registry import Workflows
from revenant.workflows.workflow import Workflow


class Code(NamedTuple):
    """What a run is read with."""

    workflow: Workflow[Any, Any]
    why_not: str | None
    """Why it is not run: no live worker has the version that the run is of."""


class Versions:
    """The versions that this worker has, and those that the others have."""

    def __init__(self, *, workflows: Workflows, fleet: Fleet) -> None:
        self._workflows = workflows
        self._fleet = fleet

    def code_for(self, address: Address, version: int, *, wanted: bool = False) -> Code | None:
        """Return the code of a run of that version; None: it is somebody else's.

        `wanted`: somebody asks for it to be moved, and it is nobody else's.
        """
        workflow = self._workflows.find(address.kind, version)
        if workflow is not None:
            return Code(workflow, None)
        newest = self._workflows.newest(address.kind)
        if self._fleet.has_version(address.kind, version) or (version > newest.version and not wanted):
            # Somebody else knows how to go on, or will, once the deploy has come so far.
            return None
        why = (
            f"No live worker has version {version} of workflow {address.workflow!r}, with which run {address.key!r} "
            f"was started. Register it beside version {newest.version} and requeue the run, or `revenant run migrate` "
            "it."
        )
        return Code(newest, why)

    def choose(self, address: Address, delivery: Delivery) -> Delivery:
        """Return the message that moves a run with the version that it moves it to: the newest, if none was named.

        Raises:
            Unusable: no live worker has that version.
        """
        own = self._workflows.newest(address.kind).version
        asked = read_args(delivery).get("version")
        version = max(own, self._fleet.newest_version(address.kind)) if asked is None else asked
        if self._workflows.find(address.kind, version) or self._fleet.has_version(address.kind, version):
            return delivery._replace(args=to_json({"version": version}).decode())
        raise Unusable(
            f"No live worker has version {version} of workflow {address.workflow!r}; run {address.key!r} stays as it "
            "is. Deploy a worker that has it, and migrate the run then."
        )
