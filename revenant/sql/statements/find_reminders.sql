-- Promise: a page of due reminders that go to these kinds, oldest first; then a row that says in how many seconds the next later one is due.
-- Locks: none.
select * from revenant.due_reminders_v2(%(page)s, %(kinds)s::text[]);
