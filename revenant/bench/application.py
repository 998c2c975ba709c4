"""The application that the benchmark's workers serve: `revenant worker --app revenant.bench.application:app`."""

from __future__ import annotations

from revenant.app import Revenant
from revenant.bench.counter import BenchCounter

app = Revenant(entities=[BenchCounter])
