"""Every error that Revenant raises on purpose, in one tree.

    RevenantError
    ├── ConfigurationError        the program or its environment is set up wrongly
    │   ├── NestedCall            a handler tried to wait for another entity
    │   ├── ReadonlyBroken        a handler marked readonly changed something
    │   └── AlreadySent           the same message value was sent before
    ├── DatabaseUnavailable       Postgres cannot be reached, or cannot be written to
    ├── SchemaMismatch            the schema is missing, or older than this code
    ├── Refused                   the client did not send the message; nothing happened
    │   ├── InvalidKey            the key is empty, too long, or not text that Postgres stores
    │   ├── InvalidArguments      the arguments do not fit the handler's annotations
    │   ├── UnknownHandler        the entity has no such handler
    │   ├── UnknownKind           no such kind is registered here
    │   ├── TooLarge              payload or state over the limit
    │   ├── IdempotencyConflict   the key was used before, for another message
    │   ├── UnknownWorkflow       no such workflow is registered here
    │   ├── RunExists             a run of that id was started before, with another input
    │   ├── RunRefused            what was asked makes no sense where the run is now
    │   │   └── RunEnded          the run has ended
    │   ├── UpdateRefused         the run's code did not take the update
    │   ├── MessageBuried         a person took the message out of its mailbox
    │   └── AlreadyAnswered       somebody else has decided about the approval before
    ├── CallTimeout               no reply yet: the outcome is unknown, not failed
    ├── ReplyNotFound             that is no id of a message
    ├── ReplyInvalid              the message was handled; its reply does not fit what is expected here
    ├── ReplyNotKept              the update was answered before, and the answer is not kept
    ├── HandlerError              the handler raised; the state is as before the message
    │   ├── HandlerTimeout        the handler took too long and was cancelled
    │   ├── IntegrityViolation    its own SQL broke a constraint of the application's tables
    │   └── HandlerCrashed        it ended worker processes, again and again, and is not run any more
    ├── RunNotFound               there is no run of that id
    ├── RunFailed                 the run has failed, or was cancelled
    │   └── RunCancelled          the run was cancelled
    ├── StepFailed                in a workflow: the last attempt of a step has failed
    ├── HeartbeatTimeout          of a step: its attempt has said nothing for too long
    ├── StepInterrupted           of a step that is run at most once: nobody knows what its attempt came to
    ├── AttemptEnded              in a step: nobody waits for this attempt any more
    ├── StaleClaim                of an external step: somebody else has it now, or nobody waits for it
    ├── WaitTimeout               in a workflow: what it waited for did not come in time
    ├── Nondeterministic          a workflow's code does not fit the history of a run
    ├── Unstorable                a value that JSON in Postgres cannot hold; names the path
    ├── NotIdle                   in a test: messages still wait, or go on coming
    ├── HistoryNotKept            what the state was at that moment is not, or no longer, known
    ├── StateInvalid              stored state no longer fits the class; names the path
    └── Conflict                  the row moved under a turn: another worker owns it now

A message says what happened, why, and what to do next. None of them ever holds a password.
"""

from __future__ import annotations


class RevenantError(Exception):
    """The root: catch this to catch everything that Revenant raises on purpose."""

    replied: bool = False
    """Whether it came as a message's reply, so that the message was handled and is settled."""


class ConfigurationError(RevenantError):
    """The program or its environment is set up wrongly; nothing was sent."""


class NestedCall(ConfigurationError):
    """A handler tried to wait for another entity, which would hold one while waiting for the other."""


class ReadonlyBroken(ConfigurationError):
    """A handler marked `readonly` changed the state, sent, deferred or deleted; nothing of it was kept."""


class AlreadySent(ConfigurationError):
    """The same message value was sent before: sent again, it would count twice.

    `message_id` (str or None) is what it was sent as: `await app.reply(error.message_id)` waits for its reply.
    """

    def __init__(self, text: str, *, message_id: str | None = None) -> None:
        super().__init__(text)
        self.message_id = message_id


class DatabaseUnavailable(RevenantError):
    """Postgres cannot be reached, or cannot be written to, within the time allowed."""


class SchemaMismatch(RevenantError):
    """The `revenant` schema is missing, or older than this code; `revenant migrate` mends it."""


class Refused(RevenantError):
    """The message was not handled; nothing has changed."""


class InvalidKey(Refused):
    """The key is empty, over 512 bytes, or holds a NUL or a lone surrogate."""


class InvalidArguments(Refused):
    """The arguments do not fit the handler's annotations; the text names each path."""


class UnknownHandler(Refused):
    """The entity has no handler of that name."""


class UnknownKind(Refused):
    """No entity of that kind is registered with this application."""


class TooLarge(Refused):
    """The payload or the state is over the limit; the message and the state are untouched."""


class IdempotencyConflict(Refused):
    """The idempotency key was used before, for another handler or other arguments."""


class UnknownWorkflow(Refused):
    """No workflow of that name and version is registered with this application."""


class RunExists(Refused):
    """A run of that id was started before, with another input; that one goes on."""


class RunRefused(Refused):
    """What was asked makes no sense where the run is now: parked, blocked, about to end; nothing of it was done."""


class RunEnded(RunRefused):
    """The run has ended; nothing of what was asked was done."""


