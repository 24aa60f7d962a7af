-- read_health: what tells whether the database is well.
-- In:    functions text[]: those that the schema has
-- Out:   one row, see HealthRow; of each queue the first 1,000 runs are looked at
-- Locks: none
SELECT current_setting('server_version'), current_setting('fsync') = 'on',
       current_setting('synchronous_commit'), current_setting('autovacuum') = 'on',
       clock_timestamp(),
       (SELECT max(m.name) FILTER (WHERE m.name <> 'functions') FROM _data_manager_admin.schema_migration m),
       (SELECT s.position FROM _data_manager_admin.event_log_state s ORDER BY s.position DESC LIMIT 1),
       -- Of this database: those of others do not keep its dead rows.
       (SELECT jsonb_build_object('pid', a.pid, 'application', a.application_name, 'state', a.state,
               'writes', a.backend_xid IS NOT NULL,
               'seconds', extract(epoch FROM clock_timestamp() - a.xact_start)::float)
          FROM pg_stat_activity a
          WHERE a.xact_start IS NOT NULL AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
            AND a.datname = current_database()
          ORDER BY a.xact_start LIMIT 1),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('gid', p.gid,
               'seconds', extract(epoch FROM clock_timestamp() - p.prepared)::float) ORDER BY p.prepared), '[]')
          FROM pg_prepared_xacts p WHERE p.database = current_database()),
       (SELECT coalesce(jsonb_agg(s.slot_name ORDER BY s.slot_name), '[]')
          FROM pg_replication_slots s
          WHERE NOT s.active AND (s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL OR s.restart_lsn IS NOT NULL)),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('table', t.relname, 'live', t.n_live_tup, 'dead', t.n_dead_tup,
               'vacuumed', extract(epoch FROM clock_timestamp()
                                   - greatest(t.last_vacuum, t.last_autovacuum))::float)), '[]')
          FROM pg_stat_user_tables t
          WHERE t.schemaname = '_data_manager_admin' AND t.n_dead_tup > 10000 + 2 * t.n_live_tup),
       (SELECT coalesce(jsonb_agg(format('%%s:%%s', w.host, w.pid)), '[]')
          FROM _data_manager_admin.worker w WHERE w.lease_until < clock_timestamp()),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('worker', format('%%s:%%s', w.host, w.pid), 'trouble', w.trouble)), '[]')
          FROM _data_manager_admin.worker w WHERE w.trouble IS NOT NULL),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('queue', q.queue, 'labels', q.labels, 'runs', q.runs,
               'seconds', q.seconds)), '[]')
          FROM (SELECT r.queue, r.labels, count(*) AS runs,
                       extract(epoch FROM clock_timestamp() - min(c.modified_at))::float AS seconds
                  FROM _data_manager_admin.queue_names('', 1000) n (queue)
                  CROSS JOIN LATERAL _data_manager_admin.queue_heads(n.queue, 1000) r
                  JOIN _data_manager_admin.etl_context c USING (context_id)
                  WHERE r.state = 'queued' AND NOT EXISTS (
                    SELECT FROM _data_manager_admin.worker w
                      WHERE w.lease_until > clock_timestamp() AND w.root_context_id IS NULL
                        AND r.queue = ANY (w.queues) AND r.labels <@ w.labels)
                  GROUP BY r.queue, r.labels) q),
       -- A worker that could claim them has room, nothing limits their queue, and still they wait.
       (SELECT coalesce(jsonb_agg(jsonb_build_object('task', q.task, 'queue', q.queue, 'runs', q.runs,
               'seconds', q.seconds)), '[]')
          FROM (SELECT r.task, r.queue, count(*) AS runs,
                       extract(epoch FROM clock_timestamp() - min(c.modified_at))::float AS seconds
                  FROM _data_manager_admin.queue_names('', 1000) n (queue)
                  CROSS JOIN LATERAL _data_manager_admin.queue_heads(n.queue, 1000) r
                  JOIN _data_manager_admin.etl_context c USING (context_id)
                  WHERE r.state = 'queued'
                    AND NOT EXISTS (SELECT FROM _data_manager_admin.queue_setting s WHERE s.queue = r.queue
                                      AND (s.paused OR s.concurrency IS NOT NULL OR s.rate IS NOT NULL))
                    AND EXISTS (
                      SELECT FROM _data_manager_admin.worker w
                        WHERE w.lease_until > clock_timestamp() AND w.root_context_id IS NULL
                          AND w.running < w.slots AND r.queue = ANY (w.queues) AND r.labels <@ w.labels)
                  GROUP BY r.task, r.queue) q),
       (SELECT coalesce(jsonb_agg(s.name), '[]')
          FROM _data_manager_admin.schedule s WHERE s.failure IS NOT NULL),
       -- Ids of an adopted database are integers.
       (SELECT coalesce(jsonb_agg(jsonb_build_object('sequence', s.sequencename, 'used', s.last_value::float / s.max_value)), '[]')
          FROM pg_sequences s
          WHERE s.schemaname = '_data_manager_admin' AND s.last_value >= 0.8 * s.max_value),
       current_setting('client_connection_check_interval', TRUE),
       -- What somebody has switched off or removed: no version of the schema tells.
       (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', d.kind, 'name', d.name, 'of', d.of) ORDER BY d.kind, d.name), '[]')
          FROM (SELECT 'trigger', t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                  WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND t.tgenabled = 'D'
                UNION ALL
                SELECT 'index', i.relname, c.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
                  WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND NOT x.indisvalid
                    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid)
                UNION ALL
                SELECT 'table', c.relname, NULL FROM pg_class c
                  WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relkind = 'r' AND c.relpersistence = 'u'
                    AND c.relname <> ALL ('{slice_snapshot,slice_rung,request_count}')
                UNION ALL
                SELECT 'function', f, NULL FROM unnest(%(functions)s::text[]) f
                  WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = to_regnamespace('_data_manager_admin') AND p.proname = f)) d (kind, name, of))
