"""Origin: by which name another process finds an object of this one, such as the application."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def origin_of(thing: object) -> str | None:
    """Return `module:attribute` of an object that a module holds by a name; None: none does.

    Example:
        >>> origin_of(logging.root)
        'logging:root'
    """
    for name, module in list(sys.modules.items()):
        for attribute, held in list(getattr(module, "__dict__", {}).items()):
            if held is thing:
                found = _importable(name, module)
                if found is not None:
                    return f"{found}:{attribute}"
    return None


def _importable(name: str, module: ModuleType) -> str | None:
    """Return the name by which others import a module: a program's own is `__main__` only to itself."""
    if name != "__main__":
        return name
    if (spec := getattr(module, "__spec__", None)) is not None:
        return str(spec.name)
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).stem
