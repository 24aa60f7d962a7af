-- scrub: a secret that got in is struck out of all that is stored. Only the owner of the tables may: it
-- rewrites history, and record_scrub() says so in a context of its own.
--
-- A table that a later migration adds is looked at as well: the columns come from the catalog. What is not
-- struck are words that act, such as the name of a task or of a queue: they are counted, and told.
-- Keys that must differ stay different: the id of the row is added to one that was struck.

-- strike_text: a text without some forms of a secret, the longest first.
CREATE OR REPLACE FUNCTION _data_manager_admin.strike_text(value text, forms text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  form text;
BEGIN
  FOREACH form IN ARRAY forms LOOP
    value := replace(value, form, '***');
  END LOOP;
  RETURN value;
END
$$;

-- strike_json: a value without them, in keys and strings; a number that is one becomes a string.
CREATE OR REPLACE FUNCTION _data_manager_admin.strike_json(value jsonb, forms text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE jsonb_typeof(value)
    WHEN 'string' THEN to_jsonb(_data_manager_admin.strike_text(value #>> '{}', forms))
    WHEN 'number' THEN CASE WHEN value::text = ANY (forms) THEN '"***"'::jsonb ELSE value END
    WHEN 'array' THEN coalesce(
      (SELECT jsonb_agg(_data_manager_admin.strike_json(e.item, forms) ORDER BY e.place)
         FROM jsonb_array_elements(value) WITH ORDINALITY e (item, place)), '[]')
    WHEN 'object' THEN coalesce(
      (SELECT jsonb_object_agg(_data_manager_admin.strike_text(e.key, forms), _data_manager_admin.strike_json(e.value, forms))
         FROM jsonb_each(value) e), '{}')
    ELSE value END;
END
$$;

-- strike_meta: the same for the meta of an event, of which one key is in a unique index.
CREATE OR REPLACE FUNCTION _data_manager_admin.strike_meta(value jsonb, forms text[], event_id bigint) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN m.struck ->> 'idempotency_key' <> value ->> 'idempotency_key'
              THEN jsonb_set(m.struck, '{idempotency_key}', to_jsonb(format('%s#%s', m.struck ->> 'idempotency_key', event_id)))
              ELSE m.struck END
    FROM (SELECT _data_manager_admin.strike_json(value, forms)) m (struck)
$$;

-- strike_array: the same for a list of strings.
CREATE OR REPLACE FUNCTION _data_manager_admin.strike_array(value text[], forms text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY(SELECT _data_manager_admin.strike_text(e.item, forms) FROM unnest(value) WITH ORDINALITY e (item, place) ORDER BY e.place)
$$;

-- strike_key: the same for a key that no other row may have.
CREATE OR REPLACE FUNCTION _data_manager_admin.strike_key(value text, forms text[], id bigint) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN k.struck = value THEN value ELSE format('%s#%s', k.struck, id) END
    FROM (SELECT _data_manager_admin.strike_text(value, forms)) k (struck)
$$;

-- scrub_columns: the columns that may hold a secret.
-- Out:   struck: how it is struck out of the column, with the forms in $2; NULL: its words act, and are kept
--        context_column: the one that says whose the row is
CREATE OR REPLACE FUNCTION _data_manager_admin.scrub_columns()
RETURNS TABLE (relation name, name name, context_column name, struck text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.relname, a.attname,
         (SELECT o.attname FROM pg_attribute o
            WHERE o.attrelid = c.oid AND o.attname IN ('context_id', 'etl_context_id') LIMIT 1),
         CASE
           WHEN c.relname IN ('schema_migration', 'granted_role', 'request_count')
                OR a.attname IN ('status', 'task', 'queue', 'queues', 'state', 'slice', 'cron', 'zone', 'catch_up', 'overlap', 'scope', 'access', 'services', 'token_id')
                   AND a.atttypid <> 'jsonb'::regtype
                OR a.attname = 'name' AND c.relname <> 'token' THEN NULL
           WHEN a.attname = 'meta' THEN '_data_manager_admin.strike_meta(t.meta, $2, t.event_id)'
           WHEN a.attname = 'idempotency_key' THEN '_data_manager_admin.strike_key(t.idempotency_key, $2, t.context_id)'
           ELSE format('_data_manager_admin.%I(t.%I, $2)',
                       CASE a.atttypid WHEN 'jsonb'::regtype THEN 'strike_json' WHEN 'text'::regtype THEN 'strike_text' ELSE 'strike_array' END,
                       a.attname)
         END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relkind = 'r'
      AND a.attnum > 0 AND NOT a.attisdropped
      AND a.atttypid IN ('text'::regtype, 'text[]'::regtype, 'jsonb'::regtype)
$$;

-- scrub_table: strike a secret out of some rows of one table.
-- In:    patterns, forms: the ways in which it is written, for LIKE and as they are, the longest first
--        contexts: only rows of these; NULL for all; demand: at most so many rows
--        act: strike: change them; count: say how many there are; kept: the same for words that act
-- Out:   how many rows were changed or are there
-- Locks: rows that nobody else has; who strikes looks again until none is left
CREATE OR REPLACE FUNCTION _data_manager_admin.scrub_table(
  target name, patterns text[], forms text[], contexts bigint[], demand int, act text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before    text := coalesce(current_setting('dama.rewrite_history', TRUE), '');
  flag      text := set_config('dama.rewrite_history', 'on', TRUE);
  changes   text;
  condition text;
  owner     name;  -- the column that says whose a row is
  found     bigint := 0;
BEGIN
  SELECT string_agg(format('%I = %s', c.name, c.struck), ', '),
         string_agg(format('(t.%1$I::text LIKE ANY ($1) AND %2$s IS DISTINCT FROM t.%1$I)', c.name, coalesce(c.struck, 'NULL')), ' OR '),
         min(c.context_column::text)
    INTO changes, condition, owner
    FROM _data_manager_admin.scrub_columns() c
    WHERE c.relation = target AND (c.struck IS NULL) = (act = 'kept');
  IF condition IS NULL OR (contexts IS NOT NULL AND owner IS NULL) THEN
    RETURN 0;
  END IF;
  condition := format('(%s) AND %s', condition, CASE WHEN contexts IS NULL THEN 'TRUE' ELSE format('t.%I = ANY ($3)', owner) END);
  IF act = 'strike' THEN
    EXECUTE format('UPDATE _data_manager_admin.%1$I t SET %2$s
                      FROM (SELECT t.ctid FROM _data_manager_admin.%1$I t WHERE %3$s LIMIT $4 FOR UPDATE SKIP LOCKED) s
                      WHERE t.ctid = s.ctid', target, changes, condition)
      USING patterns, forms, contexts, demand;
    GET DIAGNOSTICS found = ROW_COUNT;
  ELSE
    EXECUTE format('SELECT count(*) FROM _data_manager_admin.%I t WHERE %s', target, condition)
      INTO found USING patterns, forms, contexts;
  END IF;
  flag := set_config('dama.rewrite_history', before, TRUE);
  RETURN found;
END
$$;

-- begin_scrub: a context of its own for the act, so that whoever reads the log knows that it was changed.
CREATE OR REPLACE FUNCTION _data_manager_admin.begin_scrub(payload jsonb, meta jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before  text := coalesce(current_setting('dama.rewrite_history', TRUE), '');
  flag    text := set_config('dama.rewrite_history', 'on', TRUE);
  context bigint;
BEGIN
  INSERT INTO _data_manager_admin.etl_context (task) VALUES ('dama.scrub') RETURNING context_id INTO context;
  flag := set_config('dama.rewrite_history', before, TRUE);
  PERFORM _data_manager_admin.append_events(jsonb_build_array(jsonb_build_object('context_id', context,
    'event', jsonb_build_object('type', 'dama.scrub:INITIAL', 'payload', payload, 'meta', meta))));
  RETURN context;
END
$$;

-- end_scrub: how many places there were.
CREATE OR REPLACE FUNCTION _data_manager_admin.end_scrub(context bigint, payload jsonb, meta jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT _data_manager_admin.append_events(jsonb_build_array(jsonb_build_object('context_id', context,
    'event', jsonb_build_object('type', 'dama.scrub:FINAL', 'payload', payload, 'meta', meta))))
$$;
