"""Finds the application that --app names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from revenant.app import Revenant
from revenant.errors import RevenantError
from revenant.wording import a, raised


def load_app(path: str) -> Revenant:
    """Return the application at `module:attribute`; without an attribute, `app`.

    Raises:
        click.BadParameter: there is no such module or attribute, or it is no application.
    """
    module_name, _, attribute = path.partition(":")
    found: object = _load_module(module_name, path)
    for name in (attribute or "app").split("."):
        if not hasattr(found, name):
            raise _bad(f"{path!r}: the module {module_name} has no {name!r}. Name the variable that holds Revenant(…).")
        found = getattr(found, name)
    if not isinstance(found, Revenant):
        raise _bad(f"{path!r} is {a(type(found).__name__)}, not a Revenant. Name the variable that holds Revenant(…).")
    found.loaded_from = f"{module_name}:{attribute or 'app'}"
    return found


def _load_module(name: str, path: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if not name or name.endswith(".py") or "/" in name:
        raise _bad(f"{path!r} is not of the form module:attribute, such as shop.main:app.")
    try:
        return importlib.import_module(name)
    except (RevenantError, ValidationError, SettingsError):
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _bad(f"There is no module {error.name!r} in {here} or among the installed packages.") from error
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _bad(text: str) -> click.BadParameter:
    return click.BadParameter(text, param_hint="--app")


def _broken(name: str, error: Exception) -> click.ClickException:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename}, line {last.lineno}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
    return click.ClickException(
        f"The module {name} cannot be imported: {raised(type(error).__name__, error)} ({where}). Mend it and try again."
    )
