"""Patches: which newer paths a run's code takes.

Invariant: the first answer about a name is that of the whole run, since each replay begins with the same question.
"""

from __future__ import annotations

from revenant.workflows.past import Past
from revenant.workflows.view import View


class Patches:
    """What the code was told of its newer paths, besides what the events say."""

    def __init__(self) -> None:
        self._older: set[str] = set()
        self._met: list[str] = []
        """Newer paths that were taken while the history was read, to be recorded at the end of that."""

    def known(self, name: str, view: View, past: Past | None) -> bool | None:
        """Return whether the newer path is taken; None: it is, from here on, and that is to be recorded."""
        if name in view.patches or name in self._met or (past is not None and name in past.patches):
            return True
        if name in self._older or (past is not None and past.goes_on_after(view.seq)):
            self._older.add(name)
            return False
        return None

    def meet(self, name: str) -> None:
        """The newer path is taken, and the history is read to its end first; what follows it is recorded then."""
        self._met.append(name)

    def take_met(self) -> list[str]:
        """Return what is to be recorded, now that the history is read."""
        met, self._met = self._met, []
        return met
