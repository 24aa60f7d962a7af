-- sequences: both continue behind what is there. Out of nothing they stay as they are.
SELECT setval(s.name, s.latest) FROM (VALUES
    ('_data_manager_admin.etl_context_context_id_seq'::regclass, (SELECT max(c.context_id) FROM _data_manager_admin.etl_context c)::bigint),
    ('_data_manager_admin.event_store_prototype_event_id_seq'::regclass, (SELECT max(e.event_id) FROM _data_manager_admin.event_store_prototype e)::bigint)
  ) s (name, latest) WHERE s.latest > coalesce(pg_sequence_last_value(s.name), 0)
