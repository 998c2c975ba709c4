"""The application that the benchmark's workers serve: `revenant worker --app revenant.bench.application:app`."""

from __future__ import annotations

from revenant.app import Revenant
from revenant.bench.album import BenchAlbum, BenchLooseAlbum
from revenant.bench.counter import BenchCounter
from revenant.bench.course import course, field, rest
from revenant.bench.guest import BenchCopy, BenchGuest, BenchOther, BenchResident

app = Revenant(
    entities=[BenchCounter, BenchResident, BenchGuest, BenchCopy, BenchOther, BenchAlbum, BenchLooseAlbum],
    workflows=[course, field, rest],
)
