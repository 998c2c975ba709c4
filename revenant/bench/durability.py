"""Durability: strict entities beside relaxed ones: calls, the wait of one caller, and the WAL of a large state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from revenant.bench.album import BenchAlbum, BenchLooseAlbum
from revenant.bench.counter import BenchCounter
from revenant.bench.guest import BenchResident
from revenant.bench.load import Measured, attempt, press, work_off
from revenant.bench.ring import Ring, ring
from revenant.bench.tally import Tally, tally
from revenant.sql import statement

SLICES = 4
"""Slices of each kind: what else the machine does hits both alike."""
SEEDS_AT_ONCE = 128
PAGES = 256 * 1024
"""Bytes of the large state."""
ENTITIES = 1000
KINDS = (BenchCounter, BenchResident, BenchAlbum, BenchLooseAlbum)


@dataclass(frozen=True, slots=True)
class Level:
    """What one durability showed."""

    many: Measured
    """All callers at once."""
    alone: Measured
    """One caller."""
    album: Measured
    """One caller, and the large state."""
    wal: int
    """Bytes of WAL that the album's messages took, with all that is written for them later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurabilityResult:
    """What `bench durability` measured."""

    callers: int
    messages: int
    strict: Level
    interval: Level
    tally: Tally


class _Side:
    """One durability's entities, and all that they were told."""

    def __init__(self, site: Ring, counter: type[BenchCounter], album: type[BenchAlbum]) -> None:
        self._site = site
        self._counters = [site.ref(counter, number) for number in range(ENTITIES)]
        self._album = site.ref(album, 0)
        self.many, self.alone, self.album, self.seeds = Measured(), Measured(), Measured(), Measured()
        self.wal = 0

    async def call(self, _: int, entity: int) -> int:
        return await self._counters[entity].add(1)

    async def add(self, _: int, __: int) -> int:
        return await self._album.add(1)

    async def seed(self) -> None:
        pace = await work_off(self.call, total=ENTITIES, entities=ENTITIES, at_once=SEEDS_AT_ONCE)
        self.seeds.latencies += [0.0] * pace.count
        await self._album.fill(PAGES)
        await self._site.app.passivate(self._album)

    async def press(self, *, callers: int, seconds: float) -> None:
        await press(self.call, callers=callers, entities=ENTITIES, seconds=seconds, into=self.many)
        await press(self.call, callers=1, entities=ENTITIES, seconds=seconds, into=self.alone)

    async def leaf(self, messages: int) -> None:
        """Tell the large state one message after the other."""
        before = await self._written()
        for _ in range(messages):
            await attempt(self.add, 0, 0, into=self.album)
        await self._site.app.passivate(self._album)
        self.wal = await self._written() - before

    async def _written(self) -> int:
        row = await (await self._site.look.execute(statement("read_wal"))).fetchone()
        assert row is not None
        return int(row[0])

    @property
    def measured(self) -> list[Measured]:
        return [self.many, self.alone, self.album, self.seeds]

    @property
    def level(self) -> Level:
        return Level(self.many, self.alone, self.album, self.wal)


async def measure_durability(
    *, callers: int, seconds: float, messages: int, say: Callable[[str], None]
) -> DurabilityResult:
    """Measure `messages` to a large state; then each durability for `seconds` of many callers, and as many of one."""
    async with ring(workers=1, say=say, kinds=KINDS) as site:
        await site.start()
        strict = _Side(site, BenchCounter, BenchAlbum)
        interval = _Side(site, BenchResident, BenchLooseAlbum)
        for side in (strict, interval):
            await side.seed()
        # Before the others, and the strict one last: what they leave is vacuumed afterwards, and that is written, too.
        for side in (interval, strict):
            # What was measured before is to be on disk, and not among what is measured now.
            await site.settle()
            await side.leaf(messages)
        for _ in range(SLICES):
            for side in (strict, interval):
                await side.press(callers=callers, seconds=seconds / SLICES)
                site.crew.watch()
        await site.settle()
        return DurabilityResult(
            callers=callers,
            messages=messages,
            strict=strict.level,
            interval=interval.level,
            tally=tally([*strict.measured, *interval.measured], total=await site.total()),
        )


def durability_as_json(result: DurabilityResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; rates a second, `_ms` in milliseconds."""
    figures: dict[str, object] = {}
    for name, level in (("strict", result.strict), ("interval", result.interval)):
        figures |= {
            f"{name}_calls_per_second": round(level.many.per_second, 1),
            f"{name}_p50_ms": level.alone.at(0.5),
            f"{name}_wal_bytes": level.wal,
            f"{name}_many_p50_ms": level.many.at(0.5),
            f"{name}_album_p50_ms": level.album.at(0.5),
        }
    return {**figures, "callers": result.callers, "messages": result.messages, **result.tally.as_json()}
