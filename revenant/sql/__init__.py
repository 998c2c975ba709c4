"""The SQL of Revenant and the schema's life: files as values, migrate, status, and a script to read."""

from revenant.sql.access import address, readable, reason
from revenant.sql.load import Function, Migration, Release, functions, migrations, release, statement
from revenant.sql.migrate import Migrated, migrate
from revenant.sql.schema_status import (
    Current,
    Diverged,
    Missing,
    NewerCompatible,
    NewerIncompatible,
    Old,
    SchemaStatus,
    require_schema,
    status,
)
from revenant.sql.script import render, whole_schema

__all__ = [
    "Current",
    "Diverged",
    "Function",
    "Migrated",
    "Migration",
    "Missing",
    "NewerCompatible",
    "NewerIncompatible",
    "Old",
    "Release",
    "SchemaStatus",
    "address",
    "functions",
    "migrate",
    "migrations",
    "readable",
    "reason",
    "release",
    "render",
    "require_schema",
    "statement",
    "status",
    "whole_schema",
]
