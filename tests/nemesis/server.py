"""A Postgres of one's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from revenant.embedded import Server


@contextmanager
def private_server(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that only this test uses, so that it may be crashed."""
    root = Path(tempfile.mkdtemp(prefix="revenant-nemesis-"))
    root.chmod(0o755)  # as root the server runs as another user, who has to reach it
    server = Server(root / "home", settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root)
