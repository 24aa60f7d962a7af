-- workers: claims, leases, and the outcome of the runs of workers that died.

-- Whether a place has a live worker that would adopt a program of a queue and a tree.
CREATE OR REPLACE FUNCTION _data_manager_admin.has_worker(host text, queue text, root bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM _data_manager_admin.worker w
    WHERE coalesce(w.place, w.host) = has_worker.host AND w.lease_until > clock_timestamp()
      AND CASE WHEN w.root_context_id IS NULL THEN has_worker.queue = ANY (w.queues) ELSE w.root_context_id = root END)
$$;

-- Whether a program has had no worker that declares it for half a minute of its grace.
CREATE OR REPLACE FUNCTION _data_manager_admin.is_forsaken(program_epoch bigint, host_until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT program_epoch IS NOT NULL AND host_until < clock_timestamp() + interval '4 minutes 30 seconds'
$$;

-- serves_in_tree: whether a worker of one tree alone executes a run of it. The root it was started for, whatever labels
-- that has; its subtasks by their labels, or all of them with the label *. What a launcher places is left to it.
CREATE OR REPLACE FUNCTION _data_manager_admin.serves_in_tree(
  context_id bigint, root bigint, labels text[], offered text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT labels <@ offered OR '*' = ANY (offered)
      OR (context_id = root AND array_to_string(labels, ' ') NOT LIKE '%launcher:%')
$$;

-- Whether a worker knows the task of a run, offers its labels, and leaves it to no place that still has a worker.
CREATE OR REPLACE FUNCTION _data_manager_admin.may_have(
  q _data_manager_admin.run_queue, tasks text[], offered text[], here text) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
  SELECT q.task = ANY (tasks) AND q.labels <@ offered
     AND (q.host IS NULL OR (q.host <> here AND q.host_until < clock_timestamp()
          AND NOT _data_manager_admin.has_worker(q.host, q.queue, q.root_context_id)))
$$;

-- labelled_sets: the tasks of a worker whose queued runs need labels, with each set of these labels; by index from one
-- to the next.
CREATE OR REPLACE FUNCTION _data_manager_admin.labelled_sets(name text, tasks text[])
RETURNS TABLE (task text, kind bigint, labels text[])
LANGUAGE sql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
  WITH RECURSIVE kinds AS (
    SELECT k.* FROM unnest(tasks) t (task) CROSS JOIN LATERAL (
      SELECT q.task, hash_array_extended(q.labels, 0) AS kind, q.labels FROM _data_manager_admin.run_queue q
        WHERE q.queue = name AND q.state = 'queued' AND q.labels <> '{}' AND q.task >= t.task AND q.task <= t.task
        ORDER BY q.queue, q.task, hash_array_extended(q.labels, 0), -q.priority::bigint, q.context_id LIMIT 1) k
      WHERE EXISTS (SELECT FROM _data_manager_admin.run_queue q
                      WHERE q.queue = name AND q.state = 'queued' AND q.labels <> '{}')
    UNION ALL
    SELECT k.* FROM kinds b CROSS JOIN LATERAL (
      SELECT q.task, hash_array_extended(q.labels, 0), q.labels FROM _data_manager_admin.run_queue q
        WHERE q.queue = name AND q.state = 'queued' AND q.labels <> '{}'
          AND (q.task, hash_array_extended(q.labels, 0)) > (b.task, b.kind) AND q.task <= b.task
        ORDER BY q.queue, q.task, hash_array_extended(q.labels, 0), -q.priority::bigint, q.context_id LIMIT 1) k)
  SELECT k.task, k.kind, k.labels FROM kinds k
$$;

-- labelled_kinds: those of them that a worker offers.
CREATE OR REPLACE FUNCTION _data_manager_admin.labelled_kinds(name text, tasks text[], offered text[])
RETURNS TABLE (task text, kind bigint)
LANGUAGE sql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT k.task, k.kind FROM _data_manager_admin.labelled_sets(name, tasks) k WHERE k.labels <@ offered
$$;

-- abandoned_releases: the labels of releases that have queued runs and no living worker: anybody may have these runs.
CREATE OR REPLACE FUNCTION _data_manager_admin.abandoned_releases(queues text[], tasks text[]) RETURNS text[]
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(
    SELECT DISTINCT l.label
      FROM unnest(queues) u (name) CROSS JOIN LATERAL _data_manager_admin.labelled_sets(u.name, tasks) k
      CROSS JOIN LATERAL unnest(k.labels) l (label)
      WHERE starts_with(l.label, 'release:') AND NOT EXISTS (
        SELECT FROM _data_manager_admin.worker w
          WHERE l.label = ANY (w.labels) AND w.lease_until > clock_timestamp()
            AND u.name = ANY (w.queues) AND (k.task = ANY (w.tasks)) IS NOT FALSE))
$$;

-- labels_at: the labels of a run that a worker has claimed: it belongs to the release of that worker from then on.
CREATE OR REPLACE FUNCTION _data_manager_admin.labels_at(labels text[], release text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN release IS NULL AND array_to_string(labels, ' ') NOT LIKE '%release:%' THEN labels
              ELSE ARRAY(SELECT l FROM unnest(labels) l WHERE NOT starts_with(l, 'release:')
                         UNION ALL SELECT release WHERE release IS NOT NULL) END
$$;


-- lock_queued: lock runs of a queue that a worker may have, behind a place, in their order.
-- Out:   as many of those that nobody else has locked as are demanded, if there are
-- It looks at a window after the other. Behind one with few for the worker, the next are found by index from task to
-- task, and from one set of labels to the next: that is more work for each, and less than to meet all the runs that
-- others may have. The range of one task, instead of an equality, leaves the planner no other index that has the order.
CREATE OR REPLACE FUNCTION _data_manager_admin.lock_queued(
  name text, rank bigint, mark bigint, tasks text[], offered text[], here text, demand int)
RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most       int := demand + 4;
  few        boolean := FALSE;
  near       bigint[];
  last_rank  bigint;
  last_mark  bigint;
  more       bigint[];
  taken      bigint[] := '{}';
BEGIN
  WHILE cardinality(taken) < demand LOOP
    IF few THEN
      SELECT array_agg(n.context_id), (array_agg(n.rank))[most], (array_agg(n.context_id))[most]
        INTO near, last_rank, last_mark
        FROM (
          (SELECT l.rank, l.context_id FROM unnest(tasks) t (task) CROSS JOIN LATERAL (
              SELECT -q.priority::bigint AS rank, q.context_id FROM _data_manager_admin.run_queue q
                WHERE q.queue = name AND q.state = 'queued' AND q.labels = '{}'
                  AND (q.task, -q.priority::bigint, q.context_id) > (t.task, lock_queued.rank, mark) AND q.task <= t.task
                ORDER BY q.queue, q.task, -q.priority::bigint, q.context_id LIMIT most) l)
          UNION ALL
          (SELECT l.rank, l.context_id FROM _data_manager_admin.labelled_kinds(name, tasks, offered) k CROSS JOIN LATERAL (
              SELECT -q.priority::bigint AS rank, q.context_id FROM _data_manager_admin.run_queue q
                WHERE q.queue = name AND q.state = 'queued' AND q.labels <> '{}'
                  AND (q.task, hash_array_extended(q.labels, 0), -q.priority::bigint, q.context_id) > (k.task, k.kind, lock_queued.rank, mark)
                  AND (q.task, hash_array_extended(q.labels, 0)) <= (k.task, k.kind)
                ORDER BY q.queue, q.task, hash_array_extended(q.labels, 0), -q.priority::bigint, q.context_id LIMIT most) l)
          ORDER BY 1, 2 LIMIT most) n;
      more := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
        WHERE q.context_id = ANY (near) AND q.queue = name AND q.state = 'queued' AND _data_manager_admin.may_have(q, tasks, offered, here)
        ORDER BY -q.priority::bigint, q.context_id LIMIT demand - cardinality(taken) FOR NO KEY UPDATE SKIP LOCKED);
    ELSE
      SELECT -q.priority::bigint, q.context_id INTO last_rank, last_mark FROM _data_manager_admin.run_queue q
        WHERE q.queue = name AND q.state = 'queued' AND (-q.priority::bigint, q.context_id) > (rank, mark)
        ORDER BY q.queue, -q.priority::bigint, q.context_id OFFSET most - 1 LIMIT 1;
      more := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
        WHERE q.queue = name AND q.state = 'queued' AND (-q.priority::bigint, q.context_id) > (rank, mark)
          AND (-q.priority::bigint, q.context_id) <= (coalesce(last_rank, 3000000000), coalesce(last_mark, 0))
          AND _data_manager_admin.may_have(q, tasks, offered, here)
        ORDER BY q.queue, -q.priority::bigint, q.context_id LIMIT demand - cardinality(taken) FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
    taken := taken || more;
    EXIT WHEN last_mark IS NULL;
    few := few OR cardinality(more) * 8 < most;
    rank := last_rank;
    mark := last_mark;
    most := least(4 * most, 1000);
  END LOOP;
  RETURN taken;
END
$$;

-- claim_runs: reserve runs for a worker.
-- In:    ranks, marks: for each of the queues, the place behind which to look: a negated priority and
--        a context_id. What was claimed leaves entries in the index for as long as any transaction of
--        the database is older, and a scan from the start would meet all of them again. offered: the
--        labels of the worker; who works on one tree alone has its root whatever it asks for.
-- Programs that continue at its place come first, and beyond the demand: they run already, whatever limits
-- a queue has now. Those of another place are left to it while it has a worker, and some minutes more.
-- One that no worker of its place declares any more is ended by any other, with what is on its disk.
CREATE OR REPLACE FUNCTION _data_manager_admin.claim_runs(
  worker bigint, queues text[], ranks bigint[], marks bigint[], tasks text[], offered text[],
  root bigint, demand int)
RETURNS TABLE (context_id bigint, parent_id bigint, root_context_id bigint, task text, epoch bigint,
               attempt int, queue text, priority int, has_params boolean, params text, program_epoch bigint,
               deaths int, deaths_alone int)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
  ids       bigint[] := '{}';
  more      bigint[];
  settings  text[];  -- the queues that have one
  busy      text[];
  room      record;
  place     int;
  here      text;
  release   text;
BEGIN
  -- Locked, so that nobody buries the worker between this look and the commit of its claims; whoever has
  -- locked it may be about to.
  SELECT coalesce(w.place, w.host), (SELECT l FROM unnest(w.labels) l WHERE starts_with(l, 'release:')) INTO here, release
    FROM _data_manager_admin.worker w
    WHERE w.worker_id = worker FOR KEY SHARE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF root IS NULL AND EXISTS (SELECT FROM _data_manager_admin.run_queue q
                                WHERE q.queue = ANY (queues) AND q.state = 'queued' AND q.labels <> '{}') THEN
    offered := offered || _data_manager_admin.abandoned_releases(queues, tasks);
  END IF;
  ids := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
    WHERE q.host = here AND q.state = 'queued'
      AND CASE WHEN root IS NOT NULL THEN q.root_context_id = root AND q.task = ANY (tasks)
               WHEN q.task = ANY (tasks) AND q.queue = ANY (queues) THEN TRUE
               ELSE _data_manager_admin.is_forsaken(q.program_epoch, q.host_until) END
    ORDER BY q.context_id FOR NO KEY UPDATE SKIP LOCKED);
  demand := greatest(demand - cardinality(ids), 0);
  settings := ARRAY(SELECT s.queue FROM _data_manager_admin.queue_setting s WHERE s.queue = ANY (queues));
  busy := CASE WHEN root IS NULL AND demand > 0 AND settings <> '{}'
               THEN _data_manager_admin.lock_queues(settings) ELSE '{}' END;
  IF root IS NOT NULL THEN
    ids := ids || ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
      WHERE q.root_context_id = root AND q.state = 'queued' AND q.task = ANY (tasks)
        AND _data_manager_admin.serves_in_tree(q.context_id, root, q.labels, offered)
        AND (q.host IS NULL OR (q.host <> here AND q.host_until < clock_timestamp()
             AND NOT _data_manager_admin.has_worker(q.host, q.queue, q.root_context_id)))
      ORDER BY q.context_id LIMIT demand FOR NO KEY UPDATE SKIP LOCKED);
  ELSE
    FOR place IN 1 .. cardinality(queues) LOOP
      EXIT WHEN demand <= 0;
      CONTINUE WHEN queues[place] = ANY (busy);
      IF queues[place] = ANY (settings) THEN
        room := _data_manager_admin.allowed_starts(queues[place], demand);
        more := _data_manager_admin.lock_queued(
          queues[place], ranks[place], marks[place], tasks, offered, here, room.allowed);
        IF more <> '{}' OR room.is_fresh THEN
          PERFORM _data_manager_admin.note_starts(
            queues[place], cardinality(more), CASE WHEN room.holders IS NOT NULL THEN room.holders || more END, room.known_until);
        END IF;
      ELSE
        more := _data_manager_admin.lock_queued(queues[place], ranks[place], marks[place], tasks, offered, here, demand);
      END IF;
      ids := ids || more;
      demand := demand - cardinality(more);
    END LOOP;
  END IF;
  IF ids = '{}' THEN
    RETURN;
  END IF;
  RETURN QUERY
    UPDATE _data_manager_admin.run_queue q
      SET state = 'running', worker_id = worker, epoch = q.epoch + 1,
          labels = CASE WHEN root IS NULL THEN _data_manager_admin.labels_at(q.labels, release) ELSE q.labels END,
          -- A program that may still run here is adopted: it is the same attempt.
          attempt = CASE WHEN q.host = here THEN q.attempt ELSE q.attempt + 1 END,
          host = CASE WHEN q.host = here THEN here END,
          program_epoch = CASE WHEN q.host = here THEN q.program_epoch END, host_until = NULL,
          due_at = NULL, expires_at = NULL, pending = 0, wake_types = NULL, awaited = NULL
      FROM _data_manager_admin.etl_context c
      JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
      WHERE q.context_id = ANY (ids) AND c.context_id = q.context_id
      RETURNING q.context_id, q.parent_id, q.root_context_id, q.task, q.epoch, q.attempt,
                q.queue, q.priority, e.payload IS NOT NULL, e.payload::text, q.program_epoch,
                q.deaths, q.deaths_alone;
