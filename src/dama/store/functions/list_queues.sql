-- list_queues: what waits where. Nothing is counted further than to 10,000: that stands for so many or more.

-- queue_names: the queues that have runs or settings, by name, from index entry to index entry.
CREATE OR REPLACE FUNCTION _data_manager_admin.queue_names(after text, demand int) RETURNS SETOF text
LANGUAGE sql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off
AS $$
  WITH RECURSIVE names AS (
    SELECT after AS queue
    UNION ALL
    SELECT least(
        (SELECT q.queue FROM _data_manager_admin.run_queue q
           WHERE q.state = 'queued' AND q.queue > n.queue ORDER BY q.queue LIMIT 1),
        (SELECT q.queue FROM _data_manager_admin.run_queue q
           WHERE q.state = 'running' AND q.queue > n.queue ORDER BY q.queue LIMIT 1),
        (SELECT q.queue FROM _data_manager_admin.run_queue q
           WHERE q.state NOT IN ('queued', 'running') AND q.queue > n.queue ORDER BY q.queue LIMIT 1),
        (SELECT s.queue FROM _data_manager_admin.queue_setting s
           WHERE s.queue > n.queue ORDER BY s.queue LIMIT 1))
      FROM names n WHERE n.queue IS NOT NULL)
  SELECT n.queue FROM names n WHERE n.queue <> after LIMIT demand
$$;

-- queue_heads: the runs of a queue that are claimed next.
CREATE OR REPLACE FUNCTION _data_manager_admin.queue_heads(queue text, demand int)
RETURNS SETOF _data_manager_admin.run_queue
LANGUAGE sql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off
AS $$
  SELECT q.* FROM _data_manager_admin.run_queue q
    WHERE q.queue = queue_heads.queue AND q.state = 'queued'
    ORDER BY q.queue, -q.priority::bigint, q.context_id LIMIT demand
$$;

-- count_aside: how many runs of a queue are in a state, up to 10,000; not for queued or running.
CREATE OR REPLACE FUNCTION _data_manager_admin.count_aside(queue text, state text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
  SELECT count(*) FROM (
    SELECT FROM _data_manager_admin.run_queue q
      WHERE q.queue = count_aside.queue AND q.state = count_aside.state AND q.state NOT IN ('queued', 'running')
      LIMIT 10000) q
$$;

-- oldest_queued: since when the oldest of the queued is there: the first of each priority, of the highest 100.
CREATE OR REPLACE FUNCTION _data_manager_admin.oldest_queued(queue text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
  WITH RECURSIVE firsts AS (
    SELECT -3000000000 AS rank, NULL::bigint AS context_id
    UNION ALL
    SELECT n.rank, n.context_id FROM firsts f CROSS JOIN LATERAL (
      SELECT -q.priority::bigint AS rank, q.context_id FROM _data_manager_admin.run_queue q
        WHERE q.queue = oldest_queued.queue AND q.state = 'queued' AND -q.priority::bigint > f.rank
        ORDER BY q.queue, -q.priority::bigint, q.context_id LIMIT 1) n)
  SELECT min(c.created_at) FROM (SELECT f.context_id FROM firsts f LIMIT 101) f
    JOIN _data_manager_admin.etl_context c ON c.context_id = f.context_id
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.list_queues(after text, demand int)
RETURNS TABLE (queue text, paused boolean, concurrency int, rate double precision, queued bigint, delayed bigint,
               blocked bigint, placed bigint, running bigint, waiting bigint, oldest timestamptz)
LANGUAGE sql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
  SELECT n.queue, coalesce(s.paused, FALSE), s.concurrency, s.rate,
         (SELECT count(*) FROM (SELECT FROM _data_manager_admin.run_queue q
            WHERE q.queue = n.queue AND q.state = 'queued' LIMIT 10000) q),
         least(10000, _data_manager_admin.count_aside(n.queue, 'delayed') + _data_manager_admin.count_aside(n.queue, 'retrying')),
         _data_manager_admin.count_aside(n.queue, 'blocked'),
         _data_manager_admin.count_aside(n.queue, 'placed'),
         (SELECT count(*) FROM (SELECT FROM _data_manager_admin.run_queue q
            WHERE q.queue = n.queue AND q.state = 'running' LIMIT 10000) q),
         _data_manager_admin.count_aside(n.queue, 'waiting'),
         _data_manager_admin.oldest_queued(n.queue)
    FROM _data_manager_admin.queue_names(after, demand) n (queue)
    LEFT JOIN _data_manager_admin.queue_setting s ON s.queue = n.queue
    ORDER BY 1
$$;
