-- Promise: says that a run that has ended need not be kept any longer; nothing where it goes on, or is another one by now.
-- Locks: its row.
update revenant.run_heads h set expires_at = least(h.expires_at, revenant.now())
where h.bucket = %(bucket)s::smallint and h.kind = %(kind)s and h.key = %(key)s and h.run = %(run)s::uuid
    and h.ended_at is not null
returning h.key;
