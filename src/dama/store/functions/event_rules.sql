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

-- The exact look at a value that is not short; see json_refusal().
CREATE OR REPLACE FUNCTION _data_manager_admin.long_json_refusal(value jsonb, name text, largest int) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  as_text text := value::text;
BEGIN
  IF octet_length(as_text) > largest THEN
    RETURN format('%s is %s bytes of JSON, and at most %s are kept; write the data to a file or a table, and its place here',
                  name, octet_length(as_text), largest);
  END IF;
  -- Brackets within strings count here: a look that is cheap and never misses.
  IF length(as_text) - length(translate(as_text, '[{', '')) > 100
     AND jsonb_path_exists(value, 'strict $.**{100} ? (@.type() == "array" || @.type() == "object")') THEN
    RETURN format('%s is nested more than 100 levels deep', name);
  END IF;
  IF as_text ~ '[0-9]{200}' THEN
    IF jsonb_path_exists(value, 'strict $.** ? (@.type() == "number" && (@ > $most || @ < -$most))',
                         jsonb_build_object('most', 179769313486231570814527423731704356798070567525844996598917476803157260780028538760589558632766878171540458953514382464234321326889464182768467546703537516986049910576551282076245490090389328944075868508455133942304583236903222948165808559332123348274797826204144723168738177180919299881250404026184124858368)) THEN
      RETURN format('%s has a number beyond 1.7976931348623157e308', name);
    END IF;
    IF EXISTS (SELECT FROM jsonb_path_query(value, 'strict $.** ? (@.type() == "number")') n
                 WHERE scale((n #>> '{}')::numeric) > 400) THEN
      RETURN format('%s has a number of more than 400 digits after the point', name);
    END IF;
  END IF;
  RETURN NULL;
END
$$;

-- Why a value is not JSON that an event may hold: nesting and numbers; NULL when it is. A text of less than
-- 202 bytes has neither 101 levels nor a number of 309 digits, and most are shorter.
CREATE OR REPLACE FUNCTION _data_manager_admin.json_refusal(value jsonb, name text, largest int) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN value IS NULL OR octet_length(value::text) < 202 THEN NULL
    ELSE _data_manager_admin.long_json_refusal(value, name, largest)
  END
$$;

-- Why an event is not a Flux Standard Action of this store's profile; NULL when it is one.
CREATE OR REPLACE FUNCTION _data_manager_admin.event_refusal(
  type text, payload jsonb, meta jsonb, error boolean) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN type IS NULL OR type = ''
      THEN 'type must be a string that is not empty'
    WHEN octet_length(type) > 1000
      THEN format('type must have at most 1,000 bytes, got %s', octet_length(type))
    WHEN jsonb_typeof(meta) <> 'object'
      THEN format('meta must be an object, got %s', jsonb_typeof(meta))
    WHEN meta ? 'epoch' AND (jsonb_typeof(meta -> 'epoch') <> 'number' OR meta ->> 'epoch' !~ '^[0-9]{1,18}$')
      THEN format('meta.epoch must be the number of a run, got %s', meta -> 'epoch')
    WHEN meta ? 'idempotency_key'
         AND (jsonb_typeof(meta -> 'idempotency_key') <> 'string' OR meta ->> 'idempotency_key' = '')
      THEN format('meta.idempotency_key must be a string that is not empty, got %s',
                  meta -> 'idempotency_key')
    WHEN octet_length(meta ->> 'idempotency_key') > 1000
      THEN format('meta.idempotency_key must have at most 1,000 bytes, got %s', octet_length(meta ->> 'idempotency_key'))
    -- append_events() looks for no earlier event with these.
    WHEN (meta ->> 'idempotency_key' LIKE 'FINAL#%' AND type NOT LIKE '%:FINAL')
         OR (meta ->> 'idempotency_key' LIKE 'STARTED#%'
             AND (type NOT LIKE '%:STARTED' OR meta ->> 'idempotency_key' IS DISTINCT FROM 'STARTED#' || (meta ->> 'epoch')))
      THEN format('the idempotency key %s is one of the controller; begin it with something else', meta ->> 'idempotency_key')
    WHEN octet_length(meta ->> 'start_key') > 1000
      THEN format('meta.start_key must have at most 1,000 bytes, got %s', octet_length(meta ->> 'start_key'))
    WHEN error AND jsonb_typeof(payload) IS DISTINCT FROM 'object'
      THEN format('error is true, so payload must be an object with a message, got %s',
                  coalesce(jsonb_typeof(payload), 'no payload'))
    WHEN error IS NOT TRUE AND type LIKE '%:ERROR'
      THEN format('an event of type %s must have error: true', type)
    ELSE coalesce(_data_manager_admin.json_refusal(payload, 'payload', 1048576),
                  _data_manager_admin.json_refusal(meta, 'meta', 65536))
  END
$$;

-- Why an event is for the controller alone; NULL when it is not. A context without a task is one of a
-- program of the first system: it has no run of ours, and ends itself. `dama.domain.reserved` has the same
-- types and keys.
CREATE OR REPLACE FUNCTION _data_manager_admin.reserved_refusal(
  context_id bigint, task text, type text, key text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN task IS NULL THEN NULL
    WHEN type ~ ':(INITIAL|PLACED|UNPLACED|STARTED|ADOPTED|LOST|RETRYING|RESUMED|ERROR|CANCELLED|FINAL)$'
         OR type ~ '[.].*/.*:(DONE|FAILED|SPAWNED|WAITING)$'
      THEN format('Context %s has a run of %s, and only the controller writes %s there. Choose another type; `dama cancel` and `dama resume` end and reopen a context.',
                  context_id, task, type)
    WHEN key ~ '^((PLACED|UNPLACED|STARTED|ADOPTED|LOST|RETRYING|ERROR|FINAL|PROGRESS|LOG)([#@]|$)|(DONE|FAILED|SPAWNED|WAITING|dispatch|ship)/)'
      THEN format('The run of context %s uses the idempotency key %s for an event of its own. Choose another one.', context_id, key)
  END
$$;

COMMENT ON FUNCTION _data_manager_admin.reserved_refusal IS
  'Which events only the controller writes: those of the life cycle and of steps, in a context that has a task.';

-- Why an event may not come next in a context; NULL when it may.
CREATE OR REPLACE FUNCTION _data_manager_admin.life_cycle_refusal(
  context_id bigint, version bigint, status text, type text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN version = 0 AND type NOT LIKE '%:INITIAL'
      THEN format('The first event of context %s must have a type that ends in :INITIAL, got %s.',
                  context_id, type)
    WHEN version > 0 AND type LIKE '%:INITIAL'
      THEN format('Context %s has its INITIAL already; a second one (%s) is refused.',
                  context_id, type)
    WHEN status = 'DONE'
      THEN format('Context %s has ended with its FINAL; nothing may follow, got %s.',
                  context_id, type)
    WHEN status = 'CANCELLED' AND type NOT LIKE '%:RESUMED'
      THEN format('Context %s was cancelled; only an event that ends in :RESUMED may follow, got %s.',
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

-- Why a JSON value has not the keys of an event, or not of their kinds; NULL when it has.
CREATE OR REPLACE FUNCTION _data_manager_admin.shape_refusal(event jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN jsonb_typeof(event) IS DISTINCT FROM 'object'
      THEN format('an event must be an object, got %s', coalesce(jsonb_typeof(event), 'nothing'))
    WHEN event - '{type,payload,error,meta}'::text[] <> '{}'
      THEN format('an event has only the keys type, payload, error and meta, not %s',
                  event - '{type,payload,error,meta}'::text[])
    WHEN jsonb_typeof(event -> 'type') IS DISTINCT FROM 'string'
      THEN format('type must be a string, got %s', coalesce(jsonb_typeof(event -> 'type'), 'none'))
    WHEN jsonb_typeof(event -> 'error') NOT IN ('boolean', 'null')
      THEN format('error must be true, false or absent, got %s', jsonb_typeof(event -> 'error'))
  END
$$;

-- Why a JSON value is not a Flux Standard Action of this store's profile; NULL when it is one.
CREATE OR REPLACE FUNCTION _data_manager_admin.fsa_refusal(event jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT coalesce(
    _data_manager_admin.shape_refusal(event),
    _data_manager_admin.event_refusal(
      event ->> 'type', event -> 'payload', nullif(event -> 'meta', 'null'), event -> 'error' = 'true'))
$$;
