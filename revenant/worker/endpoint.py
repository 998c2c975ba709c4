"""Endpoint: one worker process's door for monitors: `/metrics`, `/livez` and `/readyz`, served from a thread.

Invariant: it answers while the event loop stands still, which is when a monitor needs the answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from revenant.offspring import keep_from_offspring

log = logging.getLogger("revenant.endpoint")
Page = Callable[[], bytes]
Health = Callable[[], str]
"""Returns what is wrong; empty when nothing is."""
_TEXT = "text/plain; charset=utf-8"


class Endpoint:
    """Serves on a port of all interfaces; 0 takes a free one. `alive` and `ready` are asked from other threads."""

    def __init__(self, *, port: int, metrics: Page, content_type: str, alive: Health, ready: Health) -> None:
        self._pages: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/metrics": lambda: (HTTPStatus.OK, content_type, metrics()),
            "/livez": lambda: _health(alive()),
            "/readyz": lambda: _health(ready()),
        }
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        """Return the port that is served."""
        return self._port if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        if self._server is not None:
            return
        self._server = ThreadingHTTPServer(("", self._port), self._door())
        self._server.daemon_threads = True
        keep_from_offspring(self._server)
        threading.Thread(target=self._server.serve_forever, name="revenant-endpoint", daemon=True).start()
        log.info("Metrics and health on port %d: /metrics, /livez, /readyz.", self.port)

    def stop(self) -> None:
        """Hang up; safe before start and twice."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _door(self) -> type[BaseHTTPRequestHandler]:
        pages = self._pages

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the standard library's name
                """Answer with one of the pages."""
                page = pages.get(self.path.partition("?")[0])
                status, kind, body = (HTTPStatus.NOT_FOUND, _TEXT, b"not found\n") if page is None else page()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing of a question: monitors ask all the time."""

        return Door


def _health(wrong: str) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return status, _TEXT, f"{wrong or 'ok'}\n".encode()
