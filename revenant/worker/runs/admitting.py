"""Admitting: what a visit found becomes a run in memory: begun, read from its events, or gone on with; or an answer."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic_core import from_json, to_json

from revenant import telemetry
from revenant.codec import as_text, digest_of, new_id
from revenant.config import Settings
from revenant.queue.records import DeadLetter, Delivery, Hint, Reply, Settlement
from revenant.queue.runs import Head, VisitedRun
from revenant.worker.fleet import Fleet
from revenant.worker.runs.again import Again
from revenant.worker.runs.blocked import block_unread, end_unread
from revenant.worker.runs.forked import begin_forked, forked_version
from revenant.worker.runs.stage import Staged, waits_of
from revenant.worker.runs.versions import Versions
from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.address import Address
from revenant.workflows.arguments import Unusable, read_args
from revenant.workflows.ending import refused_child
from revenant.workflows.events import ENDS, event
from revenant.workflows.lasting import clock_of, start_clock
from revenant.workflows.late import ended, missing
from revenant.workflows.live import LiveRun
from revenant.workflows.receiving import receive
from revenant.workflows.registry import Workflows
from revenant.workflows.replying import refuse, reply
from revenant.workflows.signals import latest
from revenant.workflows.snapshot import FORMAT
from revenant.workflows.workflow import Workflow

log = logging.getLogger("revenant.runs")
_ENDED = frozenset(ENDS.values())


class Admitting:
    """Makes runs of what visits find."""

    def __init__(self, *, workflows: Workflows, settings: Settings, fleet: Fleet) -> None:
        self._workflows = workflows
        self._settings = settings
        self._versions = Versions(workflows=workflows, fleet=fleet)
        self._late: list[Settlement] = []
        self._why_not: str | None = None
        """Why no code is run of what is read now."""
        self._formats = {
            kind: FORMAT
            for kind, versions in workflows.kinds.items()
            if all(one.new_decisions("") is not None for one in versions.values())
        }

    def format_of(self, kind: str) -> str | None:
        """Return which snapshots of such runs can be read; None: none, since some of their code is no decider."""
        return self._formats.get(kind)

    def has_code(self, hint: Hint, version: int) -> bool:
        """Whether a run of that version is gone on with here."""
        return self._versions.code_for(Address(hint.bucket, hint.kind, hint.key), version) is not None

    def take_late(self) -> list[Settlement]:
        """Return the answers to messages that reach no run, each with its message."""
        late, self._late = self._late, []
        return late

    def admit(self, hint: Hint, visited: VisitedRun, known: Staged | None, *, now: datetime) -> Staged | None:
        """Return the run with its messages taken in, not gone on with yet; None: nothing can be done about it here."""
        address = Address(hint.bucket, hint.kind, hint.key)
        head, deliveries = visited.head, visited.deliveries
        if head is None:
            return self._begin(address, deliveries, now)
        if head.status in _ENDED:
            for delivery in deliveries:
                self._answer_late(address, head, delivery)
            return None
        staged = known
        if staged is None:
            if not visited.events and visited.snapshot is None:
                return None
            staged = self._read(address, head, visited, now)
            if staged is None:
                return None
            staged.live.now = now
            attempts.recover(staged.live, died=visited.verdict == "dead")
        staged.live.now = now
        for delivery in deliveries:
            self._receive(staged, delivery)
        return staged

    def condemn(self, hint: Hint, visited: VisitedRun, fate: str, *, now: datetime) -> Staged | None:
        """Return a run whose code kills its process as one that is only to fail; none of its code is run for that."""
        self._why_not = "It kills its process."
        try:
            staged = self.admit(hint, visited, None, now=now)
        finally:
            self._why_not = None
        if staged is not None:
            attempts.code_killed(staged.live, fate)
        return staged

    def block(self, hint: Hint, visited: VisitedRun, error: Exception, *, now: datetime) -> Staged | None:
        """Return a run that cannot be read as one that is to be blocked, or, if it is and somebody cancels it, ended.

        None: it is blocked already, or there is no such run yet.
        """
        head = visited.head
        if head is None or head.status in _ENDED:
            return None
        cancels = [one for one in visited.deliveries if one.handler == "cancel"] if head.status == "blocked" else []
        if head.status == "blocked" and not cancels:
            return None
        address = Address(hint.bucket, hint.kind, hint.key)
        workflow = self._workflows.find(hint.kind, head.version) or self._workflows.newest(hint.kind)
        staged = block_unread(address, head, error, workflow=workflow, now=now, limit=self._settings.max_bytes)
        return end_unread(staged, event(*visited.events[0]), cancels) if cancels else staged

    def _receive(self, staged: Staged, delivery: Delivery) -> None:
        live = staged.live
        if delivery.handler == "start":
            live.draft.consumed.append(delivery.taken)
            try:
                self._again(live, staged.digest, delivery)
            except Unusable as error:
                refuse(live, delivery, "InvalidArguments", str(error))
            return
        if delivery.handler == "migrate" and not live.view.over:
            try:
                delivery = self._versions.choose(live.address, delivery)
            except Unusable as error:
                live.draft.consumed.append(delivery.taken)
                refuse(live, delivery, "UnknownWorkflow", str(error))
                return
        receive(live, delivery)

    def _again(self, live: LiveRun, digest: bytes, delivery: Delivery) -> None:
        """It was started before: the same start has the same answer, and another one is refused."""
        args = read_args(delivery)
        if _digest(delivery, args) == digest:
            reply(live, delivery, {"run": live.run, "created": False})
            return
        refuse(live, delivery, "RunExists", _exists(live.address))
        if (parent := args.get("parent")) is not None:
            live.draft.sends.append(refused_child(parent, live.address, "RunExists", _exists(live.address)))

    # Runs that there are not yet.

    def _begin(self, address: Address, deliveries: Sequence[Delivery], now: datetime) -> Staged | None:
        staged: Staged | None = None
        if any(self._is_elsewhere(address, delivery) for delivery in deliveries[:1]):
            return None
        for delivery in deliveries:
            if staged is not None:
                self._receive(staged, delivery)
            elif delivery.handler == "start":
                staged = self._started(address, delivery, now)
            else:
                self._refuse_late(delivery, "RunNotFound", missing(address, delivery.handler))
        return staged

    def _is_elsewhere(self, address: Address, delivery: Delivery) -> bool:
        """Whether it starts a run of a version that only others have."""
        try:
            version = forked_version(delivery)
        except Unusable:
            return False
        return version is not None and self._versions.code_for(address, version) is None

    def _fork(self, address: Address, delivery: Delivery, args: dict[str, Any], now: datetime) -> Staged:
        code = self._versions.code_for(address, args["version"], wanted=True)
        assert code is not None
        live = self._live(address, new_id(address.bucket), code.workflow, now, codeless=code.why_not)
        begin_forked(live, delivery, args)
        return Staged(live, None, 0, 0, False, _digest(delivery, args), delivery.origin, None)

    def _started(self, address: Address, delivery: Delivery, now: datetime) -> Staged | None:
        workflow, args = self._workflows.newest(address.kind), {}
        try:
            args = read_args(delivery)
            if forked_version(delivery) is not None:
                return self._fork(address, delivery, args, now)
            if self._why_not is None:
                # Else that is what may have killed: the run begins, and fails, with its input as it came.
                workflow.check_input(args.get("input"))
        except (Exception, Unusable) as error:  # noqa: BLE001 # a type may refuse what it reads in any way
            self._refuse_start(address, delivery, args.get("parent"), as_text(str(error)))
            return None
        live = self._live(address, new_id(address.bucket), workflow, now)
        parent = args.get("parent")
        told: dict[str, Any] = {} if parent is None else {"parent": parent}
        told |= clock_of(workflow)
        live.record(
            e.RUN_STARTED, None, workflow=workflow.name, version=workflow.version, input=args.get("input"), **told
        )
        live.draft.given, live.draft.start = 1, delivery.id
        start_clock(live)
        live.draft.consumed.append(delivery.taken)
        reply(live, delivery, {"run": live.run, "created": True})
        text = None if parent is None else to_json(parent).decode()
        return Staged(live, None, 0, 0, False, _digest(delivery, args), delivery.origin, text)

    def _refuse_start(self, address: Address, delivery: Delivery, parent: Any, text: str) -> None:
        error = "InvalidArguments"
        if parent is not None or delivery.origin is not None:
            self._refuse_late(delivery, error, text)
            if parent is not None:
                self._late[-1].sends.append(refused_child(parent, address, error, text))
            return
        # It was committed with somebody's state or SQL, and nobody waits who could be told.
        letter = unstarted(address, delivery, error, text)
        self._late.append(Settlement(taken=[delivery.taken], burials=[letter]))
        log.warning(
            "%s(%r): a start, message %s, is a dead letter: %s `revenant dead retry` tries it with newer code.",
            *(address.kind, address.key, delivery.id, text),
        )
        told = {"kind": address.kind, "key": address.key, "handler": "start", "message_id": delivery.id, "error": error}
        telemetry.emit("dead_letter.keep", {"attempts": letter.attempts}, told)

    def begin_anew(self, staged: Staged, *, now: datetime) -> Staged:
        """Return the run with a fresh history, which its last event asks for; its code is the newest one."""
        old = staged.live
        workflow = self._workflows.newest(old.address.kind)
        live = self._live(old.address, new_id(old.address.bucket), workflow, now)
        last, first = old.view, old.view.started
        assert first is not None
        told = {name: first.data[name] for name in ("parent",) if name in first.data}
        told["generation"] = last.generation + 1
        if last.children:
            told["children"] = list(last.children.values())
        told |= clock_of(workflow)
        told["signals"] = last.signals.recorded()
        live.record(
            e.RUN_STARTED, None, workflow=workflow.name, version=workflow.version, input=last.continued, **told,
            signal_ids=latest(last.signal_ids), updates=last.updates.recorded(), continues=old.run,
        )  # fmt: skip
        start_clock(live)
        return Staged(
            live, staged.stream, staged.seq, staged.fence, staged.owned, staged.digest, staged.origin, staged.parent,
            staged.waits,
        )  # fmt: skip

    # Runs that there are.

    def _read(self, address: Address, head: Head, visited: VisitedRun, now: datetime) -> Staged | None:
        moves = any(delivery.handler == "migrate" for delivery in visited.deliveries)
        code = self._versions.code_for(address, head.version, wanted=moves)
        if code is None:
            return None
        history = [event(*one) for one in visited.events]
        since = 0 if visited.snapshot is None else visited.snapshot.seq
        if since + len(history) != head.seq:
            raise ValueError(f"of its {head.seq} events {since + len(history)} are there")
        live = self._live(address, head.run, code.workflow, now, codeless=code.why_not)
        live.load(history, None if visited.snapshot is None else visited.snapshot.text)
        staged = Staged(
            live, head.run, head.seq, head.fence, visited.verdict == "ours", head.digest, head.origin,
        )  # fmt: skip
        staged.waits = waits_of(live.view)
        staged.progress = {op: from_json(text) for op, text in visited.progress.items()}
        if live.view.continued_now and live.view.status != "blocked":
            return self.begin_anew(staged, now=now)
        return staged

    def _live(
        self, address: Address, run: str, workflow: Workflow[Any, Any], now: datetime, *, codeless: str | None = None
    ) -> LiveRun:
        return LiveRun(
            address=address, run=run, workflow=workflow, now=now, chance=random.random,
            limit=self._settings.max_bytes, codeless=codeless or self._why_not,
        )  # fmt: skip

    # Messages that reach no run.

    def _answer_late(self, address: Address, head: Head, delivery: Delivery) -> None:
        try:
            args = read_args(delivery)
            given = _digest(delivery, args) if delivery.handler == "start" else None
        except Unusable as error:
            self._refuse_late(delivery, "InvalidArguments", str(error))
            return
        if given is None:
            again = None
            if delivery.handler in ("signal", "update") and args.get("id") is not None:
                again = Again(
                    bucket=address.bucket, stream=head.run, seq=head.seq, delivery=delivery, args=args,
                    ttl=self._settings.reply_ttl,
                )  # fmt: skip
            self._refuse_late(delivery, "RunEnded", ended(address, head.status, delivery.handler), again)
            return
        if given == head.digest:
            body = to_json({"run": head.run, "created": False}).decode()
            self._reply_late(delivery, Reply(delivery.id, "ok", head.seq, body))
        else:
            self._refuse_late(delivery, "RunExists", _exists(address))
            if (parent := args.get("parent")) is not None:
                self._late[-1].sends.append(refused_child(parent, address, "RunExists", _exists(address)))

    def _refuse_late(self, delivery: Delivery, error: str, text: str, late: Settlement | None = None) -> None:
        body = to_json({"error": error, "type": error, "message": text}).decode()
        self._reply_late(delivery, Reply(delivery.id, "error", 0, body), late)

    def _reply_late(self, delivery: Delivery, answer: Reply, late: Settlement | None = None) -> None:
        late = late or Settlement()
        late.taken.append(delivery.taken)
        self._late.append(late)
        if delivery.origin is not None:
            late.replies.append((answer, self._settings.reply_ttl))
            late.wakes.setdefault(delivery.origin, []).append(answer)
        else:
            log.info("Message %s for a run did nothing: %s", delivery.id, from_json(answer.body).get("message", ""))


def unstarted(address: Address, delivery: Delivery, error: str, text: str) -> DeadLetter:
    """Return a start that nothing comes of as a dead letter: code that takes it may come yet."""
    body = to_json({"error": error, "type": error, "message": text}).decode()
    return DeadLetter(
        *address, delivery.id, delivery.handler, delivery.args, delivery.digest, delivery.attempts + 1, body
    )


def _digest(delivery: Delivery, args: dict[str, Any]) -> bytes:
    # A child is its parent's: the same start by somebody else is another one, and nobody waits for what never comes.
    started = [args.get("input")] if args.get("parent") is None else [args.get("input"), args["parent"]]
    if forked_version(delivery) is not None:
        # Where it comes from stands in its first event.
        started += [args["version"], args["events"][:1]]
    return digest_of("start", to_json(started).decode())


def _exists(address: Address) -> str:
    return (
        f"Run {address.key!r} of {address.workflow} was started before, with another input or by another run; that one "
        "stands. Use an id of its own for this one, or the same input."
    )
