-- event_rules: the rules that the append function and the guard of direct INSERTs share.
-- SQL functions of one expression: the planner puts them in place, and a call costs nothing. That
-- needs expressions without subqueries, and STABLE where format() is used, which is STABLE itself.

CREATE OR REPLACE FUNCTION _data_manager_admin.event_kind(type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN type LIKE '%:FINAL' THEN 'FINAL'
    WHEN type LIKE '%:STARTED' THEN 'STARTED'
    WHEN type LIKE '%:INITIAL' THEN 'INITIAL'
    WHEN type LIKE '%:ERROR' THEN 'ERROR'
    WHEN type LIKE '%:CANCELLED' THEN 'CANCELLED'
    WHEN type LIKE '%:RESUMED' THEN 'RESUMED'
  END
$$;

COMMENT ON FUNCTION _data_manager_admin.event_kind(text) IS
  'The life-cycle meaning of a type: its last suffix, or NULL.';

-- Why an event is not a Flux Standard Action of this store's profile; NULL when it is one.
CREATE OR REPLACE FUNCTION _data_manager_admin.event_refusal(
  type text, payload jsonb, meta jsonb, error boolean) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN type IS NULL OR type = ''
      THEN 'type must be a string that is not empty'
    WHEN jsonb_typeof(meta) <> 'object'
      THEN format('meta must be an object, found %s', jsonb_typeof(meta))
    WHEN meta ? 'epoch' AND coalesce(meta ->> 'epoch', '') !~ '^[0-9]{1,18}$'
      THEN format('meta.epoch must be the number of a run, found %s', meta -> 'epoch')
    WHEN meta ? 'idempotency_key'
         AND (jsonb_typeof(meta -> 'idempotency_key') <> 'string' OR meta ->> 'idempotency_key' = '')
      THEN format('meta.idempotency_key must be a string that is not empty, found %s',
                  meta -> 'idempotency_key')
    WHEN error AND jsonb_typeof(payload) IS DISTINCT FROM 'object'
      THEN format('error is true, so payload must be an object with a message, found %s',
                  coalesce(jsonb_typeof(payload), 'no payload'))
    WHEN error IS NOT TRUE AND type LIKE '%:ERROR'
      THEN format('an event of type %s must have error: true', type)
  END
$$;

-- Why an event may not come next in a context; NULL when it may.
CREATE OR REPLACE FUNCTION _data_manager_admin.life_cycle_refusal(
  context_id bigint, version bigint, status text, type text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN version = 0 AND type NOT LIKE '%:INITIAL'
      THEN format('The first event of context %s must have a type that ends in :INITIAL, found %s.',
                  context_id, type)
    WHEN version > 0 AND type LIKE '%:INITIAL'
      THEN format('Context %s has its INITIAL already; a second one (%s) is refused.',
                  context_id, type)
    WHEN status = 'DONE'
      THEN format('Context %s has ended with its FINAL; nothing may follow, found %s.',
                  context_id, type)
    WHEN status = 'CANCELLED' AND type NOT LIKE '%:RESUMED'
      THEN format('Context %s was cancelled; only an event that ends in :RESUMED may follow, found %s.',
                  context_id, type)
  END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.status_after(type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN type LIKE '%:FINAL' THEN 'DONE'
    WHEN type LIKE '%:ERROR' THEN 'ERROR'
    WHEN type LIKE '%:CANCELLED' THEN 'CANCELLED'
    ELSE 'OPEN'
  END
$$;

COMMENT ON FUNCTION _data_manager_admin.status_after(text) IS
  'The status of a context after an event of this type was admitted.';

-- Why a JSON value is not a Flux Standard Action of this store's profile; NULL when it is one.
CREATE OR REPLACE FUNCTION _data_manager_admin.fsa_refusal(event jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN jsonb_typeof(event) IS DISTINCT FROM 'object'
      THEN format('an event is an object, found %s', coalesce(jsonb_typeof(event), 'nothing'))
    WHEN event - '{type,payload,error,meta}'::text[] <> '{}'
      THEN format('an event has only the keys type, payload, error and meta, found also %s',
                  event - '{type,payload,error,meta}'::text[])
    WHEN jsonb_typeof(event -> 'type') IS DISTINCT FROM 'string'
      THEN format('type must be a string, found %s', coalesce(jsonb_typeof(event -> 'type'), 'none'))
    WHEN jsonb_typeof(event -> 'error') NOT IN ('boolean', 'null')
      THEN format('error must be true, false or absent, found %s', jsonb_typeof(event -> 'error'))
    ELSE _data_manager_admin.event_refusal(
      event ->> 'type', event -> 'payload', nullif(event -> 'meta', 'null'),
      (event ->> 'error')::boolean)
  END
$$;
