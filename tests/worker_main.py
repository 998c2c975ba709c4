"""A worker process for tests: `python -m tests.worker_main --app module:attribute`, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import signal
import sys

from revenant.app import Revenant


async def serve(app: Revenant, options: argparse.Namespace) -> None:
    """Run one worker until a signal says to drain."""
    settings = app.settings.model_copy(
        update={"lanes": options.lanes, "jobs": options.jobs, "drain_timeout": options.drain_timeout}
    )
    worker = app.worker(kinds=options.kinds.split(",") if options.kinds else None, settings=settings)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await worker.start()
    await over.wait()
    await worker.stop()


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--app", required=True)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--drain-timeout", type=float, default=25.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    module, _, attribute = options.app.partition(":")
    asyncio.run(serve(getattr(importlib.import_module(module), attribute), options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
