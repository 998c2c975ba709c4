-- Promise: removes old batch markers, notes, traces and answers of claims, and rows of workers long gone; returns how many.
-- Locks: an advisory lock so that one worker at a time does it; then the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_v2(page integer) returns integer language plpgsql volatile as $$
declare
    removed integer := 0;
    step integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('revenant.tidy', 7)) then
        return 0;
    end if;
    delete from revenant.sends s
    where s.ctid = any (array(
        select o.ctid from revenant.sends o where o.sent_at < now() - make_interval(hours => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    delete from revenant.workers w
    where w.ctid = any (array(
        select g.ctid from revenant.workers g where g.heartbeat_at < now() - make_interval(mins => 10)
        for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    -- Notes of messages that were handled later, when nobody was cautious any more; traces of handled messages.
    delete from revenant.suspects s
    where s.ctid = any (array(
        select o.ctid from revenant.suspects o where o.noted_at < now() - make_interval(days => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    delete from revenant.traces t
    where t.ctid = any (array(
        select o.ctid from revenant.traces o where o.sent_at < now() - make_interval(days => 7)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    -- Whoever has not heard for a day that a step was ended has given up.
    delete from revenant.step_answers s
    where s.ctid = any (array(
        select o.ctid from revenant.step_answers o where o.at < now() - make_interval(days => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    return removed + step;
end
$$;
