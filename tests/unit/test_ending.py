"""What would end a transaction is seen however it is written, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from revenant.worker.lanes.ending import ending_of

ENDINGS = {
    "commit": "COMMIT",
    "COMMIT": "COMMIT",
    "Commit;": "COMMIT",
    "  \n\tcommit work ;": "COMMIT",
    "commit/**/and chain": "COMMIT",
    "commit and no chain": "COMMIT",
    "commit prepared 'x'": "COMMIT",
    "rollback": "ROLLBACK",
    "rollback work": "ROLLBACK",
    "rollback transaction and chain": "ROLLBACK",
    "rollback prepared 'x'": "ROLLBACK",
    "abort": "ABORT",
    "abort work": "ABORT",
    "begin": "BEGIN",
    "BEGIN ISOLATION LEVEL SERIALIZABLE": "BEGIN",
    "end": "END",
    "end transaction": "END",
    "start transaction read only": "START TRANSACTION",
    "prepare transaction 'x'": "PREPARE TRANSACTION",
    "prepare\n  -- really\n  transaction 'x'": "PREPARE TRANSACTION",
    "-- a comment\ncommit": "COMMIT",
    "--\rcommit": "COMMIT",
    "/* one /* two */ still one */ commit": "COMMIT",
    "/* 'a quote */ commit": "COMMIT",
    "-- it's\ncommit": "COMMIT",
    "select 1; commit": "COMMIT",
    "select 1;;; commit": "COMMIT",
    ";commit": "COMMIT",
    "select 1;commit;select 2": "COMMIT",
    "select ';'; commit": "COMMIT",
    "select 'it''s'; commit": "COMMIT",
    "select '\\'; commit": "COMMIT",
    r"select E'\''; commit": "COMMIT",
    r"select e'a\\'; commit": "COMMIT",
    'select 1 as ";"; commit': "COMMIT",
    'select 1 as "a""b"; commit': "COMMIT",
    "select $$;$$; commit": "COMMIT",
    "select $a$ $$ ; $b$ $a$; commit": "COMMIT",
    "select a$b$c from t; commit": "COMMIT",
    "select %s, %(name)s; commit": "COMMIT",
    "select (1); rollback": "ROLLBACK",
    "select ')'; rollback": "ROLLBACK",
    "savepoint a; rollback to a; rollback": "ROLLBACK",
    "select case when true then 1 end; end": "END",
    "create function f() returns int begin atomic select 1; end; commit": "COMMIT",
    "create function f() returns int language sql as 'select 1'; commit": "COMMIT",
    "do $$ begin null; end $$; commit": "COMMIT",
}
OTHERS = [
    "",
    ";",
    "select 1",
    "select 'commit'",
    "select ';commit;'",
    r"select E'\';commit'",
    "select $$;commit;$$",
    "select $body$;commit; $$ ; commit $body$",
    'select 1 as ";commit"',
    "-- ;commit",
    "-- commit\nselect 1",
    "/* ;commit */ select 1",
    "/* /* */ ;commit */ select 1",
    "/* never closed; commit",
    "select commit from t",
    "insert into commit values (1)",
    "select case when true then 1 end",
    "update t set a = 1 where b = 'x'; select 1",
    "savepoint a",
    "release savepoint a",
    "rollback to a",
    "rollback to savepoint a",
    "rollback work to savepoint a",
    "ROLLBACK TRANSACTION TO a",
    "prepare find as select 1",
    "prepare transaction_of (int) as select 1",
    "commits",
    "beginning",
    "do $$ begin null; end $$",
    "do $x$ begin begin null; end; end $x$",
    "create function f() returns int begin atomic select 1; select 2; end",
    "create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end; select 1",
    "create procedure p() begin atomic insert into t values (1); end",
    "create rule r as on insert to t do also (delete from u; delete from v)",
    "call finish()",
    "copy t from stdin",
    "start_transaction()",
    "select é from ü",
]


@pytest.mark.parametrize("text", ENDINGS)
def test_a_statement_that_ends_the_transaction_is_found(text: str) -> None:
    assert ending_of(text) == ENDINGS[text]


@pytest.mark.parametrize("text", OTHERS)
def test_nothing_else_is_taken_for_one(text: str) -> None:
    assert ending_of(text) is None
