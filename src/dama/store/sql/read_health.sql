-- read_health: what tells whether the database is well.
-- In:    nothing
-- Out:   one row, see HealthRow
-- Locks: none
SELECT current_setting('server_version'), current_setting('fsync') = 'on',
       current_setting('synchronous_commit'), current_setting('autovacuum') = 'on',
       clock_timestamp(),
       (SELECT jsonb_build_object('pid', a.pid, 'application', a.application_name, 'state', a.state,
               'seconds', extract(epoch FROM clock_timestamp() - a.xact_start)::float)
          FROM pg_stat_activity a
          WHERE a.xact_start IS NOT NULL AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
          ORDER BY a.xact_start LIMIT 1),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('table', t.relname, 'live', t.n_live_tup,
               'dead', t.n_dead_tup)), '[]')
          FROM pg_stat_user_tables t
          WHERE t.schemaname = '_data_manager_admin' AND t.n_dead_tup > 10000 + 2 * t.n_live_tup),
       (SELECT coalesce(jsonb_agg(format('%s:%s', w.host, w.pid)), '[]')
          FROM _data_manager_admin.worker w WHERE w.lease_until < clock_timestamp()),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('queue', q.queue, 'labels', q.labels, 'runs', q.runs)), '[]')
          FROM (SELECT r.queue, r.labels, count(*) AS runs FROM _data_manager_admin.run_queue r
                  WHERE r.state = 'queued' AND NOT EXISTS (
                    SELECT FROM _data_manager_admin.worker w
                      WHERE w.lease_until > clock_timestamp() AND w.root_context_id IS NULL
                        AND r.queue = ANY (w.queues) AND r.labels <@ w.labels)
                  GROUP BY r.queue, r.labels) q),
       (SELECT coalesce(jsonb_agg(s.name), '[]')
          FROM _data_manager_admin.schedule s WHERE s.failure IS NOT NULL)
