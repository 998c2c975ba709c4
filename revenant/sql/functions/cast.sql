-- Promise: sends a message from plain SQL or a trigger: it exists, and workers hear of it, if and only if you commit.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.cast(kind text, key text, handler text, args json default '{}')
returns uuid language plpgsql volatile as $$
declare
    bucket smallint := revenant.check_address_v1(kind, key, handler, args);
    id uuid := encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid;
begin
    perform pg_notify('revenant_wake', 'cast' || w.hint)
    from revenant.send_v1(
        array[bucket], array[kind], array[key], array[id], array[handler], array[args::text],
        array[null]::text[], array[null]::bytea[]
    ) as w (hint);
    return id;
end
$$;
