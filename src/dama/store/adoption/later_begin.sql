-- later_begin: ids that are drawn here stand far above those that the old tables still draw; the second wall behind
-- the locks leaves out what is copied.
-- In:    :contexts, :events: the ids above which ours begin
SELECT setval('_data_manager_admin.etl_context_context_id_seq', :contexts),
       setval('_data_manager_admin.event_store_prototype_event_id_seq', :events);
DROP INDEX _data_manager_admin.event_store_prototype_initial, _data_manager_admin.event_store_prototype_final,
           _data_manager_admin.event_store_prototype_idempotency;
CREATE UNIQUE INDEX event_store_prototype_initial ON _data_manager_admin.event_store_prototype (etl_context_id)
  WHERE type LIKE '%:INITIAL' AND event_id > :events;
CREATE UNIQUE INDEX event_store_prototype_final ON _data_manager_admin.event_store_prototype (etl_context_id)
  WHERE type LIKE '%:FINAL' AND event_id > :events;
CREATE :unique INDEX event_store_prototype_idempotency
  ON _data_manager_admin.event_store_prototype (etl_context_id, (meta ->> 'idempotency_key')) WHERE meta ? 'idempotency_key';
