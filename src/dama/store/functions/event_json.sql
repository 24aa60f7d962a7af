-- event_json: an event as one JSON text; what is absent is left out. Joined as text: jsonb would
-- be parsed and written once more.
CREATE OR REPLACE FUNCTION _data_manager_admin.event_json(e _data_manager_admin.event_store_prototype)
RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT '{"event_id":' || e.event_id || ',"context_id":' || e.etl_context_id
      || ',"version":' || e.version || ',"created_at":' || to_json(e.created_at) || ',"type":' || to_json(e.type)
      || coalesce(',"payload":' || e.payload::text, '') || coalesce(',"meta":' || nullif(e.meta, 'null')::text, '')
      || CASE WHEN e.error IS NULL THEN '' WHEN e.error THEN ',"error":true' ELSE ',"error":false' END
      || '}'
$$;
