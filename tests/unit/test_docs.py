"""The docs say what the code does: every setting, error, command and name is there, and nothing else; links lead somewhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import revenant
from revenant import Entity, Flow, Retry, Revenant, Run, Settings, Turn, errors
from revenant.cli import main
from revenant.embedded.server import Server
from revenant.sql import functions, migrations
from tests.pages import DOCS, PAGES, ROOT, anchors, blocks, links, name, prose, rows, sections

REFERENCE = DOCS / "reference"
LANGUAGES = {"python", "console", "sql", "text"}
SHARED = {"--app", "--database-url", "-o", "--output"}
PARITY = (
    "lazy start", "survives stop and kill", "same id in two kinds", "passivation", "delete", "telemetry",
    "commit before reply", "version per mutation", "casts on the same path", "interval coalescing",
    "strict escalation", "flush on stop", "stale writer refused", "runtime handles refused", "upgrade on load",
)  # fmt: skip
EMBEDDED = {"REVENANT_STATE_DIR", "REVENANT_PG_BIN", "REVENANT_PG_USER", "REVENANT_PG_LINGER"}


def ticked(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_page_is_there() -> None:
    rooms = {"tutorial", "how-to", "reference", "explanation"}
    assert rooms == {page.parent.name for page in DOCS.glob("*/*.md")}
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "index.md")}
    assert {name(page) for page in DOCS.rglob("*.md") if page not in listed} == {"docs/index.md"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        assert found.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(found), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_run_or_say_why_not(page: Path) -> None:
    assert page.read_text().count("```") == 2 * len(blocks(page))
    for block in blocks(page):
        assert block.language in LANGUAGES, block
        assert not block.info or re.match(r"notest: .{15,}", block.info), block


def test_the_readme_shows_the_example_as_it_is() -> None:
    shown = next(block.text for block in blocks(ROOT / "README.md") if block.file == "quickstart.py")
    kept = [
        line for line in (ROOT / "examples/quickstart.py").read_text().splitlines(keepends=True) if "ruff:" not in line
    ]
    assert shown == "# quickstart.py\n" + "".join(kept)


def test_the_readme_shows_the_procfile_as_it_is() -> None:
    for page in (ROOT / "README.md", DOCS / "how-to/deploy.md"):
        assert (ROOT / "Procfile").read_text() in [block.text for block in blocks(page)]


def test_the_map_of_the_rooms_has_all_of_them_and_nothing_that_is_not_there() -> None:
    page, package = DOCS / "explanation/rooms.md", Path(revenant.__file__).parent
    rooms = {path.name + "/" * path.is_dir() for path in package.iterdir() if not path.name.startswith(("__", "py."))}
    assert {word for cells in rows(page.read_text()) for word in ticked(cells[0])} == rooms
    for word in ticked(prose(page)):
        if re.fullmatch(r"[a-z_]+/[\w/]+\.(py|sql)", word):
            assert (package / word).is_file(), word
    for room in ("worker", "workflows"):
        for group in sections(page, 2)[f"Inside {'the ' * (room == 'worker')}{room}"].split("\n- "):
            words = ticked(group)
            folder = next((word for word in words if re.fullmatch(r"[a-z]+/", word) and word != f"{room}/"), "")
            named = [word for word in words if "/" not in word]
            assert [word for word in named if not (package / room / folder / f"{word}.py").is_file()] == [], group


def test_every_promise_names_tests_that_exist() -> None:
    promises = rows(sections(ROOT / "README.md", 2)["What is promised, and which tests hold it"])
    assert [cells[0] for cells in promises] == [str(number) for number in range(1, 12)]
    for number, _, held in promises:
        named = re.findall(r"\[`(test_\w+)`\]\(([\w./]+)\)", held)
        assert named, number
        for test, path in named:
            assert re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_the_other_librarys_list_of_tests_stands_by_its_names() -> None:
    text = (ROOT / "tests/acceptance/test_revenant_parity.py").read_text()
    found = re.findall(r"^(?:async )?def test_(\w+)\(", text, re.MULTILINE)
    assert [words for words in PARITY if words.replace(" ", "_") not in found] == []


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    documented = {
        ticked(setting)[0]: (ticked(variables), default)
        for setting, variables, default, _ in rows((REFERENCE / "settings.md").read_text())
    }
    real = {}
    for setting, field in Settings.model_fields.items():
        alias: Any = field.validation_alias
        variables = list(alias.choices) if alias else [f"REVENANT_{setting.upper()}"]
        real[setting] = (variables, "none" if field.default is None else str(field.default))
    assert documented == real


def test_every_error_is_documented_and_drawn() -> None:
    page = REFERENCE / "errors.md"
    real = {found for found, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}
    tables = [cells for title, text in sections(page, 2).items() if "codes" not in title for cells in rows(text)]
    assert sorted(ticked(cells[0])[0] for cells in tables) == sorted(real)
    first = {ticked(cells[0])[0] for cells in rows(sections(page, 2)["The ones to know"])}
    assert first == real & set(revenant.__all__)
    in_code = re.findall(r"^    ([│├└─ ]*[A-Z]\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    assert blocks(page)[0].text.splitlines() == in_code


def commands(group: click.Group, path: tuple[str, ...] = ("revenant",)) -> Iterator[tuple[str, click.Command]]:
    for word, command in group.commands.items():
        yield " ".join((*path, word)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, word))


def command_sections() -> dict[str, str]:
    """Return what the pages of the command say of each: `cli.md`, and one for each large group."""
    pages = [REFERENCE / "cli.md", *sorted(REFERENCE.glob("cli-*.md"))]
    return {title: text for page in pages for title, text in sections(page, 2).items()}


def test_every_command_is_documented() -> None:
    assert sorted(command_sections()) == sorted(title for title, _ in commands(main))


@pytest.mark.parametrize(("title", "command"), list(commands(main)))
def test_every_option_is_documented_with_its_variables(title: str, command: click.Command) -> None:
    text = command_sections()[title]
    written = {word.split()[0].rstrip(",") for word in ticked(text) if word.startswith("-")}
    options = [found for found in command.params if isinstance(found, click.Option) and not found.hidden]
    assert written == {"-o" if "-o" in found.opts else found.opts[-1] for found in options}
    own = [found for found in options if not SHARED & set(found.opts)]
    assert [ticked(cells[1]) for cells in rows(text)] == [variables(title, found) for found in own]


def variables(title: str, option: click.Option) -> list[str]:
    """Return the variables of an option, as the help shows them."""
    context = click.Context(main, info_name="revenant", auto_envvar_prefix="REVENANT")
    for word in title.split()[1:]:
        context = click.Context(context.command, info_name=word, parent=context)
    _, text = option.get_help_record(context) or ("", "")
    return re.split(r", ?", re.findall(r"\[env var: ([A-Z_, ]+)", " ".join(text.split()))[0])


def test_the_shared_options_are_documented() -> None:
    text = (REFERENCE / "cli.md").read_text().partition("\n## ")[0]
    written = {word.split()[0] for cells in rows(text) for word in ticked(cells[0])}
    assert written == SHARED


def documented_signatures(page: str) -> dict[str, list[str]]:
    titles = [heading for heading in sections(REFERENCE / page, 3) if "(" in heading]
    return {
        title.partition("(")[0]: [
            re.split(r"[=:]", word.strip())[0].lstrip("*")
            for word in title.partition("(")[2].rstrip(")").split(",")
            if word.strip() not in ("", "*")
        ]
        for title in titles
    }


def test_every_method_of_the_application_and_the_turn_is_documented_with_its_parameters() -> None:
    real = {"Revenant": parameters(Revenant.__init__)}
    for prefix, kind, left_out in (
        ("app", Revenant, {"stop", "prepare", "release"}),
        ("turn", Turn, set[str]()),
    ):
        for word, function in inspect.getmembers(kind, inspect.isfunction):
            if not word.startswith("_") and word not in left_out:
                real[f"{prefix}.{word}"] = parameters(function)
    assert documented_signatures("python.md") == real


def test_every_method_of_the_flow_and_the_run_is_documented_with_its_parameters() -> None:
    real = {
        f"{prefix}.{word}": parameters(function)
        for prefix, kind in (("flow", Flow), ("run", Run))
        for word, function in inspect.getmembers(kind, inspect.isfunction)
        if not word.startswith("_")
    }
    assert documented_signatures("workflows.md") == real


def test_what_marks_workflows_and_steps_is_documented_with_its_defaults() -> None:
    text = (REFERENCE / "workflows.md").read_text()
    for shown, function in (
        ("@workflow", revenant.workflow), ("@step", revenant.step), ("Retry", Retry), ("sequence", revenant.sequence)
    ):  # fmt: skip
        options = [found for found in inspect.signature(function).parameters.values() if found.name != "function"]
        wanted = ", ".join(
            f"*{found.name}" if found.kind is found.VAR_POSITIONAL
            else found.name if found.default is found.empty
            else f"{found.name}={getattr(found.default, '__name__', found.default)!s}"
            for found in options
        ).replace("(<class 'Exception'>,)", "(Exception,)")  # fmt: skip
        assert f"{shown}({wanted})" in " ".join(text.split()), wanted


def parameters(function: Any) -> list[str]:
    return [found for found in inspect.signature(function).parameters if found != "self"]


def test_every_public_name_is_documented() -> None:
    text = (REFERENCE / "python.md").read_text()
    assert sorted(revenant.__all__) == sorted(
        word for word in ticked(text.partition(". All other")[0]) if word.isidentifier()
    )
    for attribute in ("connection", *(word for word in Turn.__slots__ if not word.startswith("_"))):
        assert f"`turn.{attribute}`" in text
    for hook in ("initial", "upgrade"):
        assert f"`{hook}({', '.join(parameters(getattr(Entity, hook)))})`" in text


def test_every_table_view_and_function_is_documented() -> None:
    page = sections(REFERENCE / "sql.md", 2)
    made = re.findall(
        r"create (?:unlogged )?table (revenant\.\w+)", "".join(migration.text for migration in migrations())
    )
    assert {ticked(cells[0])[0] for cells in rows(page["Tables"])} == {*made, "revenant.migrations"}
    seen = re.findall(r"create view (revenant\.\w+)", "".join(migration.text for migration in migrations()))
    assert {ticked(cells[0])[0] for cells in rows(page["Views"])} == set(seen)
    written = {word.partition("(")[0] for cells in rows(page["Functions"]) for word in ticked(cells[0])}
    assert written == {f"revenant.{function.name}" for function in functions()}


def test_every_variable_that_is_written_down_exists() -> None:
    of_settings = {f"REVENANT_{setting.upper()}" for setting in Settings.model_fields}
    of_options = {
        variable
        for title, _ in commands(main)
        for variable in re.findall(
            r"REVENANT_\w+", CliRunner().invoke(main, [*title.split()[1:], "--help"], terminal_width=500).output
        )
    }
    for page in PAGES:
        written = set(re.findall(r"\bREVENANT_\w+", page.read_text()))
        assert written <= of_settings | of_options | EMBEDDED, name(page)
    package = "".join(path.read_text() for path in Path(inspect.getfile(Server)).parent.glob("*.py"))
    assert set(re.findall(r"REVENANT_\w+", package)) == EMBEDDED


def test_the_glossary_has_the_words_in_order_and_once() -> None:
    text = (DOCS / "glossary.md").read_text()
    words = [cells[0].strip("*") for cells in rows(text)]
    assert words == sorted(set(words))
    assert len(words) > 20


def test_pages_are_short_and_say_nothing_of_the_machine_they_were_made_on() -> None:
    for page in PAGES:
        lines = page.read_text().splitlines()
        # The commands are looked up in one page, by name; and a changelog grows.
        assert len(lines) <= {"cli.md": 450, "CHANGELOG.md": 400}.get(page.name, 300), name(page)
        assert not re.search(r"/(?:work|home|root|Users)/", page.read_text()), name(page)
        wide = [line for line in prose(page).splitlines() if len(line) > 125 and not line.startswith("|")]
        assert wide == [], name(page)
