"""Durable entities on the Postgres you already run: a reply is a commit receipt.

Write an `Entity` with handlers, put it into a `Revenant`, send it messages from any process, and run
`revenant worker` as often as you like. What a caller has been told is committed, whatever dies afterwards.
"""

from revenant.app import Revenant
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
    SchemaMismatch,
    StateInvalid,
)

__all__ = [
    "CallTimeout",
    "Change",
    "ConfigurationError",
    "DatabaseUnavailable",
    "Entity",
    "HandlerError",
    "Interval",
    "Message",
    "Refused",
    "Revenant",
    "RevenantError",
    "Schedule",
    "SchemaMismatch",
    "Settings",
    "StateInvalid",
    "Turn",
    "handler",
    "ref",
]
