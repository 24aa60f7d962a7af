-- place_events: the places in the log of the events that were there before the first column was added. Versions follow the
-- ids here, and so do places; sequence_log() would sort all events to find that out.
-- Locks: the log, which nobody reads yet. Its keys are built when all is in it, in a third of the time.
ALTER TABLE _data_manager_admin.event_log DROP CONSTRAINT event_log_pkey, DROP CONSTRAINT event_log_event_id_key;
INSERT INTO _data_manager_admin.event_log (position, event_id)
  SELECT row_number() OVER (ORDER BY v.event_id), v.event_id FROM _data_manager_admin.adoption_version v
    WHERE EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.event_id = v.event_id)
    ORDER BY v.event_id;
ALTER TABLE _data_manager_admin.event_log ADD CONSTRAINT event_log_pkey PRIMARY KEY (position),
  ADD CONSTRAINT event_log_event_id_key UNIQUE (event_id);
UPDATE _data_manager_admin.event_log_state s SET position = coalesce((SELECT max(l.position) FROM _data_manager_admin.event_log l), 0);
