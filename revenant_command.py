"""The command `revenant`, as it is installed: a module beside the package, so that it runs before all that it imports.

Invariant: Ctrl-C while it is being imported ends it as it ends any command, without a traceback.
"""

from __future__ import annotations

import importlib
import signal


def main() -> None:
    """Run the command; the package, half a second's worth of imports, hears Ctrl-C once it can say something."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    importlib.import_module("revenant.cli").main(prog_name="revenant")
