-- read_waits: who waits for whom, from some runs on: what can be in a circle, and no more.
-- In:    contexts bigint[]; NULL for those behind which a circle can be: one blocked run of each key, and what waits for itself
-- Out:   waiter, awaited bigint; key text, key_limit int: the limit whose place the awaited one holds, or NULL
-- Locks: none
WITH RECURSIVE keys AS (
  SELECT (SELECT min(q.limit_key) FROM _data_manager_admin.run_queue q WHERE q.state = 'blocked') AS key
  UNION ALL
  SELECT (SELECT min(q.limit_key) FROM _data_manager_admin.run_queue q WHERE q.state = 'blocked' AND q.limit_key > k.key)
    FROM keys k WHERE k.key IS NOT NULL),
seeds AS (
  SELECT unnest(%(contexts)s::bigint[]) AS context_id
  UNION
  SELECT (SELECT q.context_id FROM _data_manager_admin.run_queue q
            WHERE q.state = 'blocked' AND q.limit_key = k.key ORDER BY -q.priority::bigint, q.context_id LIMIT 1)
    FROM (SELECT k.key FROM keys k WHERE k.key IS NOT NULL LIMIT 1000) k WHERE %(contexts)s::bigint[] IS NULL
  UNION
  SELECT q.context_id
    FROM _data_manager_admin.queue_names('', 1000) n (queue)
    CROSS JOIN LATERAL (
      SELECT w.context_id, w.awaited FROM _data_manager_admin.run_queue w
        WHERE w.queue >= n.queue AND w.queue <= n.queue AND w.state = 'waiting' ORDER BY w.queue LIMIT 1000) q
    WHERE %(contexts)s::bigint[] IS NULL AND q.context_id = ANY (q.awaited)),
reached AS (
  SELECT NULL::bigint AS waiter, s.context_id AS awaited, NULL::text AS key, NULL::int AS key_limit FROM seeds s
  UNION
  SELECT r.awaited, t.context_id, t.key, t.key_limit
    -- OFFSET 0: one by one, where a join could read all that is queued.
    FROM reached r CROSS JOIN LATERAL (
      SELECT w.* FROM _data_manager_admin.run_queue w WHERE w.context_id = r.awaited OFFSET 0) q
    CROSS JOIN LATERAL (
      SELECT h.context_id, q.limit_key AS key, q.key_limit
        FROM (SELECT a.context_id FROM _data_manager_admin.run_queue a
                WHERE q.state = 'blocked' AND a.limit_key = q.limit_key AND a.state NOT IN ('blocked', 'delayed')
                LIMIT 1000) h
      UNION ALL
      -- Of all that wait for one key a single one tells; what runs and waits for nothing is in no circle.
      -- coalesce: by their parent, where the index of what is open could be read as a whole.
      SELECT min(b.context_id), NULL, NULL
        FROM ((SELECT c.context_id FROM _data_manager_admin.etl_context c
                 WHERE (c.parent_id, c.context_id) > (q.context_id, 0) AND c.parent_id <= q.context_id AND coalesce(c.status, '') = 'OPEN'
                 ORDER BY c.parent_id, c.context_id OFFSET 0)
              UNION SELECT unnest(q.awaited)) o (context_id)
        CROSS JOIN LATERAL (
          SELECT w.* FROM _data_manager_admin.run_queue w WHERE w.context_id = o.context_id OFFSET 0) b
        WHERE ((b.is_awaited AND b.parent_id = q.context_id) OR b.context_id = ANY (q.awaited))
          AND (b.state IN ('blocked', 'waiting') OR EXISTS (
            SELECT FROM (
                SELECT c.context_id FROM _data_manager_admin.etl_context c
                  WHERE (c.parent_id, c.context_id) > (b.context_id, 0) AND c.parent_id <= b.context_id AND coalesce(c.status, '') = 'OPEN'
                  ORDER BY c.parent_id, c.context_id OFFSET 0) c
              CROSS JOIN LATERAL (
                SELECT FROM _data_manager_admin.run_queue d WHERE d.context_id = c.context_id AND d.is_awaited OFFSET 0) d))
        GROUP BY CASE WHEN b.state = 'blocked' THEN b.limit_key END, CASE WHEN b.state <> 'blocked' THEN b.context_id END) t)
SELECT r.waiter, r.awaited, r.key, r.key_limit FROM reached r WHERE r.waiter IS NOT NULL LIMIT 100000
