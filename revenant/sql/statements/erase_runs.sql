-- Promise: removes one bucket's runs, with all that belongs to them, of the keys of a range, all or none of them.
-- Locks: those runs' rows, then their messages' rows.
with gone as (
    delete from revenant.run_heads
    where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s
    returning bucket, run
), tasks as (
    delete from revenant.run_tasks t using gone g where t.bucket = g.bucket and t.run = g.run
), progress as (
    delete from revenant.run_progress p using gone g where p.bucket = g.bucket and p.run = g.run
), snapshots as (
    delete from revenant.run_snapshots s using gone g where s.bucket = g.bucket and s.run = g.run
)
delete from revenant.run_events e using gone g where e.bucket = g.bucket and e.run = g.run;
delete from revenant.messages
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s;
delete from revenant.scheduled
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s;
