-- unplace_run: the job of a run is over, and nobody executes the run; see functions/launchers.sql.
-- In:    context_id, epoch bigint; failed boolean; facts text (JSON); losses int; quiet, lease, pause interval
-- Out:   one row: whether it was so
-- Locks: the row of the context, its key, then the row of the run
SELECT _data_manager_admin.unplace_run(%(context_id)s::bigint, %(epoch)s::bigint, %(failed)s::boolean,
  %(facts)s::text::jsonb, %(losses)s::int, %(quiet)s::interval, %(lease)s::interval,
  %(pause)s::interval)
