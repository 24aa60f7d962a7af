-- list_queues: the queues that have runs or settings, by name; see functions/list_queues.sql.
-- In:    after text: a name, '' for the first; limit int
-- Out:   queue, paused, concurrency, rate, queued, delayed, blocked, placed, running, waiting, oldest (of the queued); no count is
--        higher than 10,000, which stands for so many or more
-- Locks: none
SELECT queue, paused, concurrency, rate, queued, delayed, blocked, placed, running, waiting, oldest
  FROM _data_manager_admin.list_queues(%(after)s::text, %(limit)s::int)
