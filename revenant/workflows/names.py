"""Names: what steps, timers, signals and the like are recorded under; text that Postgres stores, and not empty."""

from __future__ import annotations

from revenant.codec import why_no_text
from revenant.errors import ConfigurationError


def checked_name(given: object, door: str, argument: str = "name", *, such_as: str = "go") -> str:
    """Return what was given to `door` as its `argument`, if histories can hold it.

    Raises:
        ConfigurationError: it is no text, empty, or holds what Postgres does not store.
    """
    if not isinstance(given, str) or not given:
        what = "a name" if argument == "name" else f"{argument}= as text that is not empty"
        example = f'"{such_as}"' if argument == "name" else f'{argument}="{such_as}"'
        raise ConfigurationError(f"{door}() takes {what}, and got {given!r}. Give it text, such as {door}({example}).")
    why = why_no_text(given)
    if why is not None:
        raise ConfigurationError(
            f"{door}() got {given!r} as its {argument}, which {why}. Nothing was asked for; decode it properly, or "
            "remove that character."
        )
    return given
