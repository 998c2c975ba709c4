-- Promise: one row: what is stored about an entity at a moment: the change before it, the one after it, and the state now.
-- Locks: none.
select
    k.kind is not null, coalesce(%(at)s::timestamptz < revenant.now() - k.keep, false),
    b.version, b.vsn, b.state::text,
    a.version, coalesce(a.message is null and a.version is not null, false), a.vsn, a.state::text,
    case when e.updated_at <= %(at)s::timestamptz then e.vsn end,
    case when e.updated_at <= %(at)s::timestamptz then e.state::text end,
    coalesce(e.updated_at > %(at)s::timestamptz, false), coalesce(e.version, 0)
from (values (1)) as one (n)
left join revenant.history_kinds k on k.kind = %(kind)s
left join revenant.entities e on e.bucket = %(bucket)s::smallint and e.kind = %(kind)s and e.key = %(key)s
left join lateral (
    select h.version, h.vsn, h.state from revenant.history h
    where h.bucket = %(bucket)s::smallint and h.kind = %(kind)s and h.key = %(key)s
        and h.at <= %(at)s::timestamptz and h.message is not null
    order by h.at desc, h.seq desc limit 1
) b on true
left join lateral (
    select h.version, h.vsn, h.state, h.message from revenant.history h
    where h.bucket = %(bucket)s::smallint and h.kind = %(kind)s and h.key = %(key)s and h.at > %(at)s::timestamptz
    order by h.at, h.seq limit 1
) a on true;