class UpdateRefused(Refused):
    """The run's code did not take the update; nothing of it was done."""


class MessageBuried(Refused):
    """A person took the message out of its mailbox: it was not handled, and is kept as a dead letter."""


class AlreadyAnswered(Refused):
    """Somebody has decided about the approval before, and that stands; `by` (str) is who."""

    def __init__(self, text: str, *, by: str) -> None:
        super().__init__(text)
        self.by = by


class CallTimeout(RevenantError, TimeoutError):
    """No reply within the time allowed. The outcome is *unknown*: the message may yet be handled.

    `message_id` (str) attaches later: `await app.reply(error.message_id)`.
    """

    def __init__(self, text: str, *, message_id: str) -> None:
        super().__init__(text)
        self.message_id = message_id


class ReplyNotFound(RevenantError):
    """The text is no id of a message, so it can never have a reply."""


class ReplyInvalid(RevenantError):
    """The message was handled, and its reply does not fit the type by which it is read here.

    `body` (str) is the reply as it was committed, JSON text; it is not kept anywhere else.
    """

    def __init__(self, text: str, *, body: str) -> None:
        super().__init__(text)
        self.body = body


class ReplyNotKept(RevenantError):
    """The same update was answered before, and nothing was done again; its answer was too large to be kept so long."""


class HandlerError(RevenantError):
    """The handler raised. The state is as it was before the message.

    `type` (str) is the original exception's qualified name, `message` (str) its text, `traceback` (str or
    None) its traceback where the application opted in with `Revenant(tracebacks=True)`.
    """

    def __init__(self, text: str, *, type: str, message: str, traceback: str | None = None) -> None:
        super().__init__(text)
        self.type = type
        self.message = message
        self.traceback = traceback


class HandlerTimeout(HandlerError):
    """The handler ran longer than the limit and was cancelled; the state is as before the message."""


class IntegrityViolation(HandlerError):
    """The handler's own SQL broke a constraint of the application's tables; nothing of the message is kept.

    `sqlstate` (str) is Postgres' code, `23505` for a unique violation; `constraint`, `table` and `column`
    (str or None) are the names that Postgres gives: of a missing value it names no constraint, but the column.
    """

    def __init__(
        self,
        text: str,
        *,
        type: str,
        message: str,
        traceback: str | None = None,
        sqlstate: str,
        constraint: str | None = None,
        table: str | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(text, type=type, message=message, traceback=traceback)
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.table = table
        self.column = column


class HandlerCrashed(HandlerError):
    """Worker processes died while they handled the message, several times: it was set aside, the state is as before."""


class RunNotFound(RevenantError):
    """There is no run of that id."""


class RunFailed(RevenantError):
    """The run has failed. `type` (str) and `message` (str) are those of the error that ended it."""

    def __init__(self, text: str, *, type: str, message: str) -> None:
        super().__init__(text)
        self.type = type
        self.message = message


class RunCancelled(RunFailed):
    """The run was cancelled; `message` is the reason that was given."""


class StepFailed(RevenantError):
    """The last attempt of a step has failed; raised in the workflow's code, where the step was awaited.

    `step` (str) is its name, `type` and `message` (str) are those of what the attempt raised, `attempts` (int) says
    how many there were.
    """

    def __init__(self, text: str, *, step: str, type: str, message: str, attempts: int) -> None:
        super().__init__(text)
        self.step = step
        self.type = type
        self.message = message
        self.attempts = attempts


class HeartbeatTimeout(RevenantError, TimeoutError):
    """An attempt of a step sent no heartbeat within the time allowed; it has failed, and another one may follow."""


class StepInterrupted(RevenantError):
    """The worker of an attempt of a step marked `at_most_once` has ended, and what it came to is not recorded.

    It is the type that such an attempt is recorded with, as failed. Named in `Retry(on=(StepInterrupted,))`, another
    attempt follows.
    """


class AttemptEnded(RevenantError):
    """Nobody waits for this attempt any more: it took too long, or its run was cancelled or went on elsewhere."""


class StaleClaim(RevenantError):
    """An external step was answered or renewed by a claim that does not hold any more; nothing was changed."""


class WaitTimeout(RevenantError, TimeoutError):
    """What a workflow's code waited for did not come within the time allowed; `name` (str) is what it was."""

    def __init__(self, text: str, *, name: str) -> None:
        super().__init__(text)
        self.name = name


class Nondeterministic(RevenantError):
    """A workflow's code does not ask for what the history of a run says that it has asked for."""


class Unstorable(RevenantError):
    """A state, argument or result holds what JSON in Postgres cannot; `path` (str) names the field."""

    def __init__(self, text: str, *, path: str) -> None:
        super().__init__(text)
        self.path = path


class StateInvalid(RevenantError):
    """Stored state no longer fits its class; nothing is overwritten. `path` (str) names the field."""

    def __init__(self, text: str, *, path: str) -> None:
        super().__init__(text)
        self.path = path


class NotIdle(RevenantError):
    """A test's `run_until_idle` gave up: messages wait that are not handled, or others go on coming."""


class HistoryNotKept(RevenantError):
    """What the state was at that moment is not known: it is older than what is kept, or than the history itself."""


class Conflict(RevenantError):
    """The entity's row is not the one this turn loaded: another worker owns it; the turn was rolled back."""
