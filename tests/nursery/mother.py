"""The far end: one process without threads, connections or a loop, so that it can be forked at any moment."""

from __future__ import annotations

import array
import gc
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

from revenant.cli import main
from tests.nursery.near import LENGTH, NUMBER


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to become."""

    words: list[str]
    environment: dict[str, str]
    session: bool
    files: tuple[int, int, int]
    """For its stdout, its stderr and its number, once it has what is its own."""


class Mother:
    """The far end: forks, and tells how its children ended."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._reports: dict[int, int] = {}
        self._awake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def serve(self) -> Order | None:
        """Serve until nobody is there to ask; return in each child, too: what it is to become."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker)
        while True:
            ready, _, _ = select.select([self._door.fileno(), self._awake], [], [])
            if self._awake in ready:
                os.read(self._awake, 4096)
                self._reap()
            if self._door.fileno() in ready:
                told = self._hear()
                if told is None:
                    break
                if order := self._fork(*told):
                    return order
        for pid in self._reports:
            os.kill(pid, signal.SIGKILL)
        return None

    def _hear(self) -> tuple[dict[str, Any], list[int]] | None:
        head, notes, _, _ = self._door.recvmsg(LENGTH.size, socket.CMSG_LEN(3 * 4))
        if not head:
            return None
        files = array.array("i")
        for _, _, data in notes:
            files.frombytes(data)
        left, order = LENGTH.unpack(head)[0], b""
        while len(order) < left:
            order += self._door.recv(left - len(order))
        return json.loads(order), list(files)

    def _fork(self, told: dict[str, Any], files: list[int]) -> Order | None:
        stdout, stderr, report = files
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            for number in (*self._reports.values(), self._door.detach(), self._awake, self._waker):
                os.close(number)
            return Order(**told, files=(stdout, stderr, report))
        os.close(stdout)
        os.close(stderr)
        self._reports[pid] = report
        return None

    def _reap(self) -> None:
        while self._reports:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            report = self._reports.pop(pid)
            try:
                os.write(report, NUMBER.pack(status))
            except BrokenPipeError:
                pass  # nobody asks
            os.close(report)


def become(order: Order) -> None:
    """Be the command: what a process has when it starts, this one has, too."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order.session:
        os.setsid()
    *outputs, report = order.files
    for target, number in enumerate(outputs, start=1):
        os.dup2(number, target)
        os.close(number)
    os.write(report, NUMBER.pack(os.getpid()))
    os.close(report)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = ["revenant", *order.words]
    main(prog_name="revenant")


if __name__ == "__main__":
    assert all(main.commands.values())  # click imports each of them when it is asked for
    gc.collect()
    gc.freeze()  # a child that collects copies no page that it shares
    if order := Mother(socket.socket(fileno=int(sys.argv[1]))).serve():
        become(order)
