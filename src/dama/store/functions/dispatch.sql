-- dispatch: append one event, for psql and for programs in any language.
-- Out:    the id of the event
-- Raises: as append_events(); DM010 only the controller may write it (reserved_refusal())
CREATE OR REPLACE FUNCTION _data_manager_admin.dispatch(
  context_id bigint, type text, payload jsonb DEFAULT NULL, meta jsonb DEFAULT NULL,
  error boolean DEFAULT NULL, expected_version bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  refusal text := (SELECT _data_manager_admin.reserved_refusal(
                            c.context_id, c.task, dispatch.type, dispatch.meta ->> 'idempotency_key')
                     FROM _data_manager_admin.etl_context c WHERE c.context_id = dispatch.context_id);
BEGIN
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM010', MESSAGE = refusal;
  END IF;
  RETURN (SELECT a.event_id FROM _data_manager_admin.append_events(jsonb_build_array(
    jsonb_build_object('context_id', dispatch.context_id, 'expected_version', dispatch.expected_version, 'event',
      jsonb_build_object('type', dispatch.type)
      || CASE WHEN dispatch.payload IS NULL THEN '{}' ELSE jsonb_build_object('payload', dispatch.payload) END
      || CASE WHEN dispatch.meta IS NULL THEN '{}' ELSE jsonb_build_object('meta', dispatch.meta) END
      || CASE WHEN dispatch.error IS NULL THEN '{}' ELSE jsonb_build_object('error', dispatch.error) END))) a);
END
$$;

COMMENT ON FUNCTION _data_manager_admin.dispatch IS
  'Append one event: SELECT _data_manager_admin.dispatch(42, ''rows/loaded'', ''{"rows": 7}''). NULL payload: none.';
