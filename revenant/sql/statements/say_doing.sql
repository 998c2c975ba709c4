-- Promise: says in a worker's row what it has in hand, and which of its runs wait for a cell, and since when.
-- Locks: this worker's own row.
update revenant.workers w
set doing = jsonb_build_object(
    'attempts', %(attempts)s::integer,
    'cells', %(cells)s::integer,
    'waiting', (
        select coalesce(
            jsonb_agg(jsonb_build_array(q.kind, q.key, now() - make_interval(secs => q.seconds)) order by q.seconds desc),
            '[]'
        )
        from unnest(%(kinds)s::text[], %(keys)s::text[], %(seconds)s::double precision[]) as q (kind, key, seconds)
    )
)
where w.id = %(worker)s::uuid;
