"""Fate: what a run's code has ended with, where its history says that it goes on."""

from __future__ import annotations

from os.path import basename
from traceback import extract_tb

from revenant.codec import as_text
from revenant.workflows.replay import Answer

LONGEST = 300
"""Characters of an exception's own words."""


def fate_of(end: Answer | None) -> str:
    """Return it as words to go on with; empty where the code has not ended."""
    if end is None:
        return ""
    if end.error is None:
        return ": it has returned"
    return f": it has raised {type(end.error).__name__}{_words(end.error)}{_place(end.error)}"


def _words(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())[:LONGEST]
    except BaseException:  # noqa: BLE001 # a broken __str__ is the user's
        return ""
    return f": {as_text(text)}" if text else ""


def _place(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)[-1:]
    return f" ({basename(frames[0].filename)}, line {frames[0].lineno})" if frames else ""