END
$$;

-- The runs of workers that are gone are queued again. Their epochs are fenced when they start again.
-- A program continues without its worker, so other hosts leave it to the next worker of its own for a while. Those of
-- a batch job end with it.
CREATE OR REPLACE FUNCTION _data_manager_admin.end_of_grace(host text) RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT CASE WHEN host IS NOT NULL THEN clock_timestamp() + CASE WHEN host LIKE 'job:%' THEN interval '0' ELSE interval '5 minutes' END END
$$;

-- release_workers: workers are gone; what they held is queued again.
-- In:    died: whether they were killed or lost. Each run that they held may have killed them, unless it
--        got further meanwhile, or is in a process of its own: that is counted, for `dama.worker.poison`.
CREATE OR REPLACE FUNCTION _data_manager_admin.release_workers(gone bigint[], died boolean DEFAULT TRUE) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  released int;
  ids      bigint[];
BEGIN
  -- A worker that somebody else has locked is buried when its lease has lapsed, and a run is found by
  -- requeue_orphans().
  DELETE FROM _data_manager_admin.worker w WHERE w.worker_id = ANY (ARRAY(
    SELECT g.worker_id FROM _data_manager_admin.worker g WHERE g.worker_id = ANY (gone) FOR UPDATE SKIP LOCKED));
  ids := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
    WHERE q.worker_id = ANY (gone) AND q.state = 'running' ORDER BY 1 FOR NO KEY UPDATE SKIP LOCKED);
  UPDATE _data_manager_admin.run_queue q SET state = 'queued', worker_id = NULL,
      host_until = _data_manager_admin.end_of_grace(q.host),
      deaths = CASE WHEN f.got_further THEN 0 ELSE q.deaths END + f.counts,
      deaths_alone = CASE WHEN f.got_further THEN 0 ELSE q.deaths_alone END + f.counts * f.alone
    -- One by one: a renewal lets the planner join in no other way, and all by all would outlast a lease.
    FROM unnest(ids) i (id) CROSS JOIN LATERAL (
      SELECT (died AND r.host IS NULL)::int AS counts,
             (NOT EXISTS (SELECT FROM _data_manager_admin.run_queue o
               WHERE o.worker_id = r.worker_id AND o.state = 'running' AND o.context_id <> r.context_id))::int AS alone,
             died AND EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e
               WHERE e.etl_context_id = r.context_id AND e.type ~ '/.*:(DONE|SPAWNED)$'
                 AND e.meta -> 'epoch' = to_jsonb(r.epoch)) AS got_further
        FROM _data_manager_admin.run_queue r WHERE r.context_id = i.id OFFSET 0) f
    WHERE q.context_id = i.id;
  GET DIAGNOSTICS released = ROW_COUNT;
  RETURN released;
