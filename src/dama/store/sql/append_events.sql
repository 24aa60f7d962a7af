-- append_events: append a batch; see functions/append_events.sql.
-- In:    batch text, JSON
-- Out:   event_id, version, is_new of each item, in order
-- Locks: the contexts' rows
SELECT event_id, version, is_new FROM _data_manager_admin.append_events(%(batch)s::text::jsonb)
