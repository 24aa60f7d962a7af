-- read_forks: where a context was forked from, and what was forked from it.
-- In:    context_id bigint; limit int
-- Out:   context_id, source_id, event_id, version: first its own origin, if it has one, then its forks, newest first
-- Locks: none
(SELECT f.context_id, f.source_id, f.event_id, f.version FROM _data_manager_admin.fork f
   WHERE f.context_id = %(context_id)s::bigint)
UNION ALL
(SELECT f.context_id, f.source_id, f.event_id, f.version FROM _data_manager_admin.fork f
   WHERE f.source_id = %(context_id)s::bigint ORDER BY f.context_id DESC LIMIT %(limit)s::int)