END
$$;

-- renew_lease: a worker lives. It waits for nobody: while somebody has its row locked, nobody can bury it
-- either, so it needs no later lease.
-- A worker judges others only while its own lease has not lapsed: after an outage of the database
-- every lease has, and nobody is dead. Whoever is back first gives a new lease to all who had one when it
-- renewed last: others may be slower to connect again. Until its next renewal in a second it leaves upkeep
-- alone as well, for another renewal follows at once where something is due.
-- In:    ranks, marks: the places behind which to look for work, as claim_runs() has them; NULL: everywhere
-- Out:   gone: the contexts that the worker should have but were taken from it, ended from outside
--        or claimed by another; NULL when it was presumed dead itself. work: something is queued
--        for it. next_due: seconds until uphold() has something to do; NULL when never. next_firing:
--        the same for the schedules of some tasks.
CREATE OR REPLACE FUNCTION _data_manager_admin.renew_lease(
  worker bigint, held bigint[], queues text[], tasks text[], offered text[], scheduled text[], lease interval,
  ranks bigint[] DEFAULT NULL, marks bigint[] DEFAULT NULL)
RETURNS TABLE (gone bigint[], work boolean, next_due double precision, next_firing double precision)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
  before  timestamptz;
  here    text;
  root    bigint;
  moment  timestamptz := clock_timestamp();
  dead    bigint[];
