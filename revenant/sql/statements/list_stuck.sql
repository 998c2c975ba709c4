-- Promise: runs that do not go on by themselves, or have not for long, the longest first.
-- Locks: none.
select s.workflow, s.id, s.reason, s.since, s.status, s.version, s.problem
from revenant.stuck s
where %(workflow)s::text is null or s.workflow = %(workflow)s
order by s.since, s.workflow, s.id
limit %(page)s;
