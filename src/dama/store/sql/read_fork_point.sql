-- read_fork_point: a context, also an archived one, with one of its events and its first.
-- In:    context_id bigint; event_id bigint, or NULL for the latest
-- Out:   task of the context; event_id, version, type, payload text of the event, NULL where it has none like
--        that; first_payload text: JSON
-- Locks: none
-- By the id of the event (+ 0): a plan by the context would read all of its events.
SELECT c.task, e.event_id, e.version, e.type, e.payload::text, i.payload::text
  FROM _data_manager_admin.context_anywhere(%(context_id)s::bigint) c
  LEFT JOIN LATERAL (
    SELECT o.event_id, o.version, o.type, o.payload FROM _data_manager_admin.event_store_prototype o
      WHERE o.event_id = coalesce(%(event_id)s::bigint, c.latest_event_id) AND o.etl_context_id + 0 = c.context_id
    UNION ALL
    SELECT a.event_id, a.version, a.type, a.payload FROM _data_manager_admin.archived_event a
      WHERE a.etl_context_id = c.context_id AND a.event_id = coalesce(%(event_id)s::bigint, c.latest_event_id)) e ON TRUE
  LEFT JOIN LATERAL _data_manager_admin.events_anywhere(c.context_id, 1) i ON TRUE
