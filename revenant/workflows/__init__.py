"""Workflows: runs that survive anything. What a decider is written with is here; the rest is in `revenant` itself."""

from revenant.workflows.commands import (
    Call,
    Command,
    Complete,
    Fail,
    RunMany,
    RunStep,
    Sleep,
    SleepUntil,
    StartChild,
    Wait,
)
from revenant.workflows.decider import Decider
from revenant.workflows.decisions import DecisionView, Outcome

__all__ = [
    "Call",
    "Command",
    "Complete",
    "Decider",
    "DecisionView",
    "Fail",
    "Outcome",
    "RunMany",
    "RunStep",
    "Sleep",
    "SleepUntil",
    "StartChild",
    "Wait",
]