BEGIN
  SELECT w.lease_until, coalesce(w.place, w.host), w.root_context_id INTO before, here, root FROM _data_manager_admin.worker w
    WHERE w.worker_id = worker;
  IF NOT FOUND THEN
    RETURN QUERY SELECT NULL::bigint[], FALSE, NULL::double precision, NULL::double precision;
    RETURN;
  END IF;
  IF root IS NULL AND EXISTS (SELECT FROM _data_manager_admin.run_queue q
                                WHERE q.queue = ANY (queues) AND q.state = 'queued' AND q.labels <> '{}') THEN
    offered := offered || _data_manager_admin.abandoned_releases(queues, tasks);
  END IF;
  UPDATE _data_manager_admin.worker w SET lease_until = moment + lease, running = cardinality(held), seen_at = moment
    WHERE w.worker_id = (SELECT o.worker_id FROM _data_manager_admin.worker o
                           WHERE o.worker_id = worker FOR NO KEY UPDATE SKIP LOCKED);
  IF before <= moment THEN
    UPDATE _data_manager_admin.worker w SET lease_until = moment + lease
      WHERE w.worker_id = ANY (ARRAY(SELECT o.worker_id FROM _data_manager_admin.worker o
              WHERE o.lease_until < moment AND o.lease_until > before - lease FOR NO KEY UPDATE SKIP LOCKED));
  ELSE
    dead := ARRAY(SELECT w.worker_id FROM _data_manager_admin.worker w
                    WHERE w.lease_until < moment FOR UPDATE SKIP LOCKED);
    IF dead <> '{}' THEN
      PERFORM _data_manager_admin.release_workers(dead);
    END IF;
  END IF;
  RETURN QUERY SELECT
    -- No equality, which would let the planner look at all runs of the worker for each of them.
    ARRAY(SELECT h FROM unnest(held) h WHERE NOT EXISTS (
      SELECT FROM _data_manager_admin.run_queue q WHERE q.context_id = h AND q.worker_id IS NOT DISTINCT FROM worker)),
    EXISTS (SELECT FROM unnest(queues, ranks, marks) u (queue, rank, mark) CROSS JOIN unnest(tasks) t (task) CROSS JOIN LATERAL (
              SELECT q.context_id FROM _data_manager_admin.run_queue q
              WHERE q.queue = u.queue AND q.state = 'queued' AND q.labels = '{}' AND q.task <= t.task
                AND (q.task, -q.priority::bigint, q.context_id) > (t.task, coalesce(u.rank, -3000000000), coalesce(u.mark, 0))
                AND (q.host IS NULL OR q.host = here OR (q.host_until < moment
                     AND NOT _data_manager_admin.has_worker(q.host, q.queue, q.root_context_id)))
              ORDER BY q.queue, q.task, -q.priority::bigint, q.context_id LIMIT 1) q)
      OR EXISTS (SELECT FROM unnest(queues, ranks, marks) u (queue, rank, mark)
              CROSS JOIN LATERAL _data_manager_admin.labelled_kinds(u.queue, tasks, offered) k CROSS JOIN LATERAL (
              SELECT q.context_id FROM _data_manager_admin.run_queue q
              WHERE q.queue = u.queue AND q.state = 'queued' AND q.labels <> '{}'
                AND (q.task, hash_array_extended(q.labels, 0), -q.priority::bigint, q.context_id)
                    > (k.task, k.kind, coalesce(u.rank, -3000000000), coalesce(u.mark, 0))
                AND (q.task, hash_array_extended(q.labels, 0)) <= (k.task, k.kind)
                AND (q.host IS NULL OR (q.host <> here AND q.host_until < moment
                     AND NOT _data_manager_admin.has_worker(q.host, q.queue, q.root_context_id)))
              ORDER BY q.queue, q.task, hash_array_extended(q.labels, 0), -q.priority::bigint, q.context_id LIMIT 1) q)
      OR EXISTS (SELECT FROM _data_manager_admin.run_queue q
                   WHERE q.host = here AND q.state = 'queued'
                     AND ((q.queue = ANY (queues) AND q.task = ANY (tasks))
                          OR (root IS NULL AND _data_manager_admin.is_forsaken(q.program_epoch, q.host_until)))),
    CASE WHEN before <= moment THEN 1
         WHEN EXISTS (SELECT FROM _data_manager_admin.ending_tree)
           OR EXISTS (SELECT FROM _data_manager_admin.key_with_room)
           OR EXISTS (SELECT _data_manager_admin.gone_workers()) THEN 0
         ELSE (SELECT extract(epoch FROM least(
                 (SELECT min(q.due_at) FROM _data_manager_admin.run_queue q WHERE q.due_at IS NOT NULL),
                 (SELECT min(q.expires_at) FROM _data_manager_admin.run_queue q WHERE q.expires_at IS NOT NULL),
                 (SELECT min(q.deadline_at) FROM _data_manager_admin.run_queue q WHERE q.deadline_at IS NOT NULL)
               ) - clock_timestamp())::double precision) END,
    (SELECT extract(epoch FROM min(s.next_at) - clock_timestamp())::double precision
       FROM _data_manager_admin.schedule s WHERE NOT s.paused AND s.task = ANY (scheduled));
END
$$;
