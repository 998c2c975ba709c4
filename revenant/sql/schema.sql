-- Promise: the whole schema `revenant` at migration 1, to read and for tools.
-- Locks: creates new relations only. Written by scripts/schema: edit migrations/ and functions/ instead.

begin;
set local check_function_bodies = off;

do $$
begin
    if to_regnamespace('revenant') is null then
        create schema revenant;
    end if;
    if to_regclass('revenant.migrations') is null then
        create table revenant.migrations (
            number          integer primary key check (number >= 0),
            name            text not null,
            checksum        text not null,
            compatible_from integer not null check (compatible_from >= 0),
            applied_at      timestamptz not null default now()
        );
        comment on table revenant.migrations is
            'What was applied to this schema. Number 0 is the set of functions, which is refreshed in place.';
    end if;
end
$$;

-- 0001_mailbox.sql
-- Promise: the tables of the mailbox and the entities; every key begins with its bucket, invariants are CHECKs.
-- Locks: creates new relations only; takes no lock on anything that exists.

-- One row per entity that has state. The row's lock is what "one at a time" rests on.
create table revenant.entities (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    version bigint not null check (version > 0),
    vsn integer not null check (vsn > 0),
    state jsonb not null,
    -- Where reading starts: a mailbox number that was consumed at least two seconds ago. It lags because numbers are
    -- given at insert and seen at commit: a cast that is being flushed must not be passed by its sender's next message.
    applied bigint not null,
    -- The highest number consumed when it was last moved, and that moment: the next value of `applied`.
    recent bigint not null default 0,
    recent_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (bucket, kind, key)
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- The mailbox: messages that wait. A row leaves only in the commit that contains its effects.
create table revenant.messages (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    seq bigint generated always as identity,
    -- The last byte of every id is its bucket, so that an id alone finds its reply.
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    handler text not null check (handler <> ''),
    args json not null,
    -- The channel on which somebody waits for the reply; null: a cast.
    origin text check (starts_with(origin, 'revenant_')),
    -- What an idempotency key stands for (a hash of handler and arguments); null: sent without one.
    digest bytea,
    attempts smallint not null default 0 check (attempts >= 0),
    sent_at timestamptz not null default now(),
    primary key (bucket, kind, key, seq)
) with (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- Replies that nobody has read yet, and the receipts of idempotency keys.
create table revenant.replies (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    status text not null check (status in ('ok', 'error')),
    version bigint not null check (version >= 0),
    body json not null,
    digest bytea,
    expires_at timestamptz not null,
    primary key (bucket, id)
) with (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- Messages that are not due yet: retries of failed casts, and casts sent with after= or at=.
create table revenant.scheduled (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    due timestamptz not null,
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    handler text not null check (handler <> ''),
    args json not null,
    digest bytea,
    attempts smallint not null default 0 check (attempts >= 0),
    sent_at timestamptz not null default now(),
    primary key (bucket, id)
);
create index scheduled_due on revenant.scheduled (due);

-- Casts that failed for the last time, kept for a person to look at.
create table revenant.dead (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    kind text collate "C" not null,
    key text collate "C" not null,
    handler text not null,
    args json not null,
    digest bytea,
    attempts smallint not null check (attempts > 0),
    error json not null,
    sent_at timestamptz not null,
    died_at timestamptz not null default now(),
    primary key (bucket, id)
);

-- One row per batch that a client has sent: a retry of the same batch finds it, or waits for it.
create table revenant.sends (
    id uuid primary key,
    sent_at timestamptz not null default now()
);

-- One row per live worker process; `kinds` is {kind: {"vsn": n, "handlers": [name, ...]}}.
create table revenant.workers (
    id uuid primary key,
    host text not null,
    pid integer not null check (pid > 0),
    kinds jsonb not null check (jsonb_typeof(kinds) = 'object'),
    lanes integer not null check (lanes > 0),
    jobs integer not null check (jobs >= 0),
    draining boolean not null default false,
    -- The connection that writes the heartbeat: when its backend is gone, so is the worker.
    backend_pid integer not null,
    backend_start timestamptz not null,
    turns bigint not null default 0 check (turns >= 0),
    messages bigint not null default 0 check (messages >= 0),
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
) with (fillfactor = 50);

insert into revenant.migrations (number, name, checksum, compatible_from)
values (1, 'mailbox', 'd694416cdc63b196d99cd15ce5b85c7512ec1afa1e22d3d2ad8ecfd82712dff5', 1);

-- Promise: the bucket of an entity, 0 to 255, fixed for ever: the first byte of sha256('kind/key').
-- Locks: none.
create or replace function revenant.bucket_v1(kind text, key text) returns smallint
language sql immutable strict parallel safe as $$
    select get_byte(sha256(convert_to(kind || '/' || key, 'UTF8')), 0)::smallint
$$;

-- Promise: keeps casts that failed for the last time as dead letters.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.bury_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], errors text[]
) returns void language sql volatile as $$
    insert into revenant.dead (bucket, kind, key, id, handler, args, digest, attempts, error, sent_at)
    select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts, m.error::json, now()
    from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, errors)
        as m (bucket, kind, key, id, handler, args, digest, attempts, error)
    on conflict (bucket, id) do update set error = excluded.error, attempts = excluded.attempts, died_at = now()
