"""The command `revenant`: thin click commands, one noun a module, over the rooms below."""

from revenant.cli.root import main

__all__ = ["main"]
