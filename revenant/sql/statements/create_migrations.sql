-- Promise: makes the schema and its record of migrations where missing, for roles that may not create schemas too.
-- Locks: none that anybody waits for; what it makes is not visible before the commit.
do $$
begin
    if to_regnamespace('revenant') is null then
        create schema revenant;
    end if;
    if to_regclass('revenant.migrations') is null then
        create table revenant.migrations (
            number          integer primary key check (number >= 0),
            name            text not null,
            checksum        text not null,
            compatible_from integer not null check (compatible_from >= 0),
            applied_at      timestamptz not null default now()
        );
        comment on table revenant.migrations is
            'What was applied to this schema. Number 0 is the set of functions, which is refreshed in place.';
    end if;
end
$$;
