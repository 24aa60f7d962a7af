-- views: for people with psql or a notebook.

SELECT _data_manager_admin.replace_view('context_overview', 'One row per context: status, its run if it has one, its latest event.', $view$
  SELECT c.context_id::bigint, c.parent_id::bigint, c.root_context_id, c.task, c.status, q.state AS run,
         q.attempt, w.host || ':' || w.pid AS worker, c.version AS events, c.created_at, c.modified_at,
         c.modified_at - c.created_at AS elapsed, e.type AS latest_event
    FROM _data_manager_admin.etl_context c
    LEFT JOIN _data_manager_admin.run_queue q USING (context_id)
    LEFT JOIN _data_manager_admin.worker w USING (worker_id)
    LEFT JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.latest_event_id
$view$);

SELECT _data_manager_admin.replace_view('event_history', 'The events as people read them: WHERE context_id = 42 ORDER BY version.', $view$
  SELECT e.etl_context_id::bigint AS context_id, e.version, e.event_id::bigint, e.created_at, e.type, e.payload, e.error, e.meta
    FROM _data_manager_admin.event_store_prototype e
$view$);

SELECT _data_manager_admin.replace_view('queue_overview', 'How many runs are in which state, by queue.', $view$
  SELECT q.queue, q.state, count(*) AS runs, min(c.created_at) AS oldest
    FROM _data_manager_admin.run_queue q JOIN _data_manager_admin.etl_context c USING (context_id)
    GROUP BY q.queue, q.state
$view$);

SELECT _data_manager_admin.replace_view('slice_states', 'The states of the slices that are kept as tables: SELECT context_id, state ->> ''rows'' FROM slice_states WHERE slice = ''loaded''.', $view$
  SELECT b.slice, r.context_id, r.version, r.event_id, r.folded::json AS state
    FROM _data_manager_admin.slice_build b JOIN _data_manager_admin.slice_row r USING (build)
    WHERE b.state = 'shown'
$view$);
