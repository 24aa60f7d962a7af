-- read_obstacles: why the run of a context does not run, all reasons at once.
-- In:    context_id bigint
-- Out:   reason text, facts jsonb; no row for a context without a run, or when nothing stands in its way
-- Locks: none
WITH run AS (
  SELECT q.context_id, q.parent_id, q.root_context_id, q.task, q.queue, q.priority, q.state, q.attempt, q.worker_id, q.due_at, q.expires_at,
         q.epoch, q.pending, q.wake_types, q.awaited, q.labels, q.limit_key, q.key_limit, q.host, q.host_until
    FROM _data_manager_admin.run_queue q WHERE q.context_id = %(context_id)s::bigint),
setting AS (
  SELECT s.* FROM run r JOIN _data_manager_admin.queue_setting s ON s.queue = r.queue),
live AS (  -- a worker for a single tree works on that alone, whatever its queues are
  SELECT w.worker_id, w.host || ':' || w.pid AS name, coalesce(w.place, w.host) AS place, w.running, w.slots,
         r.queue = ANY (w.queues) OR w.root_context_id IS NOT NULL AS has_queue,
         CASE WHEN w.root_context_id IS NULL THEN r.labels <@ w.labels
              ELSE _data_manager_admin.serves_in_tree(r.context_id, r.root_context_id, r.labels, w.labels) END AS has_labels,
         r.task = ANY (w.tasks) IS NOT FALSE AS has_task
    FROM run r CROSS JOIN _data_manager_admin.worker w
    WHERE w.lease_until > clock_timestamp() AND coalesce(w.root_context_id = r.root_context_id, TRUE))
SELECT 'running', jsonb_build_object('worker', w.host || ':' || w.pid, 'alive', w.lease_until > clock_timestamp())
  FROM run r LEFT JOIN _data_manager_admin.worker w USING (worker_id) WHERE r.state = 'running'
UNION ALL
SELECT 'placed', jsonb_build_object('launcher', p.launcher, 'name', p.name, 'job', p.native_id, 'state', p.state, 'reason', p.reason,
         'node', p.node, 'since', p.since, 'away_since', l.away_since, 'trouble', l.trouble,
         'looked_after', EXISTS (SELECT FROM _data_manager_admin.worker w WHERE w.worker_id = l.worker_id AND w.lease_until > clock_timestamp()))
  FROM run r JOIN _data_manager_admin.placement p ON p.context_id = r.context_id AND p.epoch = r.epoch
  LEFT JOIN _data_manager_admin.launcher l ON l.launcher = p.launcher WHERE r.state = 'placed'
UNION ALL
SELECT 'launcher', jsonb_build_object('launcher', l.launcher, 'away_since', l.away_since, 'trouble', l.trouble, 'held', (
         SELECT count(*) FROM _data_manager_admin.placement p JOIN _data_manager_admin.run_queue q USING (context_id, epoch)
           WHERE p.launcher = l.launcher AND q.state IN ('placed', 'running')))
  FROM run r JOIN _data_manager_admin.launcher l ON 'launcher:' || l.launcher = ANY (r.labels)
  WHERE r.state = 'queued' AND EXISTS (SELECT FROM _data_manager_admin.worker w
    WHERE w.worker_id = l.worker_id AND w.lease_until > clock_timestamp())
UNION ALL
SELECT 'paused', jsonb_build_object('queue', s.queue, 'by', s.paused_by, 'since', s.paused_at)
  FROM run r CROSS JOIN setting s WHERE s.paused AND r.state NOT IN ('running', 'placed')
UNION ALL
SELECT 'queue_limit', jsonb_build_object('queue', s.queue, 'limit', s.concurrency, 'held_by', h.ids, 'held', h.held)
  FROM run r CROSS JOIN setting s CROSS JOIN LATERAL (
    SELECT count(*) AS held, to_jsonb((array_agg(q.context_id ORDER BY q.context_id))[:10]) AS ids
      FROM (
        SELECT o.context_id FROM _data_manager_admin.run_queue o WHERE o.queue = r.queue AND o.state = 'running'
        UNION ALL
        SELECT o.context_id FROM _data_manager_admin.run_queue o
          WHERE o.queue = r.queue AND o.state = 'placed' AND o.state NOT IN ('queued', 'running')) q) h
  WHERE r.state NOT IN ('running', 'placed', 'waiting') AND h.held >= s.concurrency
