"""Durable entities and workflows on the Postgres you already run: a reply is a commit receipt.

Write an `Entity` with handlers, put it into a `Revenant`, send it messages from any process, and run
`revenant worker` as often as you like. What a caller has been told is committed, whatever dies afterwards.
"""

from revenant.app import Revenant
from revenant.client.run import Run
from revenant.config import Settings
from revenant.entities.context import Turn
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.entities.history import Change
from revenant.entities.message import Message
from revenant.entities.ref import ref
from revenant.entities.schedule import Schedule
from revenant.errors import (
    CallTimeout,
    ConfigurationError,
    DatabaseUnavailable,
    HandlerError,
    Refused,
    RevenantError,
    RunFailed,
    SchemaMismatch,
    StateInvalid,
    StepFailed,
)
from revenant.workflows.decider import Decider
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.sequence import sequence
from revenant.workflows.step import current_step, step
from revenant.workflows.workflow import Workflow, workflow

__all__ = [
    "CallTimeout",
    "Change",
    "ConfigurationError",
    "DatabaseUnavailable",
    "Decider",
    "Entity",
    "Flow",
    "HandlerError",
    "Interval",
    "Message",
    "Refused",
    "Retry",
    "Revenant",
    "RevenantError",
    "Run",
    "RunFailed",
    "Schedule",
    "SchemaMismatch",
    "Settings",
    "StateInvalid",
    "StepFailed",
    "Turn",
    "Workflow",
    "current_step",
    "handler",
    "ref",
    "sequence",
    "step",
    "workflow",
]
