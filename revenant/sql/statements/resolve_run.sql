-- Promise: keeps who has seen to a run that has failed, or left what was not undone; returns what is kept, unless somebody had before.
-- Locks: the head's row.
update revenant.run_heads h
set resolved = jsonb_build_object('by', %(by)s::text, 'note', %(note)s::text, 'at', revenant.now())
where h.bucket = %(bucket)s and h.kind = %(kind)s and h.key = %(key)s and h.resolved is null
    and h.ended_at is not null and (h.status = 'failed' or h.problem is not null)
returning h.resolved;
