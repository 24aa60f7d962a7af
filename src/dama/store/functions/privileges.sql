-- privileges: who may do what. After all files with functions: it looks at all that there are.
--
-- Nobody may execute anything by being there: PUBLIC has no right to any function. Roles get their rights
-- from the statements of access_grants(), which `dama db grants` prints. Each role that they were executed
-- for is in granted_role, and gets what a newer version adds with the migration to it.

-- access_grants: the statements that give a role its rights; they may be executed again at any time.
-- In:    access: reader  sees everything but tokens and secrets
--                writer  inserts into the two public tables and calls dispatch()
--                worker  what a worker and a gateway do
CREATE OR REPLACE FUNCTION _data_manager_admin.access_grants(role name, access text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Of the owner alone: history leaves the tables, or is derived again.
  owners  constant text[] := '{rebuild,rebuild_contexts,rebuild_queue,refuse_living_workers,archive_trees,restore_tree,forget_trees,forget_roots,forget_exported,access_grants,scrub_columns,scrub_table,begin_scrub,end_scrub,strike_text,strike_json,strike_meta,strike_array,strike_key,replace_trigger,replace_view,be_owner,import_contexts,import_events,end_import,derive_origins}';
  writers constant text[] := '{dispatch}';
  -- All that the commands call which only look.
  readers constant text[] := '{list_contexts,along,list_queues,queue_names,queue_heads,count_aside,oldest_queued,version_at_position,state_at,slice_state,diff_state,slice_subscription,version_at,status_after,event_kind,event_json,read_log,sequence_log,poll_log,last_drawn,serves_in_tree,allowance,latest_allowance,four_minutes,context_anywhere,events_anywhere,find_previous,closed_trees,roots_behind,derived_contexts,placed_contexts,name_in,number_in}';
  secrets constant text[] := '{token,run_secret,browser_session,tap_state}';
  -- What only append_events(), start_contexts(), sequence_log() and the owner write.
  history constant text[] := '{etl_context,event_store_prototype,archived_context,archived_event,event_log,event_log_state,schema_migration,granted_role,run_secret,adoption,fork,imported}';
BEGIN
  IF access NOT IN ('reader', 'writer', 'worker') THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('There is no access %L: it is reader, writer or worker.', access);
  END IF;
  IF role IN ('public', 'none') THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%I is no role: rights are given to roles one by one.', role);
  END IF;
  RETURN NEXT format('GRANT USAGE ON SCHEMA _data_manager_admin TO %I;', role);
  IF access = 'writer' THEN
    RETURN NEXT format('GRANT INSERT ON _data_manager_admin.etl_context, _data_manager_admin.event_store_prototype TO %I;', role);
    -- For INSERT ... RETURNING and ON CONFLICT.
    RETURN NEXT format('GRANT SELECT (context_id, parent_id) ON _data_manager_admin.etl_context TO %I;', role);
    RETURN NEXT format('GRANT SELECT (event_id, etl_context_id, version) ON _data_manager_admin.event_store_prototype TO %I;', role);
    RETURN NEXT format('GRANT USAGE ON SEQUENCE _data_manager_admin.etl_context_context_id_seq, _data_manager_admin.event_store_prototype_event_id_seq TO %I;', role);
  ELSE
    RETURN QUERY SELECT format('GRANT SELECT ON _data_manager_admin.%I TO %I;', c.relname, role)
      FROM pg_class c
      WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relkind IN ('r', 'p', 'v')
        AND (access = 'worker' OR c.relname <> ALL (secrets))
      ORDER BY c.relname;
  END IF;
  IF access = 'worker' THEN
    RETURN QUERY SELECT format('GRANT INSERT, UPDATE, DELETE ON _data_manager_admin.%I TO %I;', c.relname, role)
      FROM pg_class c
      WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relkind IN ('r', 'p') AND c.relname <> ALL (history)
      ORDER BY c.relname;
    -- To lock the rows of contexts; what a context is follows from its events.
    RETURN NEXT format('GRANT UPDATE (modified_at) ON _data_manager_admin.etl_context TO %I;', role);
    RETURN NEXT format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA _data_manager_admin TO %I;', role);
  END IF;
  RETURN QUERY SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I;', p.oid::regprocedure, role)
    FROM pg_proc p
    WHERE p.pronamespace = to_regnamespace('_data_manager_admin') AND p.prorettype <> 'trigger'::regtype
      AND CASE access WHEN 'worker' THEN p.proname <> ALL (owners)
                      WHEN 'writer' THEN p.proname = ANY (writers)
                      ELSE p.proname = ANY (readers) END
    ORDER BY p.oid::regprocedure::text;
  RETURN NEXT format('INSERT INTO _data_manager_admin.granted_role (role, access) VALUES (%L, %L) ON CONFLICT DO NOTHING;', role, access);
END
$$;

DO $do$
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure) FROM pg_proc p
      WHERE p.pronamespace = to_regnamespace('_data_manager_admin') AND pg_has_role(p.proowner, 'USAGE')
    UNION ALL
    -- Default privileges may open every new table to whoever reads: not the secrets.
    SELECT format('REVOKE ALL ON %s FROM %s', c.oid::regclass, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
      FROM pg_class c, aclexplode(c.relacl) a
      WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relname IN ('token', 'run_secret', 'browser_session')
        AND a.grantee <> c.relowner AND a.grantor = c.relowner AND pg_has_role(c.relowner, 'USAGE')
    UNION ALL
    SELECT g.command FROM _data_manager_admin.granted_role r
      CROSS JOIN _data_manager_admin.access_grants(r.role, r.access) g (command)
      WHERE to_regrole(quote_ident(r.role)) IS NOT NULL
  LOOP
    EXECUTE command;
  END LOOP;
END
$do$;
