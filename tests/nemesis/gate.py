"""A gate at which handlers wait inside their turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.tools import eventually


class Gate:
    """Holds handlers of `tests.entities.Gate` inside their turn, in whatever process, until it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Let all of them go on."""
        (self.folder / "open").touch()

    def inside(self) -> list[int]:
        """The processes in which a handler has come to the gate."""
        return sorted(int(path.name.removeprefix("in-")) for path in self.folder.glob("in-*"))

    async def reached(self, *, besides: Sequence[int] = ()) -> int:
        """Wait until a process other than those has come to the gate, and return it."""
        found: list[int] = await eventually(
            lambda: sorted(set(self.inside()) - set(besides)), what="a handler at the gate"
        )
        return found[0]
