"""The shape of the house: sizes, names, words, exports, errors and the reasons beside exceptions."""

from __future__ import annotations

import ast
import builtins
import inspect
import io
import os
import queue
import re
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

from revenant import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(errors.__file__).parent.parent
PACKAGE = ROOT / "revenant"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYTHON = sorted(path for room in ("revenant", "tests", "examples") for path in (ROOT / room).rglob("*.py"))
PROSE = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.sql"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])

MODULE_AIM, MODULE_LIMIT = 150, 350
FUNCTION_AIM, FUNCTION_LIMIT = 40, 60
SCRIPT_LIMIT = 20

AVOIDED = ("actor", "grain", "saga", "activity", "activities", "ack", "dequeue", "blob", "tick")
"""Words for which the glossary has others; an underscore or a capital ends a word, so `ticker` is free."""

WORDS_THAT_MAY_STAND = {
    r"pg_stat_(?:get_)?activity": "the name of a view of Postgres, and of the function behind it",
    r"(?i)virtual actors?": "what readers who come from Orleans look for",
}
"""Phrases in which an avoided word may stand, and why."""

FILES_THAT_MAY_SAY_THEM = {
    "docs/glossary.md": "it lists the words to avoid",
    "docs/how-to/coming-from-others.md": "it maps the words of others to ours",
}
"""Files that the search leaves out, and why."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function of a module with its length in lines, decorators not counted."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{name(path)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def length(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_modules_stay_small() -> None:
    assert {name(path): length(path) for path in MODULES if length(path) > MODULE_LIMIT} == {}


def test_functions_stay_small() -> None:
    sizes = [entry for path in MODULES for entry in functions(path)]
    assert [entry for entry in sizes if entry[1] > FUNCTION_LIMIT] == []


def test_what_misses_the_aim_is_listed() -> None:
    """Nothing fails above the aim; `pytest -rP -k aim` shows what to look at when there is time."""
    for path in MODULES:
        if length(path) > MODULE_AIM:
            sys.stdout.write(f"{length(path):4} lines  {name(path)}\n")
        for function, lines in functions(path):
            if lines > FUNCTION_AIM:
                sys.stdout.write(f"{lines:4} lines  {function}\n")


def test_scripts_are_short_and_run() -> None:
    scripts = sorted((ROOT / "scripts").iterdir())
    assert scripts
    assert {name(path): length(path) for path in scripts if length(path) > SCRIPT_LIMIT} == {}
    assert [name(path) for path in scripts if not os.access(path, os.X_OK)] == []


def test_every_module_says_what_it_is() -> None:
    """In one to three lines: what it is, and which invariant it keeps; five with a list or an example."""
    for path in MODULES:
        lines = (ast.get_docstring(parsed(path)) or "").splitlines()
        assert lines, f"{name(path)} has no docstring"
        assert lines[0].endswith((".", ":")), f"{name(path)}: {lines[0]}"
        assert len([line for line in lines if line.strip() and not line.startswith("    ")]) <= 5, name(path)


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(value) for value in ast.literal_eval(node.value)]
    return None


def bound(tree: ast.Module) -> set[str]:
    """Return the public names that a module binds at its top, by import from our package or by definition."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("revenant"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {found for found in names if not found.startswith("_")}


def isort_style(word: str) -> tuple[int, str]:
    """Order as ruff's RUF022 does: CONSTANTS, then Classes, then the rest."""
    return (0 if word.isupper() else 1 if word[:1].isupper() else 2), word


def test_packages_export_all_that_they_bind_sorted() -> None:
    for path in (path for path in MODULES if path.name == "__init__.py"):
        tree = parsed(path)
        listed = exported(tree)
        if listed is None:
            assert bound(tree) == set(), f"{name(path)} binds public names, and has no __all__"
            continue
        assert listed == sorted(listed, key=isort_style), name(path)
        assert {found for found in listed if not found.startswith("_")} == bound(tree), name(path)


def test_the_drawing_of_the_error_tree_is_the_error_tree() -> None:
    drawn: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?:\s{2,}\S|$)", line):
            depth = len(match["branch"]) // 4
            above[depth] = match["name"]
            drawn[match["name"]] = above[depth - 1] if depth else "Exception"
    real = {
        found.__name__: found.__bases__[0].__name__
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if found.__module__ == errors.__name__
    }
    assert drawn == real
    assert len(real) > 10


def test_queue_is_the_standard_library_s() -> None:
    assert Path(queue.__file__).parent == Path(os.__file__).parent
    assert hasattr(queue, "SimpleQueue")


def exceptions() -> Iterator[tuple[Path, str, list[str]]]:
    """Yield every exception class of the package outside `errors.py`: its module, name and bases."""
    known = {
        found
        for space in (vars(builtins), vars(errors))
        for found, value in space.items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    classes = [
        (path, node.name, [ast.unparse(base).rpartition(".")[2] for base in node.bases])
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]
    while grown := {found for _, found, bases in classes if known & set(bases)} - known:
        known |= grown
    return (entry for entry in classes if entry[1] in known and entry[0].name != "errors.py")


def test_errors_for_users_live_in_the_one_tree_and_control_flow_is_not_an_exception() -> None:
    """So that nobody's `except Exception` swallows our control flow, and nobody can catch it by name."""
    found = list(exceptions())
    assert [f"{name(path)} {error}" for path, error, bases in found if "BaseException" not in bases] == []
    private = {error for _, error, _ in found}
    public = {entry for path in MODULES for entry in exported(parsed(path)) or ()}
    assert private & public == set()


def comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


DIRECTIVE = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w\-, ]*\])?"
    r"|pyright:\s*ignore(?:\[[\w\-, ]*\])?|pragma:\s*no cover)"
)


def test_every_lint_exemption_has_its_reason_on_the_line() -> None:
    silent = [
        f"{name(path)}:{line} {comment}"
        for path in PYTHON
        for line, comment in comments(path)
        if DIRECTIVE.search(comment) and not re.search(r"[A-Za-z]{3}", DIRECTIVE.sub("", comment))
    ]
    assert silent == [], "\n".join(silent)


def test_every_exemption_in_the_configuration_has_its_reason_on_the_line() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("[tool.ruff.lint]")
    codes = [line for line in lines[start:] if re.match(r'\s+"[A-Z]+\d+"|".*\*.*" = \["', line)]
    ignored = lines[lines.index("ignore = [", start) :]
    inside = ignored[: ignored.index("]")][1:]
    assert [line for line in [*inside, *codes] if "#" not in line] == []


def test_only_the_words_of_the_glossary_are_used() -> None:
    pattern = re.compile(rf"\b(?:{'|'.join(AVOIDED)})(?:s|ed|ing)?\b", re.IGNORECASE)
    strays = []
    for path in (path for path in PROSE if name(path) not in FILES_THAT_MAY_SAY_THEM):
        text = path.read_text()
        for phrase in WORDS_THAT_MAY_STAND:
            text = re.sub(phrase, "", text)
        # An underscore and the border between `small` and `Big` part the words of an identifier.
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)
        strays += [f"{name(path)}: {line.strip()}" for line in words.splitlines() if pattern.search(line)]
    assert strays == [], "\n".join(strays)
