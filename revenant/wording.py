"""Wording: the small words of messages about what is somebody else's: its article, and an empty text."""

from __future__ import annotations


def a(name: str) -> str:
    """Return a name with its article.

    Example:
        >>> a("OSError"), a("KeyError")
        ('an OSError', 'a KeyError')
    """
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def raised(type: object, message: object) -> str:
    """Return an exception's type and its text, without the colon where it has none.

    Example:
        >>> raised("KeyError", "'x'"), raised("MemoryError", "")
        ("KeyError: 'x'", 'MemoryError')
    """
    return f"{type}: {message}" if str(message).strip() else str(type)
