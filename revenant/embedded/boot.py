"""Start a keeper quickly, and as nobody's child: `python -I -S boot.py DIR LOCK`.

The keeper needs the standard library and this folder only. Importing `revenant` would load the whole library,
which takes longer than starting Postgres, so an empty package stands in for it. The parent returns at once;
the keeper goes on as an orphan, and whoever asked for it has no child to reap.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType


def main() -> None:
    """Fork, and run the keeper in the child."""
    if os.fork():
        os._exit(0)
    here = os.path.dirname(os.path.abspath(__file__))
    for name, folder in (("revenant", os.path.dirname(here)), ("revenant.embedded", here)):
        package = ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package
    sys.exit(importlib.import_module("revenant.embedded.keeper").main(sys.argv[1:]))


if __name__ == "__main__":
    main()
