"""What breaks things for real: a Postgres of one's own, a proxy that cuts wires, and workers that can be killed."""

from tests.nemesis.chance import seeded
from tests.nemesis.crew import Crew, Hand
from tests.nemesis.cuts import after, before, cut_answer, cut_before, hang_up, only_until
from tests.nemesis.gate import Gate
from tests.nemesis.proxy import Cable, Proxy, Trap
from tests.nemesis.server import private_server
from tests.nemesis.sessions import blocked, locked, terminate

__all__ = [
    "Cable",
    "Crew",
    "Gate",
    "Hand",
    "Proxy",
    "Trap",
    "after",
    "before",
    "blocked",
    "cut_answer",
    "cut_before",
    "hang_up",
    "locked",
    "only_until",
    "private_server",
    "seeded",
    "terminate",
]
