"""The application that the demo's workers serve: `revenant worker --app revenant.demo.application:app`."""

from __future__ import annotations

from revenant.app import Revenant
from revenant.demo.aircraft import Aircraft

app = Revenant(entities=[Aircraft])
