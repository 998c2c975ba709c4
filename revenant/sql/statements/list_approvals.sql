-- Promise: a page of the approvals that wait, of one assignee and workflow or of all, the oldest first.
-- Locks: none.
select substr(t.kind, 5) as workflow, t.key as run_id, t.name, t.assignee,
    t.input -> 'about' as about, t.input -> 'form' as form, t.made_at as asked_at, t.due, t.run::text as stream, t.op
from revenant.run_tasks t
where t.type = 'approval'
    and (%(assignee)s::text is null or t.assignee = %(assignee)s)
    and (%(kind)s::text is null or t.kind = %(kind)s)
    and (t.made_at, t.run, t.op) > (%(after)s::timestamptz, %(stream)s::uuid, %(op)s::integer)
order by t.made_at, t.run, t.op
limit %(page)s;
