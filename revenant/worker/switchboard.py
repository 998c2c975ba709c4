"""Switchboard: which part of this worker a hint is for: a lane, one of its residences, or another worker's grace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from revenant.entities.registry import Registry
from revenant.queue.records import RELEASED, Hint
from revenant.worker.agenda import Agenda
from revenant.worker.fleet import Fleet
from revenant.worker.residents.home import Home
from revenant.worker.runs.runner import Runner
from revenant.workflows.registry import Workflows


class Switchboard:
    """Strict kinds go to the agenda; a relaxed entity always goes to the same residence of this worker."""

    def __init__(
        self,
        *,
        registry: Registry,
        workflows: Workflows,
        agenda: Agenda,
        fleet: Fleet,
        homes: Sequence[Home],
    ) -> None:
        self._kinds = frozenset((*registry.kinds, *workflows.kinds))
        self._flows = frozenset(workflows.kinds)
        self.runners: Sequence[Runner] = ()
        """Where the runs of workflows go; made later than this, since they are told of by it."""
        self._relaxed = frozenset(
            kind for kind, definition in registry.kinds.items() if definition.entity_durability != "strict"
        )
        self.relaxed = bool(self._relaxed)
        self._agenda = agenda
        self._fleet = fleet
        self._homes = list(homes)

    def __len__(self) -> int:
        dockets = [*(home.docket for home in self._homes), *(runner.docket for runner in self.runners)]
        return len(self._agenda) + sum(map(len, dockets))

    def add(self, hints: Iterable[Hint], *, backlog: bool = False) -> None:
        """Have these looked at here. `backlog`: nobody is known to wait for them right now."""
        if not self._relaxed and not self._flows:
            self._agenda.add(hints, backlog=backlog)
            return
        strict: list[Hint] = []
        for hint in hints:
            if hint.kind in self._flows:
                self._runner(hint).docket.add([hint])
            elif hint.kind in self._relaxed:
                self._home(hint).docket.add([hint])
            else:
                strict.append(hint)
        self._agenda.add(strict, backlog=backlog)

    def hear(self, hints: Iterable[Hint], *, backlog: bool) -> list[Hint]:
        """Take in what was notified to all workers, as `add`; return the hints for which another one goes first."""
        mine: list[Hint] = []
        others: list[Hint] = []
        for hint in hints:
            if hint.kind in self._kinds:
                (mine if self._is_ours(hint) else others).append(hint)
        self.add(mine, backlog=backlog)
        return others

    def leaves(self, hint: Hint) -> bool:
        """Whether this is about a run for which another live worker goes first.

        Two workers that go on with a run at once both read it, and one of them in vain: no lock keeps the second one
        out, as it does for entities, but the fence of what the first one has appended.
        """
        if hint.kind not in self._flows or self._runner(hint).has((hint.kind, hint.key)):
            return False
        return not self._fleet.goes_first(hint.kind, hint.bucket)

    def heard(self, ids: Sequence[str]) -> None:
        """These replies, given before their commit, have reached their callers."""
        for home in self._homes:
            home.answers.heard(ids)

    def _is_ours(self, hint: Hint) -> bool:
        if hint.kind in self._flows:
            runner, key = self._runner(hint), (hint.kind, hint.key)
            return runner.has(key) or (
                not runner.docket.passes_by(key) and self._fleet.goes_first(hint.kind, hint.bucket)
            )
        if hint.kind in self._relaxed:
            home, key = self._home(hint), (hint.kind, hint.key)
            if home.memory.find(key) is not None:
                return True
            if hint.seq == RELEASED:
                # Its last owner may have died of what waits: the watch looks at the fleet before anybody handles it.
                home.docket.welcome(key)
                return False
            if home.docket.passes_by(key):
                return False
        return self._fleet.goes_first(hint.kind, hint.bucket)

    def _runner(self, hint: Hint) -> Runner:
        return self.runners[hint.bucket % len(self.runners)]

    def _home(self, hint: Hint) -> Home:
        return self._homes[hint.bucket % len(self._homes)]
