"""The demo's own data: where the file of flights is, in a wheel and in the repository alike."""

from __future__ import annotations

from pathlib import Path

from revenant.errors import ConfigurationError

FILE = "flights-2013-01.csv.gz"
_PACKAGE = Path(__file__).parent
_PLACES = (_PACKAGE / FILE, _PACKAGE.parent.parent / "examples" / "flights" / FILE)


def default_data() -> Path:
    """Return the path of the flights that left New York in January 2013.

    Raises:
        ConfigurationError: this installation has no such file.
    """
    for place in _PLACES:
        if place.is_file():
            return place
    raise ConfigurationError(
        f"This installation came without the demo's data, {FILE}. Name a CSV file of flights with --data; the "
        "repository has one in examples/flights/."
    )
