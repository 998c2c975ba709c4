"""`revenant views`: one typed view per kind, to filter and join states with the application's own tables."""

from __future__ import annotations

import click

from revenant.app import Revenant
from revenant.cli.option import option
from revenant.cli.options import app_option, application, looking
from revenant.entities.columns import columns_of
from revenant.eventloop import run
from revenant.queue.stateviews import SCHEMA, View, drop_views, make_views, name_views, script


@click.command()
@option("--drop", is_flag=True, envvar="REVENANT_VIEWS_DROP", help="Drop the views of this application's kinds.")
@option("--sql", "only_print", is_flag=True, envvar="REVENANT_VIEWS_SQL", help="Change nothing; print the SQL.")
@option(
    "--cascade",
    is_flag=True,
    envvar="REVENANT_VIEWS_CASCADE",
    help="Drop what depends on a view that has to be dropped.",
)
@app_option(required=True)
def views(drop: bool, only_print: bool, cascade: bool, app_path: str) -> None:
    """Make one typed view per kind in the schema `revenant_state`: key, version, vsn, updated_at, and the fields.

    Run it again after each deploy: views whose classes have not changed stay untouched. One that cannot be changed in
    place is dropped and made anew in one transaction, with its grants; while other objects depend on it, that is
    refused.
    """
    if drop and only_print:
        raise click.UsageError("Give --drop or --sql, not both.")
    app = application(app_path)
    wanted = views_of(app)
    if only_print:
        click.echo(script(wanted), nl=False)
        return
    for name, done in run(_apply(app, wanted, drop=drop, cascade=cascade)).items():
        click.echo(f"{SCHEMA}.{name}: {done}.", err=True)


def views_of(app: Revenant) -> list[View]:
    """Return the views of an application's kinds."""
    kinds = app.registry.kinds
    names = name_views(list(kinds))
    return [
        View(names[kind], kind, definition.entity_vsn, columns_of(definition)) for kind, definition in kinds.items()
    ]


async def _apply(app: Revenant, wanted: list[View], *, drop: bool, cascade: bool) -> dict[str, str]:
    async with looking(app) as connection:
        if drop:
            return await drop_views(connection, wanted, cascade=cascade)
        return await make_views(connection, wanted, cascade=cascade)
