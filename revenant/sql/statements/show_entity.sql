-- Promise: one row: an entity's state and reminders, and how many messages wait, are scheduled and are dead; nulls where it has no state.
-- Locks: none.
select
    e.version, e.vsn, e.state, e.created_at, e.updated_at,
    (
        select count(*) from revenant.messages m
        where m.bucket = %(bucket)s and m.kind = %(kind)s and m.key = %(key)s
    ) as waiting,
    (
        select min(m.sent_at) from revenant.messages m
        where m.bucket = %(bucket)s and m.kind = %(kind)s and m.key = %(key)s
    ) as waiting_since,
    (
        select count(*) from revenant.scheduled s
        where s.bucket = %(bucket)s and s.kind = %(kind)s and s.key = %(key)s
    ) as scheduled,
    (
        select min(s.due) from revenant.scheduled s
        where s.bucket = %(bucket)s and s.kind = %(kind)s and s.key = %(key)s
    ) as next_due,
    (
        select coalesce(
            json_agg(
                json_strip_nulls(
                    json_build_object(
                        'name', r.name, 'due', r.due, 'every', r.every, 'cron', r.cron,
                        'timezone', case when r.cron is not null then r.timezone end, 'missed', r.missed,
                        'kind', r.to_kind, 'key', r.to_key, 'handler', r.handler
                    )
                )
                order by r.name
            ),
            '[]'
        )
        from revenant.reminders r
        where r.bucket = %(bucket)s and r.kind = %(kind)s and r.key = %(key)s
    ) as reminders,
    (
        select count(*) from revenant.dead d
        where d.bucket = %(bucket)s and d.kind = %(kind)s and d.key = %(key)s
    ) as dead
from (values (1)) as one (n)
left join revenant.entities e on e.bucket = %(bucket)s and e.kind = %(kind)s and e.key = %(key)s;
