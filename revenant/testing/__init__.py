"""Testing: applications that tests run in their own process, and code that is run along recorded histories.

An application is in memory, without a database, or on a fresh one. The fixtures of the pytest
plugin (`revenant_app`, `revenant_database`) come with the installation.
"""

from revenant.testing.clock import Clock
from revenant.testing.making import memory_app
from revenant.testing.memory import MemoryApp
from revenant.testing.replaying import Replayed, replay, replay_all
from revenant.testing.served import ServedApp

__all__ = ["Clock", "MemoryApp", "Replayed", "ServedApp", "memory_app", "replay", "replay_all"]
