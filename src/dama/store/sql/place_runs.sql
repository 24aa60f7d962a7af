-- place_runs: claim runs for an engine, before it is asked for jobs; see functions/launchers.sql.
-- In:    worker_id bigint; queues, tasks, offered (labels) text[]; demand int; launcher, prefix text;
--        resources text (JSON, by task); grouped boolean
-- Out:   one row for each run: context_id, epoch, name, element, task
-- Locks: as claim_runs, then the rows of the contexts, SKIP LOCKED
SELECT context_id, epoch, name, element, task FROM _data_manager_admin.place_runs(
  %(worker_id)s::bigint, %(queues)s::text[], %(tasks)s::text[], %(offered)s::text[], %(demand)s::int,
  %(launcher)s::text, %(prefix)s::text, %(resources)s::text::jsonb, %(grouped)s::boolean)
