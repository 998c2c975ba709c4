-- Promise: one dead letter whole, with its arguments, its error and the traceback of the last attempt.
-- Locks: none.
select
    d.id::text, d.kind, d.key, d.handler, d.args, d.attempts, d.error, d.sent_at, d.died_at
from revenant.dead d
where d.bucket = get_byte(uuid_send(%(id)s::uuid), 15)::smallint and d.id = %(id)s::uuid;
