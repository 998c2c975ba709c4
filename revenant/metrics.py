"""Metrics for Prometheus, counted from telemetry; needs the extra `prometheus`.

Invariant: no id, key or other word that senders choose becomes a label: kinds and handlers are those of the classes,
workflows and steps those of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_SECONDS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0, 604800.0, 2592000.0)
_BYTES = (64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 8388608)


class Metrics:
    """One worker's numbers; `hear` is attached to telemetry, `page` is what `/metrics` shows."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        kind, handler = ("kind",), ("kind", "handler")
        self._handled = Counter(
            "revenant_messages", "Messages that handlers have ended with.", (*handler, "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "revenant_handler_seconds", "How long handlers took.", handler, buckets=_SECONDS, registry=registry
        )
        self._commits = Histogram(
            "revenant_commit_seconds", "How long the commits of turns took.", buckets=_SECONDS, registry=registry
        )
        self._batch = Counter("revenant_committed_messages", "Messages that left with commits.", registry=registry)
        self._states = Histogram(
            "revenant_state_bytes", "States as they were written.", kind, buckets=_BYTES, registry=registry
        )
        self._loads = Counter("revenant_state_loads", "States that were read and parsed.", kind, registry=registry)
        self._conflicts = Counter("revenant_state_conflicts", "Writes that were fenced off.", kind, registry=registry)
        self._failures = Counter("revenant_turn_failures", "Turns that did not commit.", registry=registry)
        self._retries = Counter("revenant_message_retries", "Casts that are tried again.", kind, registry=registry)
        self._dead = Counter("revenant_dead_letters", "Messages that failed for good.", kind, registry=registry)
        self._takeovers = Counter("revenant_takeovers", "Other workers that were seen to die.", registry=registry)
        self._misses = Counter("revenant_wakeup_misses", "Messages that were met late.", registry=registry)
        self._runs = RunMetrics(registry)
        self._hear: Mapping[str, Callable[[Mapping[str, float], Mapping[str, Any]], None]] = {
            "message.handle": self._handle,
            "turn.commit": self._commit,
            "turn.fail": lambda _, __: self._failures.inc(),
            "state.commit": lambda sizes, told: self._states.labels(told["kind"]).observe(sizes["bytes"]),
            "state.load": lambda _, told: self._loads.labels(told["kind"]).inc(),
            "state.conflict": lambda _, told: self._conflicts.labels(told["kind"]).inc(),
            "message.retry": lambda _, told: self._retries.labels(told["kind"]).inc(),
            "dead_letter.keep": lambda _, told: self._dead.labels(told["kind"]).inc(),
            "takeover.begin": lambda _, __: self._takeovers.inc(),
            "wakeup.miss": lambda counts, _: self._misses.inc(counts["count"]),
            **self._runs.heard,
        }

    def hear(self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
        """Count one event."""
        counting = self._hear.get(event)
        if counting is not None:
            counting(measurements, metadata)

    def page(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self._registry)

    def _handle(self, took: Mapping[str, float], told: Mapping[str, Any]) -> None:
        self._handled.labels(told["kind"], told["handler"], told["outcome"]).inc()
        self._seconds.labels(told["kind"], told["handler"]).observe(took["duration"])

    def _commit(self, sizes: Mapping[str, float], _: Mapping[str, Any]) -> None:
        self._commits.observe(sizes["duration"])
        self._batch.inc(sizes["messages"])


class RunMetrics:
    """The numbers of workflows' runs and steps."""

    def __init__(self, registry: CollectorRegistry) -> None:
        workflow, step = ("workflow",), ("workflow", "step")
        self._started = Counter("revenant_runs_started", "Runs that have begun.", workflow, registry=registry)
        self._ended = Counter("revenant_runs", "Runs that have ended.", (*workflow, "outcome"), registry=registry)
        self._took = Histogram(
            "revenant_run_seconds",
            "From runs' starts to their ends.",
            workflow,
            buckets=_LONG_SECONDS,
            registry=registry,
        )
        self._attempts = Counter(
            "revenant_step_attempts", "Attempts that have ended.", (*step, "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "revenant_step_seconds", "How long attempts took.", step, buckets=_SECONDS, registry=registry
        )
        self._retries = Counter("revenant_step_retries", "Attempts that are tried again.", workflow, registry=registry)
        self._recovered = Counter(
            "revenant_run_recoveries", "Runs that go on after a worker died.", workflow, registry=registry
        )
        self._blocked = Counter("revenant_runs_blocked", "Runs that were blocked.", workflow, registry=registry)
        self._signals = Counter("revenant_run_signals", "Signals that runs got.", workflow, registry=registry)
        self.heard: Mapping[str, Callable[[Mapping[str, float], Mapping[str, Any]], None]] = {
            "run.start": lambda _, told: self._started.labels(told["workflow"]).inc(),
            "run.end": self._end,
            "run.block": lambda _, told: self._blocked.labels(told["workflow"]).inc(),
            "run.recover": lambda _, told: self._recovered.labels(told["workflow"]).inc(),
            "step.handle": self._step,
            "step.retry": lambda _, told: self._retries.labels(told["workflow"]).inc(),
            "signal.receive": lambda _, told: self._signals.labels(told["workflow"]).inc(),
        }
        """What is counted, by the events that tell of it."""

    def _end(self, took: Mapping[str, float], told: Mapping[str, Any]) -> None:
        self._ended.labels(told["workflow"], told["outcome"]).inc()
        self._took.labels(told["workflow"]).observe(took["duration"])

    def _step(self, took: Mapping[str, float], told: Mapping[str, Any]) -> None:
        self._attempts.labels(told["workflow"], told["step"], told["outcome"]).inc()
        self._seconds.labels(told["workflow"], told["step"]).observe(took["duration"])
