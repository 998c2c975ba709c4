"""What monitors see of real workers: numbers without ids, and whether they live and serve."""

from __future__ import annotations

import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from revenant.app import Revenant
from revenant.errors import HandlerError
from tests.acceptance.command import Running, revenant, running, wait_for
from tests.entities import Account

WORKER = ("worker", "--app", "tests.entities:app", "--jobs", "0")


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def port_of(worker: Running) -> int:
    found = wait_for(lambda: re.findall(r"Metrics and health on port (\d+)", worker.said()), what="the port")
    return int(found[0])


def number(page: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    assert found, f"{name} is not in\n{page}"
    return float(found[1])


def test_prometheus_gets_numbers_of_kinds_and_handlers_and_no_ids(database: str) -> None:
    with (
        Revenant(entities=[Account], database_url=database).sync() as rv,
        running(*WORKER, "--metrics-port", "0", url=database) as worker,
    ):
        port = port_of(worker)
        worker.until_said("Ready:")
        for amount in (1, 2, 3):
            rv.call(rv.ref(Account, "a-private-key").deposit(amount))
        with pytest.raises(HandlerError):
            rv.call(rv.ref(Account, "a-private-key").fail(1))
        message_id = rv.cast(rv.ref(Account, "another-key").deposit(1))
        handled = 'revenant_messages_total{handler="deposit",kind="Account",outcome="ok"}'
        wait_for(lambda: number(ask(port, "/metrics")[1], handled) == 4)
        status, page = ask(port, "/metrics")
        assert status == 200
        assert number(page, 'revenant_messages_total{handler="fail",kind="Account",outcome="error"}') == 1
        wait_for(lambda: number(ask(port, "/metrics")[1], 'revenant_state_bytes_count{kind="Account"}') == 4)
        assert number(page, 'revenant_handler_seconds_count{handler="deposit",kind="Account"}') == 4
        assert "private" not in page
        assert "another-key" not in page
        assert message_id not in page
        assert ask(port, "/livez") == (200, "ok\n")
        assert ask(port, "/readyz") == (200, "ok\n")
        assert ask(port, "/")[0] == 404
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0


def test_each_process_takes_the_next_port(database: str) -> None:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    if port > 65000:
        port -= 1000
    with running(*WORKER, "--metrics-port", str(port), "--processes", "2", url=database) as worker:
        worker.until_said("Ready:", times=2)
        assert [ask(port + number, "/readyz") for number in range(2)] == [(200, "ok\n")] * 2
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0


def test_a_worker_without_its_database_lives_and_is_not_ready() -> None:
    url = "postgresql://somebody@127.0.0.1:1/nowhere"
    with running(*WORKER, "--metrics-port", "0", url=url) as worker:
        port = port_of(worker)
        worker.until_said("no connection")
        assert ask(port, "/livez") == (200, "ok\n")
        assert ask(port, "/readyz") == (503, "the worker has not started to serve\n")


def test_a_port_that_is_taken_is_told_in_one_sentence(database: str) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        ended = revenant(*WORKER, "--metrics-port", str(taken.getsockname()[1]), url=database)
    assert ended.returncode == 1
    assert "cannot be served" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extra_it_says_what_to_install(database: str, tmp_path: Path) -> None:
    for processes in ("1", "2"):
        ended = revenant(
            *WORKER,
            "--metrics-port",
            "0",
            "--processes",
            processes,
            url=database,
            anew=True,
            PYTHONPATH=_without_prometheus(tmp_path),
        )
        assert ended.returncode == 1
        assert "pip install 'revenant-py[prometheus]'" in ended.stderr
        assert "Traceback" not in ended.stderr


def _without_prometheus(folder: Path) -> str:
    """A folder in which `prometheus_client` is a module that is not there."""
    (folder / "prometheus_client.py").write_text("raise ModuleNotFoundError('No module named prometheus_client')\n")
    return str(folder)
