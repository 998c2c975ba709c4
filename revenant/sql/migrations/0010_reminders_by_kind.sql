-- Promise: a worker finds the reminders that are due by the kinds that it serves; those of others cost it nothing. No table is rewritten.
-- Locks: SHARE on reminders while the index is built, then ACCESS EXCLUSIVE for as long as a catalogue entry takes.

-- By whom they go to: their messages wait there. A worker of before this finds what is due without an index, until it is replaced.
create index reminders_due_by_kind on revenant.reminders (to_kind, due);
drop index revenant.reminders_due;
