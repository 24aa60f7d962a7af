-- park_run: a run waits without a worker; queued at once when what it waits for is there already.
-- In:    context_id, worker_id bigint; awaited bigint[]; on_failure boolean; until timestamptz or NULL; types text[];
--        seen bigint: the version up to which events of these types are known;
--        any_end boolean: the first of the awaited that ends wakes it, not the last
-- Out:   one row: parked (false: the run is no longer this worker's)
-- Locks: the row of the context, then that of the run
SELECT _data_manager_admin.park_run(
  %(context_id)s::bigint, %(worker_id)s::bigint, %(awaited)s::bigint[],
  %(on_failure)s::boolean, %(until)s::timestamptz,
  %(types)s::text[], %(seen)s::bigint, %(any_end)s::boolean)
