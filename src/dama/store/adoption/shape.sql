-- shape: what a database holds that could be adopted.
-- In:    nothing
-- Out:   schema, table, kind of relation, owner, may_own: whether this role may act as the owner, rows as the
--        statistics have them, row_security, columns ({name: {type, filled, default}}), keys (columns that are
--        unique and filled), references (of others to it), triggers,
--        updates (triggers on any UPDATE that are enabled), rules
-- Locks: none
SELECT n.nspname, c.relname, c.relkind::text, pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS may_own,
       greatest(c.reltuples, 0)::bigint AS rows, c.relrowsecurity,
       (SELECT coalesce(jsonb_object_agg(a.attname, jsonb_build_object('type', format_type(a.atttypid, NULL), 'filled', a.attnotnull)), '{}')
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT coalesce(jsonb_agg(DISTINCT a.attname), '[]')
          FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL
            AND i.indexprs IS NULL) AS keys,
       (SELECT coalesce(jsonb_agg(f.conrelid::regclass::text || CASE f.confdeltype WHEN 'c' THEN ' (ON DELETE CASCADE)' ELSE '' END), '[]')
          FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conparentid = 0
            AND f.conrelid NOT IN (SELECT o.oid FROM pg_class o WHERE o.relnamespace = c.relnamespace)) AS references,
       (SELECT coalesce(jsonb_agg(t.tgname ORDER BY t.tgname), '[]')
          FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS triggers,
       (SELECT coalesce(jsonb_agg(t.tgname ORDER BY t.tgname), '[]')
          FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 16 <> 0 AND t.tgenabled IN ('O', 'A')
            AND cardinality(t.tgattr::int2[]) = 0) AS updates,
       (SELECT coalesce(jsonb_agg(r.rulename ORDER BY r.rulename), '[]')
          FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('O', 'A')) AS rules
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND (n.nspname = '_data_manager_admin' AND c.relname IN ('etl_context', 'event_store_prototype', 'schema_migration', 'adoption')
         OR n.nspname = 'data_manager' AND c.relname IN ('etl_contexts', 'event_store'))
  ORDER BY 1, 2
