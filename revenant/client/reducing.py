"""Reducing: what a decider knows of its run, of the events alone: no worker is asked, and no code runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from revenant.workflows.decider import DeciderWorkflow
from revenant.workflows.decisions import DecisionView
from revenant.workflows.events import Event
from revenant.workflows.view import View


def reduced_view(events: Iterable[Event], key: str, decider: DeciderWorkflow[Any, Any]) -> DecisionView[Any]:
    """Return the view with which a decider would decide now."""
    view, decisions = View(), decider.new_decisions(key)
    for event in events:
        view.take(event)
        decisions.take(event, view)
    decisions.input = decider.read_input(view.input)
    return decisions
