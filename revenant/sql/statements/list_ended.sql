-- Promise: the next runs from a cursor on, by address: ended ones, of one workflow and version or all, that ended before a moment, or named ones.
-- Locks: none.
select h.bucket, h.kind, h.key, h.run::text, h.version, h.status, h.seq, h.started_at, h.ended_at, h.expires_at
from revenant.run_heads h
where (h.bucket, h.kind, h.key) > (%(bucket)s::smallint, %(after_kind)s::text, %(after)s::text)
    and (%(kind)s::text is null or h.kind = %(kind)s::text)
    and (%(version)s::int is null or h.version = %(version)s::int)
    and (h.key = any (%(keys)s::text[]) or (%(keys)s::text[] = '{}' and h.ended_at is not null))
    and (%(before)s::timestamptz is null or h.ended_at < %(before)s::timestamptz)
order by h.bucket, h.kind, h.key
limit %(page)s;
