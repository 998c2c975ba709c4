-- Promise: the reply to a message that was called, once there is one and while it is kept; before and after that no row.
-- Locks: none.
create or replace function revenant.reply(id uuid)
returns table (status text, version bigint, body json) language sql stable as $$
    select r.status, r.version, r.body from revenant.replies r
    where r.bucket = get_byte(uuid_send(reply.id), 15)::smallint and r.id = reply.id
$$;
