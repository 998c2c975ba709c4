-- Promise: sends a message whose reply is kept for a while, and returns its id, for `revenant.reply`: if and only if you commit.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.call(kind text, key text, handler text, args json default '{}')
returns uuid language plpgsql volatile as $$
declare
    bucket smallint := revenant.check_address_v1(kind, key, handler, args);
    id uuid := encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid;
begin
    perform pg_notify('revenant_wake', w.hint)
    from revenant.send_v1(
        array[bucket], array[kind], array[key], array[id], array[handler], array[args::text],
        -- A channel on which nobody listens: it says that a reply is wanted.
        array['revenant_sql'], array[null]::bytea[]
    ) as w (hint);
    return id;
end
$$;
