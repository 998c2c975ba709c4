"""What `revenant worker` does for monitors: an endpoint for each process, where a port was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

import click

from revenant import telemetry
from revenant.worker.endpoint import Endpoint, Health


@contextmanager
def monitored(port: int | None, *, alive: Health, ready: Health) -> Iterator[None]:
    """Serve the process's numbers and health on `port`, if any, meanwhile."""
    if port is None:
        yield
        return
    numbers = metrics_module().Metrics()
    endpoint = Endpoint(
        port=port, metrics=numbers.page, content_type=metrics_module().CONTENT_TYPE, alive=alive, ready=ready
    )
    try:
        endpoint.start()
    except (OSError, OverflowError) as error:
        raise click.ClickException(
            f"The port {port} for metrics cannot be served: {error}. Nothing was started; give another --metrics-port."
        ) from error
    detach = telemetry.attach(numbers.hear)
    try:
        yield
    finally:
        detach()
        endpoint.stop()


def metrics_module() -> ModuleType:
    """Return what counts for Prometheus; a user is told what to install where it cannot be imported."""
    try:
        return import_module("revenant.metrics")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            "--metrics-port needs prometheus-client, which is not installed. Nothing was started; install it with "
            "`pip install 'revenant-py[prometheus]'`."
        ) from error
