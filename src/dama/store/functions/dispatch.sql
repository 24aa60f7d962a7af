-- dispatch: append one event, for psql and for programs in any language.
-- Out:   the id of the event
CREATE OR REPLACE FUNCTION _data_manager_admin.dispatch(
  context_id bigint, type text, payload jsonb DEFAULT NULL, meta jsonb DEFAULT NULL,
  error boolean DEFAULT NULL, expected_version bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.event_id FROM _data_manager_admin.append_events(jsonb_build_array(
    jsonb_build_object('context_id', context_id, 'expected_version', expected_version, 'event',
      jsonb_build_object('type', type)
      || CASE WHEN payload IS NULL THEN '{}' ELSE jsonb_build_object('payload', payload) END
      || CASE WHEN meta IS NULL THEN '{}' ELSE jsonb_build_object('meta', meta) END
      || CASE WHEN error IS NULL THEN '{}' ELSE jsonb_build_object('error', error) END))) a
$$;

COMMENT ON FUNCTION _data_manager_admin.dispatch IS
  'Append one event: SELECT _data_manager_admin.dispatch(42, ''rows/loaded'', ''{"rows": 7}''). NULL payload: none.';
