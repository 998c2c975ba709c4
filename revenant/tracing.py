"""OpenTelemetry spans of calls, casts, handlers, jobs, steps and runs, made from telemetry; needs the extra `otel`.

A handler's span begins a trace of its own, with a link to its sender's: a trace ends where nobody waits for the next.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextvars import Token
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from revenant import telemetry

SYSTEM, OPERATION = "messaging.system", "messaging.operation.type"
DESTINATION, MESSAGE_ID = "messaging.destination.name", "messaging.message.id"
KIND, KEY, HANDLER, ATTEMPT = "revenant.kind", "revenant.key", "revenant.handler", "revenant.attempt"
WORKFLOW, RUN, STEP, OUTCOME = "revenant.workflow", "revenant.run.id", "revenant.step", "revenant.run.outcome"
TASK, JOB = "revenant.job.task", "revenant.job.id"
ERROR = "error.type"
REMEMBERED = 10_000
"""Messages under way whose traces are kept in mind at most."""
_PROPAGATOR = TraceContextTextMapPropagator()


def trace(provider: TracerProvider | None = None) -> Callable[[], None]:
    """Trace what this process sends and handles, with the global provider or this one; return what ends it.

    Call it once in the application's module, before workers and clients start.

    Example:
        >>> end = trace()
        >>> end()
    """
    tracing = Tracing(provider)
    detach = telemetry.attach(tracing.hear)
    telemetry.carry(tracing)

    def end() -> None:
        detach()
        telemetry.carry(None)

    return end


class Tracing:
    """Makes spans of events, and carries traces along with messages; implements `revenant.telemetry.Carrier`."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("revenant", tracer_provider=provider)
        self._runs = RunTracing(self._tracer)
        self._departed: OrderedDict[str, str] = OrderedDict()
        self._arrived: OrderedDict[str, str] = OrderedDict()
        self._handled: OrderedDict[str, str] = OrderedDict()
        self._calls: OrderedDict[str, Span] = OrderedDict()
        self._running: dict[str, tuple[Span, Token[Context]]] = {}
        self._hear: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "message.send": self._send,
            "reply.receive": self._receive,
            "message.start": lambda told: self._start(
                _id_of(told), f"handle {_what(told)}", _attributes(told, "process")
            ),
            "message.handle": lambda told: self._end(_id_of(told), told),
            "job.start": self._start_job,
            "job.handle": lambda told: self._end(f"job {told['job']}", told),
            "step.start": self._runs.start_step,
            "step.handle": self._runs.end_step,
        }

    def hear(self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
        """Begin or end the span that the event is about."""
        if event == "run.end":
            self._runs.end_run(metadata, measurements["duration"])
        hearing = self._hear.get(event)
        if hearing is not None:
            hearing(metadata)

    def depart(self, message_id: str) -> None:
        """Note the trace of whoever sends a message inside a handler now."""
        _remember(self._departed, message_id, _traceparent(get_current_span()))

    def traces(self, message_ids: Iterable[str]) -> list[telemetry.Trace]:
        """Return the traces to store with these messages, of those that have one."""
        # What arrived leaves again where a failed cast is tried again later.
        known = ((name, self._departed.get(name) or self._arrived.get(name)) for name in message_ids)
        return [(name, found) for name, found in known if found is not None]

    def within(self, message_id: str) -> str | None:
        """Return the trace in which a message was handled last."""
        return self._handled.get(message_id)

    def arrive(self, traces: Iterable[telemetry.Trace]) -> None:
        """Take in what was stored with messages, before they are handled."""
        for name, traceparent in traces:
            _remember(self._arrived, name, traceparent)

    def _send(self, told: Mapping[str, Any]) -> None:
        if told["by"] != "client":
            return  # it has departed with the span of its handler
        call, message_id = bool(told["call"]), _id_of(told)
        span = self._tracer.start_span(
            f"{'call' if call else 'cast'} {_what(told)}",
            kind=SpanKind.CLIENT if call else SpanKind.PRODUCER,
            attributes=_attributes(told, "send"),
        )
        _remember(self._departed, message_id, _traceparent(span))
        if not call:
            span.end()
            return
        self._calls[message_id] = span
        while len(self._calls) > REMEMBERED:
            self._calls.popitem(last=False)[1].end()

    def _receive(self, told: Mapping[str, Any]) -> None:
        span = self._calls.pop(_id_of(told), None)
        if span is not None:
            if told["status"] != "ok":
                span.set_status(Status(StatusCode.ERROR, str(told["status"])))
            span.end()

    def _start(self, name: str, title: str, attributes: dict[str, Any], linked: str | None = None) -> None:
        sender = self._arrived.get(linked or name)
        links = [] if sender is None else _links(sender)
        # An empty context: whatever this task was made in is not what the message belongs to.
        span = self._tracer.start_span(
            title, context=Context(), kind=SpanKind.CONSUMER, links=links, attributes=attributes
        )
        _remember(self._handled, name, _traceparent(span))
        self._running[name] = span, contexts.attach(set_span_in_context(span))

    def _start_job(self, told: Mapping[str, Any]) -> None:
        attributes = {SYSTEM: "procrastinate", OPERATION: "process", TASK: told["task"], JOB: told["job"]}
        self._start(f"job {told['job']}", f"run {told['task']}", attributes, telemetry.job_name(told["job"]))

    def _end(self, name: str, told: Mapping[str, Any]) -> None:
        span, token = self._running.pop(name, (None, None))
        if span is None or token is None:
            return
        _fail(span, told["error"])
        contexts.detach(token)
        span.end()


class RunTracing:
    """Spans of attempts and of whole runs: a trace each, linked to what the same run did before in this process."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._latest: OrderedDict[str, str] = OrderedDict()
        self._steps: OrderedDict[tuple[object, ...], Span] = OrderedDict()

    def start_step(self, told: Mapping[str, Any]) -> None:
        """Begin the span of an attempt, in whose context the step then runs."""
        attributes = {**_of_run(told), STEP: told["step"], ATTEMPT: told["attempt"]}
        span = self._tracer.start_span(
            f"step {told['workflow']}.{told['step']}", context=Context(), links=self._links(told), attributes=attributes
        )
        self._steps[_attempt(told)] = span
        while len(self._steps) > REMEMBERED:
            self._steps.popitem(last=False)[1].end()
        # It ends with the attempt's own task: nothing is put back.
        contexts.attach(set_span_in_context(span))

    def end_step(self, told: Mapping[str, Any]) -> None:
        """End it."""
        span = self._steps.pop(_attempt(told), None)
        if span is not None:
            _remember(self._latest, _run(told), _traceparent(span))
            _fail(span, told["error"])
            span.end()

    def end_run(self, told: Mapping[str, Any], seconds: float) -> None:
        """Make the span of a run that has ended; it began before, and maybe in another process."""
        now = time.time_ns()
        span = self._tracer.start_span(
            f"run {told['workflow']}", context=Context(), links=self._links(told),
            attributes={**_of_run(told), OUTCOME: told["outcome"]}, start_time=now - int(seconds * 1e9),
        )  # fmt: skip
        self._latest.pop(_run(told), None)
        _fail(span, told["error"])
        span.end(now)

    def _links(self, told: Mapping[str, Any]) -> list[Link]:
        before = self._latest.get(_run(told))
        return [] if before is None else _links(before)


def _attempt(told: Mapping[str, Any]) -> tuple[object, ...]:
    return told["workflow"], told["run_id"], told["op"], told["attempt"]


def _run(told: Mapping[str, Any]) -> str:
    return f"{told['workflow']} {told['run_id']}"


def _of_run(told: Mapping[str, Any]) -> dict[str, Any]:
    return {WORKFLOW: told["workflow"], RUN: told["run_id"]}


def _fail(span: Span, error: str | None) -> None:
    if error is not None:
        span.set_attribute(ERROR, error)
        span.set_status(Status(StatusCode.ERROR, error))


def _id_of(told: Mapping[str, Any]) -> str:
    return str(told["message_id"])


def _what(told: Mapping[str, Any]) -> str:
    return f"{told['kind']}.{told['handler']}"


def _attributes(told: Mapping[str, Any], operation: str) -> dict[str, Any]:
    named = {
        SYSTEM: "revenant", OPERATION: operation, DESTINATION: told["kind"], MESSAGE_ID: told["message_id"],
        KIND: told["kind"], KEY: told["key"], HANDLER: told["handler"],
    }  # fmt: skip
    return {**named, ATTEMPT: told["attempt"]} if "attempt" in told else named


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return carrier.get("traceparent")


def _links(traceparent: str) -> list[Link]:
    found = get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}, Context())).get_span_context()
    return [Link(found)] if found.is_valid else []


def _remember(memory: OrderedDict[str, str], name: str, traceparent: str | None) -> None:
    if traceparent is not None:
        memory[name] = traceparent
        if len(memory) > REMEMBERED:
            memory.popitem(last=False)
