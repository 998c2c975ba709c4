"""The life of an embedded server, from the first lease to the last, whatever dies in between."""

from __future__ import annotations

import locale
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from revenant.embedded import Server, lease
from revenant.embedded.account import Account, server_account
from revenant.embedded.home import Home
from revenant.embedded.postmaster import Postmaster
from revenant.errors import ConfigurationError, DatabaseUnavailable
from tests.integration.embedded_state import BINARIES, ROOT, State, eventually, running, state_ending_idle

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes through /proc")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its server as another user")


@pytest.fixture(autouse=True)
def linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVENANT_PG_LINGER", "0")


@pytest.fixture
def fresh() -> Iterator[State]:
    """A state folder that does not exist yet."""
    root = Path(tempfile.mkdtemp(prefix="revenant-test-"))
    root.chmod(0o755)  # as root the server runs as another user, who has to reach it
    try:
        with state_ending_idle(root / "state") as state:
            yield state
    finally:
        if state.home.exists():
            shutil.rmtree(Home.at(state.home).socket, ignore_errors=True)
            shutil.rmtree(state.home)
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A state folder with data in it: initdb is most of a cold start."""
    root = Path(tempfile.mkdtemp(prefix="revenant-test-"))
    root.chmod(0o755)
    with Server(State(root).home) as server, psycopg.connect(server.url) as connection:
        connection.execute("create table receipts (n int)")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def state(used: Path) -> Iterator[State]:
    with state_ending_idle(used) as state:
        yield state


@contextmanager
def lent_data(used: Path, state: State) -> Iterator[None]:
    """Move the data of a used folder into a fresh state while nobody runs a server on it, and back."""
    home = Home.at(state.home)
    (State(used).home / "data").rename(home.data)
    try:
        yield
        eventually(lambda: not state.processes())
    finally:
        home.data.rename(State(used).home / "data")


def scalar(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def test_concurrent_first_starts_share_one_server(fresh: State) -> None:
    clients = [fresh.client() for _ in range(6)]
    assert not fresh.folder.exists()
    for client in clients:
        client.take()
    assert len({client.url() for client in clients}) == 1
    assert fresh.keeper in fresh.processes()  # and there is no second one
    log = (fresh.home / "server.log").read_text()
    assert (log.count("running bootstrap script"), log.count("starting PostgreSQL")) == (1, 1)
    for client in clients:
        client.end()


def test_a_second_process_joins_the_running_server(state: State) -> None:
    with lease(state.folder) as held:
        server, keeper, client = state.server, state.keeper, state.client()
        client.take()
        assert client.url() == held.url
        assert scalar(held.url, "select 1") == 1
        assert (state.server, state.keeper) == (server, keeper)
        client.end()


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM])
def test_the_server_stops_when_its_last_holder_ends_or_is_killed(number: signal.Signals | None, state: State) -> None:
    clients = [state.client(), state.client()]
    for client in clients:
        client.take()
    urls = [client.url() for client in clients]
    server = state.server
    assert clients[0].end(number) == -(number or 0)
    with psycopg.connect(urls[1]) as connection:
        connection.execute("select pg_sleep(0.6)")  # the keeper looks at least twice
    assert state.server == server
    assert clients[1].end(number) == -(number or 0)
    eventually(lambda: not state.processes(), within=2)
    assert not (state.home / "data/postmaster.pid").exists()  # it was stopped in order


def test_nothing_is_left_running_and_no_pipe_open_after_a_program_that_forgets_its_lease(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVENANT_PG_LINGER", "0.6")
    code = f"from revenant.embedded import lease; from pathlib import Path; lease(Path({str(state.folder)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
    assert {state.keeper, state.server} <= set(state.processes())  # the pipes' end came while both ran
    eventually(lambda: not state.processes())


def test_a_released_lease_can_be_released_again(state: State) -> None:
    held = lease(state.folder)
    held.release()
    held.release()


def spawn(command: list[str], folder: Path, user: Account) -> subprocess.Popen[bytes]:
    with (folder / "spawned.log").open("ab") as output:
        return user.spawn(command, output=output, home=folder)


@pytest.fixture
def crashed(state: State) -> Iterator[tuple[State, subprocess.Popen[bytes]]]:
    """A server that was killed and not yet reaped, so that its number is taken."""
    home = Home.at(state.home)
    home.make_socket_folder()
    command = [
        BINARIES.tool("postgres"),
        "-D",
        str(home.data),
        "-k",
        str(home.socket),
        "-c",
        "listen_addresses=",
    ]
    server = spawn(command, home.folder, home.account)
    eventually(lambda: (postmaster := Postmaster.read(home.data)) and postmaster.answers())
    server.kill()
    eventually(lambda: Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    yield state, server
    server.wait()


def test_a_restart_right_after_the_server_died_does_not_take_its_zombie_for_it(
    crashed: tuple[State, subprocess.Popen[bytes]],
) -> None:
    state, zombie = crashed
    os.kill(zombie.pid, 0)  # the number is still taken
    with lease(state.folder) as held:
        assert state.server != zombie.pid
        assert scalar(held.url, "select 1") == 1


def test_a_stale_postmaster_pid_whose_number_is_another_process_does_not_stop_a_start(
    crashed: tuple[State, subprocess.Popen[bytes]],
) -> None:
    state, _zombie = crashed
    home = Home.at(state.home)
    stranger = spawn(["/bin/sleep", "60"], home.folder, home.account)
    for lock in (home.data / "postmaster.pid", home.socket / ".s.PGSQL.5432.lock"):
        lock.write_text(f"{stranger.pid}\n" + lock.read_text().partition("\n")[2])
    postgres = spawn([BINARIES.tool("postgres"), "-D", str(home.data)], home.folder, home.account)
    assert postgres.wait() != 0  # Postgres by itself refuses
    assert f"PID {stranger.pid}" in (home.folder / "spawned.log").read_text()
    with lease(state.folder) as held:
        assert scalar(held.url, "select 1") == 1
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("name", ["a folder with spaces", "a,comma", 'a"quote'])
def test_a_path_may_hold_what_shells_and_lists_take_for_a_separator(name: str, fresh: State, used: Path) -> None:
    fresh.folder = fresh.folder / name
    with lent_data(used, fresh), lease(fresh.folder) as held:
        assert scalar(held.url, "select current_setting('data_directory')") == str(fresh.home / "data")


def test_a_path_too_long_for_a_socket_gets_a_private_folder_of_the_servers_user(fresh: State, used: Path) -> None:
    fresh.folder = fresh.folder / ("long" * 30)
    with lent_data(used, fresh), lease(fresh.folder) as held:
        home = Home.at(fresh.home)
        assert home.folder not in home.socket.parents
        status = home.socket.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, home.account.uid)
        assert scalar(held.url, "show unix_socket_directories") == str(home.socket)


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701])
def test_a_socket_folder_that_others_may_enter_is_refused(fresh: State, mode: int) -> None:
    fresh.folder = fresh.folder / ("long" * 30)
    home = Home.at(fresh.home)
    home.socket.mkdir()
    home.account.give(home.socket)
    home.socket.chmod(mode)
    with pytest.raises(ConfigurationError, match=str(home.socket)):
        home.make_socket_folder()
    home.socket.chmod(0o700)
    home.make_socket_folder()


@as_root
def test_a_socket_folder_of_somebody_else_is_refused(fresh: State) -> None:
    fresh.folder = fresh.folder / ("long" * 30)
    home = Home.at(fresh.home)
    home.socket.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=str(home.socket)):
        home.make_socket_folder()


def test_a_start_after_kill_9_during_initdb_succeeds(fresh: State) -> None:
    client = fresh.client()
    client.take()
    eventually(lambda: list(fresh.home.glob("data.new.*/base")))
    os.kill(fresh.keeper, signal.SIGKILL)
    for pid in running(fresh.home, "initdb"):
        os.kill(pid, signal.SIGKILL)
    assert client.end(signal.SIGKILL) == -signal.SIGKILL
    assert list(fresh.home.glob("data.new.*"))
    assert not (fresh.home / "data").exists()
    with lease(fresh.folder) as held:
        assert scalar(held.url, "select 1") == 1
    assert not list(fresh.home.glob("data.new.*"))


def test_a_locale_that_was_never_generated_does_not_matter(fresh: State) -> None:
    absent = {"LC_ALL": "xx_XX.UTF-8", "LANG": "xx_XX.UTF-8"}
    with pytest.raises(locale.Error):
        locale.setlocale(locale.LC_ALL, absent["LC_ALL"])
    client = fresh.client(**absent)
    client.take()
    assert scalar(client.url(), "show lc_messages") == "C"
    client.end()


def test_kill_9_of_the_keeper_leaves_the_server_to_the_next_one(state: State) -> None:
    with lease(state.folder) as held, psycopg.connect(held.url) as connection:
        server, keeper = state.server, state.keeper
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: running(state.home, "boot.py") == [])
        with lease(state.folder):
            assert state.keeper != keeper
            assert state.server == server
        assert connection.execute("select 1").fetchone() == (1,)
    eventually(lambda: not state.processes())


def test_releasing_a_lease_replaces_a_killed_keeper_so_that_nothing_is_left(state: State) -> None:
    held = lease(state.folder)
    os.kill(state.keeper, signal.SIGKILL)
    eventually(lambda: running(state.home, "boot.py") == [])
    assert state.server in state.processes()
    held.release()
    eventually(lambda: not state.processes())


def test_a_keeper_asked_to_end_goes_on_while_its_server_is_needed(state: State) -> None:
    with lease(state.folder) as held:
        keeper, server = state.keeper, state.server
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(keeper, number)
        with psycopg.connect(held.url) as connection:
            connection.execute("select pg_sleep(0.3)")  # longer than the time between two looks
        assert (state.keeper, state.server) == (keeper, server)


def test_kill_9_of_the_server_while_held_loses_no_row(state: State) -> None:
    held, killed = lease(state.folder), state.server
    connection = psycopg.connect(held.url, autocommit=True)
    connection.execute("insert into receipts select generate_series(1, 100)")
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select pg_sleep(5)")
    connection.close()
    with lease(state.folder) as next_lease:
        assert next_lease.url == held.url
        assert state.server != killed
        assert scalar(held.url, "select count(*) from receipts") == 100
    held.release()


def test_a_folder_removed_under_a_running_server_takes_the_server_with_it(fresh: State, used: Path) -> None:
    home = Home.at(fresh.home)
    subprocess.run(["cp", "-a", State(used).home / "data", home.data], check=True)
    held = lease(fresh.folder)
    assert {fresh.keeper, fresh.server} <= set(fresh.processes())
    shutil.rmtree(fresh.folder)
    eventually(lambda: not fresh.processes(), within=5)
    held.release()
    assert not fresh.folder.exists()


def test_a_server_that_cannot_start_is_an_error_that_quotes_its_log(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revenant.embedded.leases.RETRIES", (0.0,))
    version = (state.home / "data/PG_VERSION").read_text()
    (state.home / "data/PG_VERSION").write_text("9.6\n")
    with pytest.raises(DatabaseUnavailable, match=r"server\.log, ends:[\s\S]*9\.6"):
        lease(state.folder)
    (state.home / "data/PG_VERSION").write_text(version)


@as_root
def test_root_below_a_private_folder_changes_no_mode_and_makes_no_user(fresh: State) -> None:
    private = fresh.folder.parent / "private"
    private.mkdir(mode=0o700)
    fresh.folder = private / "state"
    fresh.folder.mkdir()
    account = server_account(fresh.folder)
    entering = spawn(["/bin/ls", str(fresh.folder)], private, account)
    assert entering.wait() != 0  # its user really cannot enter
    before = (private.stat().st_mode, private.stat().st_ctime_ns, Path("/etc/passwd").read_bytes())
    with lease(fresh.folder) as held:
        assert scalar(held.url, "select 1") == 1
        assert (fresh.home / "data").owner() == account.name
        assert private not in fresh.home.parents
    with lease(fresh.folder):
        pass  # the link leads there again
    assert (private.stat().st_mode, private.stat().st_ctime_ns, Path("/etc/passwd").read_bytes()) == before


@as_root
def test_root_below_a_private_folder_is_told_so_where_data_cannot_go_elsewhere(fresh: State) -> None:
    fresh.folder.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="REVENANT_STATE_DIR"):
        Server(fresh.folder / "home")
