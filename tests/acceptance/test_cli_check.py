"""`revenant check` finds what is wrong, and says what to type."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.acceptance.command import APP, revenant

pytestmark = pytest.mark.acceptance


def findings(url: str, *words: str, code: int) -> dict[str, dict[str, Any]]:
    ended = revenant("check", "-o", "json", *words, url=url)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return {row["check"]: row for row in reversed(json.loads(ended.stdout))}


def test_a_sound_database_passes(database: str) -> None:
    found = findings(database, code=0)
    with psycopg.connect(database) as connection:
        durable = connection.execute("show fsync").fetchone() == ("on",)
    assert found.pop("durability")["status"] == ("ok" if durable else "warn")
    assert {row["status"] for row in found.values()} == {"ok"}
    assert {"database", "version", "LISTEN", "connections", "schema", "workers", "dead letters"} <= set(found)


def test_a_missing_schema_is_found(empty_database: str) -> None:
    found = findings(empty_database, code=1)
    assert found["schema"]["what_to_type"] == "revenant migrate"


def test_kinds_without_a_worker_and_too_many_lanes_are_found(database: str) -> None:
    found = findings(database, "--app", APP, "--lanes", "100", "--processes", "50", code=1)
    assert found["workers"]["found"] == "No live worker serves Account"
    assert found["workers"]["what_to_type"] == f"revenant worker --app {APP}"
    assert found["connections"]["status"] == "fail"


def test_a_pooler_that_swallows_notifications_is_found(database: str) -> None:
    with silent_pooler(database) as url:
        found = findings(url, code=1)
    assert "LISTEN is silent" in found["LISTEN"]["found"]
    assert "pool" in found["LISTEN"]["what_to_type"]


@contextmanager
def silent_pooler(url: str) -> Iterator[str]:
    """A proxy that lets all through but notifications, as a pooler in transaction mode does."""
    parts = conninfo_to_dict(url)
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_welcome, args=(door, parts), daemon=True).start()
        yield make_conninfo(url, host="127.0.0.1", port=door.getsockname()[1], sslmode="disable", gssencmode="disable")


def _welcome(door: socket.socket, parts: dict[str, Any]) -> None:
    host, port = str(parts["host"]), int(parts.get("port") or 5432)
    with suppress(OSError):
        while True:
            client, _ = door.accept()
            if host.startswith("/"):
                server = socket.socket(socket.AF_UNIX)
                server.connect(f"{host}/.s.PGSQL.{port}")
            else:
                server = socket.create_connection((host, port))
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy_but_notifications, args=(server, client), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), sink:
        while data := source.recv(65536):
            sink.sendall(data)


def _copy_but_notifications(source: socket.socket, sink: socket.socket) -> None:
    """Every message of the server is a letter and a length, which counts itself but not the letter."""
    with suppress(OSError), sink, source.makefile("rb") as stream:
        while head := stream.read(5):
            body = stream.read(struct.unpack("!i", head[1:])[0] - 4)
            if head[:1] != b"A":
                sink.sendall(head + body)
