-- list_queues: the queues that have runs or settings.
-- In:    nothing
-- Out:   queue, paused, concurrency, rate, queued, delayed, blocked, running, waiting, oldest (of the queued)
-- Locks: none
SELECT coalesce(q.queue, s.queue), coalesce(s.paused, FALSE), s.concurrency, s.rate,
       coalesce(q.queued, 0), coalesce(q.delayed, 0), coalesce(q.blocked, 0),
       coalesce(q.running, 0), coalesce(q.waiting, 0), q.oldest
  FROM (SELECT r.queue, count(*) FILTER (WHERE r.state = 'queued') AS queued,
               count(*) FILTER (WHERE r.state IN ('delayed', 'retrying')) AS delayed,
               count(*) FILTER (WHERE r.state = 'blocked') AS blocked,
               count(*) FILTER (WHERE r.state = 'running') AS running,
               count(*) FILTER (WHERE r.state = 'waiting') AS waiting,
               min(c.created_at) FILTER (WHERE r.state = 'queued') AS oldest
          FROM _data_manager_admin.run_queue r
          JOIN _data_manager_admin.etl_context c USING (context_id) GROUP BY r.queue) q
  FULL JOIN _data_manager_admin.queue_setting s USING (queue)
  ORDER BY 1
