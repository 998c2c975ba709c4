"""A Postgres server of your own: started by whoever needs it first, stopped when nobody does.

Every user of the server holds a lock (a *lease*) that the kernel frees whatever way its process dies. A small
keeper process owns the server and stops it once no lease is left.
"""

from __future__ import annotations

from revenant.embedded.binaries import Binaries, find_binaries
from revenant.embedded.leases import Lease, lease
from revenant.embedded.server import Server

__all__ = ["Binaries", "Lease", "Server", "find_binaries", "lease"]