$$;

-- Promise: sends a message from plain SQL or a trigger: it exists, and workers hear of it, if and only if you commit.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.cast(kind text, key text, handler text, args json default '{}')
returns uuid language plpgsql volatile as $$
declare
    bucket smallint := revenant.bucket_v1(kind, key);
    id uuid := encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid;
begin
    perform pg_notify('revenant_wake', w.hint)
    from revenant.send_v1(
        array[bucket], array[kind], array[key], array[id], array[handler], array[args::text],
        array[null]::text[], array[null]::bytea[]
    ) as w (hint);
    return id;
end
$$;

-- Promise: returns the calls, without the casts between them, that wait for one entity from a number on, in order.
-- Locks: none; the entity is one that claim_v1 has locked.
create or replace function revenant.claim_calls_v1(
    bucket smallint, kind text, key text, since bigint, message_limit integer, byte_limit bigint
) returns table (
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    message record;
    bytes bigint := 0;
begin
    for message in
        select m.seq, m.ctid::text as message_tid, m.id::text as id, m.handler, m.args::text as args, m.origin,
            m.digest, m.attempts, r.status, r.version, r.body::text as body, r.digest as done_digest
        from (
            select m.ctid, m.*
            from revenant.messages m
            where m.bucket = claim_calls_v1.bucket and m.kind = claim_calls_v1.kind and m.key = claim_calls_v1.key
                and m.seq >= since and m.origin is not null
            order by m.seq
            limit message_limit
        ) m
        left join revenant.replies r on r.bucket = m.bucket and r.id = m.id and m.digest is not null
        order by m.seq
    loop
        seq := message.seq; message_tid := message.message_tid; id := message.id; handler := message.handler;
        args := message.args; origin := message.origin; digest := message.digest; attempts := message.attempts;
        done_status := message.status; done_version := message.version; done_body := message.body;
        done_digest := message.done_digest;
        return next;
        bytes := bytes + octet_length(args);
        exit when bytes >= byte_limit;
    end loop;
end
$$;

-- Promise: locks each named entity that is free, then reads its messages in a later snapshot, in order; never waits.
-- Locks: the entities' rows FOR NO KEY UPDATE, SKIP LOCKED, in the order given; then an advisory lock per entity to be created.
create or replace function revenant.claim_v1(
    buckets smallint[], kinds text[], keys text[], since bigint[], vsns integer[],
    entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    tids tid[] := array_fill(null::tid, array[cardinality(keys)]);
    versions bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    stored_vsns integer[] := array_fill(null::integer, array[cardinality(keys)]);
    marks bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    held record;
    missing record;
    message record;
    free integer := 0;
    -- Many entities share the room that there is, so that no claim reads more than it can take.
    share integer := least(entity_limit, greatest(32, message_limit / greatest(cardinality(keys), 1)));
    taken integer := 0;
    total integer := 0;
    bytes bigint := 0;
    last_slot integer := 0;
    skipped integer := 0;
begin
    -- Statements are over all entities at once: one of its own for each costs three times as much as the look-up in it.
    for held in
        select h.slot, e.tid, e.version, e.vsn, least(e.applied, h.since) as mark
        from unnest(buckets, kinds, keys, since) with ordinality as h (bucket, kind, key, since, slot)
        cross join lateral (
            select e.ctid as tid, e.version, e.vsn, e.applied
            from revenant.entities e
            where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
            for no key update skip locked
        ) e
    loop
        tids[held.slot] := held.tid; versions[held.slot] := held.version;
        stored_vsns[held.slot] := held.vsn; marks[held.slot] := held.mark;
        free := free + 1;
    end loop;

    -- Entities without a row that could be locked: another turn has it, or there is none yet, or nothing to do.
    if free < cardinality(keys) then
        for missing in
            select u.slot::integer as slot, u.present, u.waiting,
                case
                    when u.present or not u.waiting then false
                    -- Advisory locks live in a table of limited size, shared by all: a turn takes a few of them.
                    when u.place > 64 then null
                    else pg_try_advisory_xact_lock(hashtextextended(u.kind || '/' || u.key, 7))
                end as ours
            from (
                select h.slot, h.kind, h.key, row_number() over (order by h.slot) as place,
                    exists (
                        select from revenant.entities e
                        where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
                    ) as present,
                    exists (
                        select from revenant.messages m
                        where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key
                    ) as waiting
                from unnest(buckets, kinds, keys, tids) with ordinality as h (bucket, kind, key, tid, slot)
                where h.tid is null
            ) u
        loop
            slot := missing.slot;
            if missing.ours then
                marks[slot] := 0;
            elsif missing.present or missing.waiting then
                outcome := case when missing.ours is null then 'later' else 'locked' end;
                return next;
            end if;
        end loop;
        -- An advisory lock may be ours only because its last holder has just committed the row: look again.
        for missing in
            select h.slot::integer as slot
            from unnest(buckets, kinds, keys, tids, marks) with ordinality as h (bucket, kind, key, tid, mark, slot)
            join revenant.entities e on e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
            where h.tid is null and h.mark is not null
        loop
            slot := missing.slot; marks[slot] := null; outcome := 'locked';
            return next;
        end loop;
    end if;
    for i in 1 .. cardinality(keys) loop
        if stored_vsns[i] > vsns[i] then
            slot := i; marks[i] := null; outcome := 'newer';
            return next;
        end if;
    end loop;

    for message in
        select h.slot::integer as slot, h.tid, h.version, h.vsn, e.state, m.*
        from unnest(buckets, kinds, keys, marks, tids, versions, stored_vsns)
            with ordinality as h (bucket, kind, key, mark, tid, version, vsn, slot)
        left join revenant.entities e on e.ctid = h.tid and e.kind = h.kind and e.key = h.key
        cross join lateral (
            select m.seq, m.ctid as message_tid, m.id, m.handler, m.args, m.origin, m.digest, m.attempts
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq > h.mark
            order by m.seq
            limit share + 1
        ) m
        order by h.slot, m.seq
    loop
        slot := message.slot;
        continue when slot = skipped;
        if slot <> last_slot then
            last_slot := slot; taken := 0;
            tid := message.tid::text; version := coalesce(message.version, 0); vsn := message.vsn;
        end if;
        if taken = share or total >= message_limit or (total > 0 and bytes >= byte_limit) then
            outcome := 'later'; seq := null; skipped := slot;
            return next;
            continue;
        end if;
        outcome := 'claimed';
        state := case when taken = 0 then message.state::text end;
        seq := message.seq; message_tid := message.message_tid::text; id := message.id::text;
        handler := message.handler; args := message.args::text; origin := message.origin;
        digest := message.digest; attempts := message.attempts;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = buckets[slot] and r.id = message.id;
        end if;
        taken := taken + 1; total := total + 1;
        bytes := bytes + octet_length(args) + coalesce(octet_length(state), 0);
        return next;
    end loop;
end
$$;

-- Promise: one client's batch reaches the mailboxes exactly once, however often it is retried; replies read are dropped.
-- Locks: the batch's row in sends (a retry waits for its first try); then replies of this client; wakes inside only if unflushed.
create or replace function revenant.enqueue_v1(
    batch uuid, settled uuid[], flush boolean,
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[], read_ids uuid[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    hint text;
begin
    if not flush then
        -- The caller waits for the reply, whose commit flushes this one with it: WAL is one stream.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        if flush then
            -- The first try is committed here; a synchronous standby is waited for by a commit that writes.
            update revenant.sends set sent_at = now() where id = batch;
        end if;
        return next '*';
        return;
    end if;
    if cardinality(settled) > 0 then
        delete from revenant.sends s using unnest(settled) as d (id) where s.id = d.id;
    end if;
    if cardinality(read_ids) > 0 then
        delete from revenant.replies r
        using unnest(read_ids) as d (id)
        where r.bucket = get_byte(uuid_send(d.id), 15)::smallint and r.id = d.id and r.digest is null;
    end if;
    if cardinality(ids) = 0 then
        return;
    end if;
    for hint in select revenant.send_v1(buckets, kinds, keys, ids, handlers, args, origins, digests) loop
        if flush then
            return next hint;
        else
            perform pg_notify('revenant_wake', hint);
        end if;
    end loop;
end
$$;

-- Promise: the replies of those ids that have one, by point look-ups.
-- Locks: none.
create or replace function revenant.fetch_replies_v1(ids uuid[])
returns table (id text, status text, version bigint, body text, digest bytea) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted uuid;
begin
    foreach wanted in array ids loop
        return query
        select r.id::text, r.status, r.version, r.body::text, r.digest from revenant.replies r
        where r.bucket = get_byte(uuid_send(wanted), 15)::smallint and r.id = wanted;
    end loop;
end
$$;

-- Promise: writes this worker's row and returns all: alive are those with a heartbeat under 10 s old whose backend is there.
-- Locks: this worker's own row.
create or replace function revenant.heartbeat_v1(
    worker uuid, host text, pid integer, kinds jsonb, lanes integer, jobs integer, draining boolean,
    turns bigint, messages bigint
) returns table (id text, kinds_known jsonb, is_draining boolean, is_alive boolean) language sql volatile as $$
    insert into revenant.workers as w (
        id, host, pid, kinds, lanes, jobs, draining, turns, messages, backend_pid, backend_start
    )
    -- Unqualified, `pid` would be the column, which hides the parameter of the same name.
    select worker, host, heartbeat_v1.pid, kinds, lanes, jobs, draining, turns, messages, a.pid, a.backend_start
    from pg_stat_get_activity(pg_backend_pid()) a
    on conflict (id) do update
    set draining = excluded.draining, turns = excluded.turns, messages = excluded.messages,
        backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, heartbeat_at = now();
    select w.id::text, w.kinds, w.draining,
        w.heartbeat_at > now() - make_interval(secs => 10)
        and exists (
            -- Another role's start time is hidden (null): then the pid alone has to do.
            select from pg_stat_get_activity(w.backend_pid) a
            where coalesce(a.backend_start, w.backend_start) = w.backend_start
        )
    from revenant.workers w
$$;

-- Promise: the clock that decides due times; tests may set it with revenant.fake_now while revenant.testing is on.
-- Locks: none.
create or replace function revenant.now() returns timestamptz language plpgsql volatile parallel safe as $$
begin
    -- Not in SQL: that would be parsed and planned anew by every statement that asks.
    if current_setting('revenant.testing', true) = 'on' then
        return coalesce(nullif(current_setting('revenant.fake_now', true), '')::timestamptz, clock_timestamp());
    end if;
    return clock_timestamp();
end
$$;

-- Promise: which of the named entities still have a message at or after the named number; looks only.
-- Locks: none.
create or replace function revenant.peek_v1(buckets smallint[], kinds text[], keys text[], seqs bigint[])
returns setof integer language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.messages m
        where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq >= seqs[i]
        limit 1;
        if found then
            return next i;
        end if;
    end loop;
end
$$;

-- Promise: moves due messages into their mailboxes, oldest first; returns wake-ups, then seconds to the next due time.
-- Locks: the scheduled rows that it moves, SKIP LOCKED, in order of due.
create or replace function revenant.release_due_v1(page integer)
returns table (hint text, next_due double precision) language plpgsql volatile as $$
declare
    moment timestamptz := revenant.now();
begin
    return query
    with due as (
        select s.bucket, s.id from revenant.scheduled s
        where s.due <= moment order by s.due limit page for update skip locked
    ),
    taken as (
        delete from revenant.scheduled s using due d where s.bucket = d.bucket and s.id = d.id returning s.*
    ),
    moved as (
        insert into revenant.messages (bucket, kind, key, id, handler, args, digest, attempts, sent_at)
        select t.bucket, t.kind, t.key, t.id, t.handler, t.args, t.digest, t.attempts, t.sent_at
        from taken t order by t.due
        returning messages.bucket, messages.kind, messages.key, messages.seq
    )
    select '[' || json_build_array(m.bucket, m.kind, m.key, m.seq)::text || ']', null::double precision from moved m;
    return query
    select null::text, extract(epoch from s.due - moment)::double precision
    from revenant.scheduled s order by s.due limit 1;
end
$$;

-- Promise: removes what a handler has left on its session: temporary tables, prepared statements, advisory locks, LISTEN.
-- Locks: none new but those of dropped temporary tables; gives up the session's advisory locks.
create or replace function revenant.restore_session_v1() returns void language plpgsql volatile as $$
declare
    prepared name;
begin
    unlisten *;
    discard temp;
    perform pg_advisory_unlock_all();
    -- Those that psycopg has prepared, by the protocol, it counts on.
    for prepared in select p.name from pg_prepared_statements p where p.from_sql loop
        execute format('deallocate %I', prepared);
    end loop;
end
$$;

-- Promise: stores one client's batch of messages for later exactly once, however often it is retried.
-- Locks: the batch's row in sends (a retry waits for its first try).
create or replace function revenant.schedule_batch_v1(
    batch uuid, buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    digests bytea[], attempts smallint[], delays double precision[], dues timestamptz[]
) returns void language plpgsql volatile as $$
begin
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if found then
        perform revenant.schedule_v1(
            buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues
        );
    end if;
end
$$;

-- Promise: stores messages that become due later, by the database's clock; an id that is scheduled already stays as it is.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.schedule_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], delays double precision[], dues timestamptz[]
) returns void language sql volatile as $$
    insert into revenant.scheduled (bucket, kind, key, id, handler, args, digest, attempts, due)
    select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts,
        coalesce(m.due, revenant.now() + make_interval(secs => m.delay))
    from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
        as m (bucket, kind, key, id, handler, args, digest, attempts, delay, due)
    on conflict (bucket, id) do nothing
$$;

-- Promise: puts messages into their mailboxes, in the order given, and returns the wake-up payloads that name them.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.send_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
declare
    sent record;
    hint text;
    page text := '';
begin
    for sent in
        insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
        select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.origin, m.digest
        from unnest(buckets, kinds, keys, ids, handlers, args, origins, digests)
            with ordinality as m (bucket, kind, key, id, handler, args, origin, digest, place)
        order by m.place
        returning messages.bucket, messages.kind, messages.key, messages.seq
    loop
        hint := json_build_array(sent.bucket, sent.kind, sent.key, sent.seq)::text;
        -- A payload must stay under 8,000 bytes.
        if octet_length(page) + octet_length(hint) > 7900 then
            return next '[' || page || ']';
            page := '';
        end if;
        page := case when page = '' then hint else page || ',' || hint end;
    end loop;
    if page <> '' then
        return next '[' || page || ']';
    end if;
end
$$;

-- Promise: writes what a turn did: states (fenced by version), consumed messages, replies; or raises RV001 and writes nothing.
-- Locks: none new; entity rows and mailboxes are those that claim_v1 locked.
create or replace function revenant.settle_v1(
    tids text[], buckets smallint[], kinds text[], keys text[],
    expected bigint[], versions bigint[], vsns integer[], states text[], applied bigint[],
    message_tids text[], seqs bigint[],
    reply_ids uuid[], reply_statuses text[], reply_versions bigint[], reply_bodies text[],
    reply_digests bytea[], reply_ttls double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    written integer := 0;
    step integer;
begin
    -- Every row is reached by its ctid, as it was locked: no index is read, whatever the statistics say.
    if cardinality(keys) > 0 then
        update revenant.entities e
        set version = w.version, vsn = w.vsn, state = w.state::jsonb,
            applied = case when e.recent_at < now() - make_interval(secs => 2) then e.recent else e.applied end,
            recent = case
                when e.recent_at < now() - make_interval(secs => 2) then greatest(e.recent, w.applied) else e.recent
            end,
            recent_at = case when e.recent_at < now() - make_interval(secs => 2) then now() else e.recent_at end,
            updated_at = now()
        from unnest(tids::tid[], buckets, kinds, keys, expected, versions, settle_v1.vsns, states, settle_v1.applied)
            as w (tid, bucket, kind, key, expected, version, vsn, state, applied)
        where e.ctid = w.tid and e.version = w.expected and w.state is not null
            and e.bucket = w.bucket and e.kind = w.kind and e.key = w.key;
        get diagnostics written = row_count;
        if written < cardinality(keys) then
            insert into revenant.entities (bucket, kind, key, version, vsn, state, applied, recent)
            select w.bucket, w.kind, w.key, w.version, w.vsn, w.state::jsonb, 0, w.applied
            from unnest(tids::tid[], buckets, kinds, keys, versions, settle_v1.vsns, states, settle_v1.applied)
                as w (tid, bucket, kind, key, version, vsn, state, applied)
            where w.tid is null
            on conflict do nothing;
            get diagnostics step = row_count;
            written := written + step;
            delete from revenant.entities e
            using unnest(tids::tid[], expected, states) as w (tid, expected, state)
            where e.ctid = w.tid and e.version = w.expected and w.state is null;
            get diagnostics step = row_count;
            written := written + step;
        end if;
        if written < cardinality(keys) then
            raise exception 'the rows of % entities are not as they were locked', cardinality(keys) - written
                using errcode = 'RV001';
        end if;
    end if;
    delete from revenant.messages m
    using unnest(message_tids::tid[], seqs) as c (tid, seq)
    where m.ctid = c.tid and m.seq = c.seq;
    get diagnostics step = row_count;
    if step < cardinality(seqs) then
        raise exception '% messages have left their mailboxes', cardinality(seqs) - step using errcode = 'RV001';
    end if;
    if cardinality(reply_ids) > 0 then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        select get_byte(uuid_send(r.id), 15), r.id, r.status, r.version, r.body::json, r.digest,
            now() + make_interval(secs => r.ttl)
        from unnest(reply_ids, reply_statuses, reply_versions, reply_bodies, reply_digests, reply_ttls)
            as r (id, status, version, body, digest, ttl);
    end if;
end
$$;

-- Promise: reads one page of a bucket's replies from an id on, removes those that have expired; returns the last id, null at the end.
-- Locks: the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_replies_v1(bucket smallint, after uuid, page integer) returns uuid
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    reply record;
    expired tid[] := '{}';
    seen integer := 0;
    last uuid;
begin
    -- By the primary key, so a round reads a page, however many receipts there are, and needs no index of its own.
    for reply in
        select r.ctid as tid, r.id, r.expires_at < now() as is_old
        from revenant.replies r
        where r.bucket = tidy_replies_v1.bucket and r.id > after
        order by r.id
        limit page
    loop
        seen := seen + 1; last := reply.id;
        if reply.is_old then
            expired := expired || reply.tid;
        end if;
    end loop;
    if cardinality(expired) > 0 then
        delete from revenant.replies r
        where r.ctid = any (array(
            select e.ctid from revenant.replies e
            where e.ctid = any (expired) and e.expires_at < now()
            for update skip locked
        ));
    end if;
    return case when seen = page then last end;
end
$$;

-- Promise: removes old batch markers and rows of workers long gone; returns how many.
-- Locks: an advisory lock so that one worker at a time does it; then the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_v1(page integer) returns integer language plpgsql volatile as $$
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
    return removed + step;
end
$$;

-- Promise: the next entities that have waiting messages, from a cursor on, in index order; the net under lost hints.
-- Locks: none.
create or replace function revenant.waiting_v1(
    known text[], after_bucket smallint, after_kind text, after_key text, page integer
) returns table (bucket smallint, kind text, key text) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen_bucket smallint := after_bucket;
    seen_kind text := after_kind;
    seen_key text := after_key;
    probe record;
    taken integer := 0;
    any_left boolean := true;
begin
    while any_left loop
        any_left := false;
        -- A few rows at a time: entities with one message come many to a probe, and one with a million costs one probe.
        for probe in
            select m.bucket, m.kind, m.key
            from revenant.messages m
            where (m.bucket, m.kind, m.key) > (seen_bucket, seen_kind collate "C", seen_key collate "C")
            order by m.bucket, m.kind, m.key
            limit 32
        loop
            any_left := true;
            continue when probe.bucket = seen_bucket and probe.kind = seen_kind and probe.key = seen_key;
            seen_bucket := probe.bucket; seen_kind := probe.kind; seen_key := probe.key;
            if probe.kind <> all (known) then
                -- Nobody here serves that kind: go to the next kind, without a look at each of its keys.
                seen_key := repeat(U&'\+10FFFF', 129);
                exit;
            end if;
            bucket := probe.bucket; kind := probe.kind; key := probe.key;
            taken := taken + 1;
            return next;
            if taken = page then
                return;
            end if;
        end loop;
    end loop;
end
$$;

insert into revenant.migrations (number, name, checksum, compatible_from)
values (0, 'functions', '132f2caba46b677de0933d049db5b28c689ecb1785f14e895dc89be283088aa5', 0)
on conflict (number) do update set checksum = excluded.checksum, applied_at = excluded.applied_at;

commit;
