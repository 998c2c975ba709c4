from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server_url() -> str:
    return os.environ["SERVER_URL"]


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    name = f"t_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as c:
        c.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield make_conninfo(server_url, dbname=name)
        c.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
