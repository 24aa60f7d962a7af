-- See filled.py, which puts in the numbers.
SET session_replication_role = replica;
INSERT INTO _data_manager_admin.etl_context
  (context_id, root_context_id, task, status, version, epoch, initial_event_id, latest_event_id, created_at, modified_at)
  SELECT n, n, CASE WHEN n <= 5 THEN 'old.rare' ELSE 'old.task' END,
         CASE WHEN n <= 50 THEN 'ERROR' ELSE 'DONE' END, 3, 1, n, n + 2 * {closed},
         now() - interval '30 days' + n * interval '1 ms', now() - interval '30 days' + n * interval '1 ms'
    FROM generate_series(1, {closed}) n;
INSERT INTO _data_manager_admin.event_store_prototype (event_id, etl_context_id, type, payload, meta, version)
  SELECT v * {closed} + n, n,
         CASE WHEN n <= 5 THEN 'old.rare' ELSE 'old.task' END
           || CASE WHEN v = 2 AND n <= 50 THEN ':ERROR' ELSE (ARRAY[':INITIAL', ':STARTED', ':FINAL'])[v + 1] END,
         jsonb_build_object('year', 2013), jsonb_build_object('idempotency_key', 'k' || v, 'epoch', 1), v + 1
    FROM generate_series(0, 2) v, generate_series(1, {closed}) n;
INSERT INTO _data_manager_admin.etl_context
  (context_id, root_context_id, task, status, version, epoch, initial_event_id, latest_event_id)
  VALUES ({long}, {long}, 'long.history', 'OPEN', {history}, 1, {next}, {next} + {history} - 1);
INSERT INTO _data_manager_admin.event_store_prototype (event_id, etl_context_id, type, payload, meta, version)
  SELECT {next} + n - 1, {long},
         CASE n WHEN 1 THEN 'long.history:INITIAL' WHEN 2 THEN 'long.history:STARTED'
                ELSE 'long.history/step' || n || ':DONE' END,
         jsonb_build_object('rows', n), jsonb_build_object('idempotency_key', 'h' || n, 'epoch', 1), n
    FROM generate_series(1, {history}) n;
INSERT INTO _data_manager_admin.etl_context
  (context_id, parent_id, root_context_id, task, status, version, initial_event_id, latest_event_id)
  SELECT {root} + n, CASE WHEN n > 0 THEN {root} END, {root}, CASE WHEN n > 0 THEN 'wide.part' ELSE 'wide.root' END,
         CASE WHEN n = 0 THEN 'OPEN' WHEN n > {children} - 3 THEN 'ERROR' ELSE 'DONE' END,
         1, {next} + {history} + n, {next} + {history} + n
    FROM generate_series(0, {children}) n;
INSERT INTO _data_manager_admin.event_store_prototype (event_id, etl_context_id, type, payload, version)
  SELECT {next} + {history} + n, {root} + n, CASE WHEN n > 0 THEN 'wide.part' ELSE 'wide.root' END || ':INITIAL', '{{}}', 1
    FROM generate_series(0, {children}) n;
INSERT INTO _data_manager_admin.etl_context
  (context_id, root_context_id, task, status, version, initial_event_id, latest_event_id)
  SELECT {queue} + n, {queue} + n, 'new.task', 'OPEN', 1,
         {next} + {history} + {children} + n, {next} + {history} + {children} + n
    FROM generate_series(1, {queued}) n;
INSERT INTO _data_manager_admin.event_store_prototype (event_id, etl_context_id, type, payload, meta, version)
  SELECT {next} + {history} + {children} + n, {queue} + n, 'new.task:INITIAL',
         jsonb_build_object('year', n), jsonb_build_object('user', 'ada'), 1
    FROM generate_series(1, {queued}) n;
INSERT INTO _data_manager_admin.run_queue (context_id, root_context_id, task, queue, state, priority)
  SELECT {queue} + n, {queue} + n, 'new.task', CASE WHEN n % 1000 = 0 THEN 'seldom' ELSE 'default' END,
         CASE WHEN n % 10 = 0 THEN 'waiting' WHEN n % 10 = 1 THEN 'retrying' ELSE 'queued' END, n % 3
    FROM generate_series(1, {queued}) n;
INSERT INTO _data_manager_admin.event_log (position, event_id)
  SELECT n, n FROM generate_series(1, {next} + {history} + {children} + {queued}) n;
DELETE FROM _data_manager_admin.event_log_state;
INSERT INTO _data_manager_admin.event_log_state (position, snapshot, system_identifier)
  SELECT {next} + {history} + {children} + {queued}, pg_current_snapshot(), system_identifier FROM pg_control_system();
SELECT setval('_data_manager_admin.etl_context_context_id_seq', {queue} + {queued}),
       setval('_data_manager_admin.event_store_prototype_event_id_seq', {next} + {history} + {children} + {queued});
SET session_replication_role = origin;
