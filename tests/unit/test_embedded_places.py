from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from revenant.embedded.account import ENTER, READ, Account, server_account
from revenant.embedded.lock import Lock
from revenant.embedded.postmaster import Postmaster, disown, socket_url
from revenant.embedded.state import state_folder
from revenant.errors import ConfigurationError

RUNNING = "4711\n{data}\n1790000000\n5432\n/run/a folder\n\n  12345   6\nready   \n"
OURSELVES = Account("me", os.geteuid(), os.getegid())
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")


@pytest.mark.parametrize(
    ("variable", "marker", "expected"),
    [
        ("/elsewhere", "pyproject.toml", Path("/elsewhere")),
        (None, "pyproject.toml", Path(".revenant")),
        (None, ".git", Path(".revenant")),
        (None, "notes.txt", platformdirs.user_state_path("revenant")),
    ],
)
def test_the_state_folder_is_the_variables_or_the_projects_or_the_users(
    variable: str | None, marker: str, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / marker).touch()
    monkeypatch.delenv("REVENANT_STATE_DIR", raising=False)
    if variable:
        monkeypatch.setenv("REVENANT_STATE_DIR", variable)
    assert state_folder() == tmp_path / expected


def test_a_servers_own_description_is_read(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(RUNNING.format(data=tmp_path))
    assert Postmaster.read(tmp_path) == Postmaster(4711, tmp_path, Path("/run/a folder"), 5432, ready=True)


@pytest.mark.parametrize("text", ["", "4711\n", "4711\n/data\n1790000000\n5432\n/run\n\n  12345   6\nstarting\n"])
def test_a_server_that_has_not_said_so_is_not_ready(text: str, tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(text)
    postmaster = Postmaster.read(tmp_path)
    assert postmaster is None or not postmaster.answers()


def test_a_number_that_is_another_process_by_now_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(RUNNING.replace("4711", str(os.getpid())).format(data=tmp_path))
    postmaster = Postmaster.read(tmp_path)
    assert postmaster is not None
    assert postmaster.pid == os.getpid()
    assert not postmaster.is_alive()


def test_disowning_a_lock_file_keeps_the_shared_memory_it_names(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text(RUNNING.format(data=tmp_path))
    disown(lock, OURSELVES)
    assert lock.read_text() == RUNNING.replace("4711", str(os.getpid())).format(data=tmp_path)


def test_disowning_never_follows_a_link(tmp_path: Path) -> None:
    secret, lock = tmp_path / "secret", tmp_path / "postmaster.pid"
    secret.write_text("4711\nsecret\n")
    lock.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        disown(lock, OURSELVES)
    assert secret.read_text() == "4711\nsecret\n"


def test_the_uri_survives_spaces_and_leaves_nothing_to_the_environment() -> None:
    assert socket_url(Path("/a b/s"), 5432) == "postgresql://postgres@/postgres?host=%2Fa%20b%2Fs&port=5432"


def test_a_lock_is_shared_by_clients_and_alone_for_the_keeper(tmp_path: Path) -> None:
    first, second, keeper = (Lock(tmp_path / "clients.lock") for _ in range(3))
    assert first.try_shared()
    assert second.try_shared()
    assert not keeper.try_exclusive()
    first.close()
    first.close()
    assert not keeper.try_exclusive()
    second.close()
    assert keeper.try_exclusive()
    keeper.close()


def test_a_lock_notices_that_its_file_was_replaced(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "keeper.lock")
    assert lock.is_on_disk()
    (tmp_path / "keeper.lock").unlink()
    (tmp_path / "keeper.lock").touch()
    assert not lock.is_on_disk()
    lock.close()


def test_what_an_account_may_do_is_in_the_mode_bits_of_owner_group_or_others(tmp_path: Path) -> None:
    status = tmp_path.stat()
    stranger = Account("stranger", status.st_uid + 1, status.st_gid + 1)
    colleague = Account("colleague", status.st_uid + 1, status.st_gid)
    tmp_path.chmod(0o741)
    assert OURSELVES.may(tmp_path, READ + ENTER)
    assert colleague.may(tmp_path, READ)
    assert not colleague.may(tmp_path, ENTER)
    assert stranger.may(tmp_path, ENTER)
    assert not stranger.may(tmp_path, READ)


def test_a_folder_is_out_of_reach_when_any_folder_above_it_is_private(tmp_path: Path) -> None:
    stranger = Account("stranger", tmp_path.stat().st_uid + 1, tmp_path.stat().st_gid + 1)
    (tmp_path / "private/open").mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    assert not stranger.reaches(tmp_path / "private/open/data")


@as_root
def test_root_steps_down_to_the_owner_of_the_data_before_anybody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVENANT_PG_USER", "nobody")
    assert server_account(tmp_path / "not yet").name == "nobody"
    monkeypatch.setenv("REVENANT_PG_USER", "daemon")
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", server_account(tmp_path / "not yet").uid, -1)
    monkeypatch.setenv("REVENANT_PG_USER", "nobody")
    assert server_account(tmp_path / "data").name == "daemon"


@as_root
@pytest.mark.parametrize("name", ["root", "no-such-user"])
def test_root_cannot_step_down_to_root_or_to_nobody_at_all(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVENANT_PG_USER", name)
    with pytest.raises(ConfigurationError, match=f"{name}.*REVENANT_PG_USER.*DATABASE_URL"):
        server_account(tmp_path / "data")