UNION ALL
SELECT 'rate', jsonb_build_object('queue', s.queue, 'rate', s.rate,
         'seconds', greatest(0, (1 - _data_manager_admin.allowance(s.queue, s.rate)) / s.rate))
  FROM run r CROSS JOIN setting s
  WHERE r.state NOT IN ('running', 'placed', 'waiting') AND s.rate IS NOT NULL AND _data_manager_admin.allowance(s.queue, s.rate) < 1
UNION ALL
SELECT 'delayed', jsonb_build_object('until', r.due_at) FROM run r WHERE r.state = 'delayed'
UNION ALL
SELECT 'retrying', jsonb_build_object('at', r.due_at, 'attempt', r.attempt + 1) FROM run r WHERE r.state = 'retrying'
UNION ALL
SELECT 'key_limit', jsonb_build_object('key', r.limit_key, 'limit', r.key_limit, 'held_by', h.ids, 'held', h.held)
  FROM run r CROSS JOIN LATERAL (
    SELECT count(*) AS held, coalesce(to_jsonb((array_agg(q.context_id ORDER BY q.context_id))[:10]), '[]') AS ids
      FROM _data_manager_admin.run_queue q
      WHERE q.limit_key = r.limit_key AND q.state NOT IN ('blocked', 'delayed')) h
  WHERE r.state = 'blocked'
UNION ALL
SELECT 'subtasks', jsonb_build_object('open', coalesce(r.pending, 0), 'contexts', o.ids)
  FROM run r CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(c.context_id ORDER BY c.context_id), '[]') AS ids FROM (
      SELECT c.context_id FROM _data_manager_admin.etl_context c
        WHERE c.status = 'OPEN' AND CASE WHEN r.awaited IS NULL THEN c.parent_id = r.context_id ELSE c.context_id = ANY (r.awaited) END
        ORDER BY 1 LIMIT 10) c) o
  WHERE r.state = 'waiting' AND r.pending > 0
UNION ALL
SELECT 'signal', jsonb_build_object('types', to_jsonb(r.wake_types)) FROM run r WHERE r.state = 'waiting' AND r.wake_types <> '{}'
UNION ALL
SELECT 'time', jsonb_build_object('until', r.due_at) FROM run r WHERE r.state = 'waiting' AND r.due_at IS NOT NULL
UNION ALL
SELECT 'place', jsonb_build_object('place', r.host, 'until', r.host_until)
  FROM run r WHERE r.state NOT IN ('running', 'placed') AND r.host IS NOT NULL
    AND NOT EXISTS (SELECT FROM live l WHERE l.place = r.host AND l.has_queue AND l.has_task)
UNION ALL
SELECT 'no_worker', jsonb_build_object('task', r.task, 'queue', r.queue, 'labels', to_jsonb(r.labels),
         'workers', (SELECT count(*) FROM live), 'for_queue', (SELECT count(*) FROM live l WHERE l.has_queue),
         'for_labels', (SELECT count(*) FROM live l WHERE l.has_queue AND l.has_labels))
  FROM run r WHERE r.state NOT IN ('running', 'placed') AND NOT EXISTS (SELECT FROM live l WHERE l.has_queue AND l.has_labels AND l.has_task)
UNION ALL
SELECT 'busy', jsonb_build_object('workers', jsonb_agg(l.name ORDER BY l.name), 'slots', sum(l.slots))
  FROM run r JOIN live l ON l.has_queue AND l.has_labels AND l.has_task
  WHERE r.state = 'queued' HAVING bool_and(l.running >= l.slots)
UNION ALL
SELECT 'behind', jsonb_build_object('queue', r.queue, 'runs', b.runs)
  FROM run r CROSS JOIN LATERAL (
    SELECT count(*) AS runs FROM (
      SELECT FROM _data_manager_admin.run_queue q
        WHERE q.queue = r.queue AND q.state = 'queued'
          AND (-q.priority::bigint, q.context_id) < (-r.priority::bigint, r.context_id) LIMIT 10000) a) b
  WHERE r.state = 'queued' AND b.runs > 0
