-- Promise: whether a kind keeps a history, then the kept versions of one entity, the newest first.
-- Locks: none.
select exists (select from revenant.history_kinds where kind = %(kind)s);
select h.version, h.vsn, h.state::text, h.at, h.handler, h.message::text
from revenant.history h
where h.bucket = %(bucket)s::smallint and h.kind = %(kind)s and h.key = %(key)s and h.message is not null
    and h.at > (select revenant.now() - k.keep from revenant.history_kinds k where k.kind = %(kind)s)
    and h.at >= %(since)s::timestamptz and h.at < %(until)s::timestamptz
order by h.at desc, h.seq desc
limit %(limit)s;
