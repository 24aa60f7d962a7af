-- bundles: contexts with their events leave a database as a file, and come into another one.
--
-- In a file ids are those of the database in which the contexts ran. What was imported and has not changed since
-- leaves as it came, with the ids that it came with: the same file again.

-- ids_in: the contexts that an event of a run names in its payload; NULL for events that name none.
-- A SPAWNED names what was started, the record of an end what had failed (a step of the same name has a function).
CREATE OR REPLACE FUNCTION _data_manager_admin.ids_in(type text, payload jsonb, meta jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN right(type, 8) = ':SPAWNED' AND jsonb_typeof(payload -> 'context_ids') = 'array'
      THEN ARRAY(SELECT i #>> '{}' FROM jsonb_array_elements(payload -> 'context_ids') i
                   WHERE jsonb_typeof(i) = 'number' AND i #>> '{}' ~ '^-?[0-9]{1,20}$')
    WHEN right(type, 5) = ':DONE' AND position('/end:' IN type) > 0 AND jsonb_typeof(payload -> 'failed') = 'number'
         AND payload ->> 'failed' ~ '^-?[0-9]{1,20}$' AND NOT coalesce(meta ? 'function', FALSE)
      THEN ARRAY[payload ->> 'failed']
  END
$$;

-- with_ids: the payload of such an event with other ids; ids: the new id of each old one, or what is left as it is.
CREATE OR REPLACE FUNCTION _data_manager_admin.with_ids(type text, payload jsonb, ids jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN right(type, 8) = ':SPAWNED'
      THEN jsonb_set(payload, '{context_ids}', (
             SELECT coalesce(jsonb_agg(coalesce(ids -> (i.id #>> '{}'), i.id) ORDER BY i.place), '[]')
               FROM jsonb_array_elements(payload -> 'context_ids') WITH ORDINALITY i (id, place)))
    ELSE jsonb_set(payload, '{failed}', coalesce(ids -> (payload ->> 'failed'), payload -> 'failed'))
  END
$$;

-- hidden_id, shown_id: a context that is not in the file would be another one here: its id is negative here, and
-- what is negative in the file lies below that.
CREATE OR REPLACE FUNCTION _data_manager_admin.hidden_id(id numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN id > 0 THEN -id ELSE id - 1e19::numeric END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.shown_id(id numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN id <= -1e19::numeric THEN id + 1e19::numeric WHEN id < 0 THEN -id ELSE id END
$$;

-- came_with: the meta that an imported event came with.
CREATE OR REPLACE FUNCTION _data_manager_admin.came_with(meta jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(meta) <> 'object' THEN meta WHEN r.rest = '{}' THEN meta #> '{imported_from,meta}' ELSE r.rest END
    FROM (SELECT (meta - 'imported_from')
            || CASE WHEN meta -> 'imported_from' ? 'before' THEN jsonb_build_object('imported_from', meta #> '{imported_from,before}') ELSE '{}' END
            || CASE WHEN meta -> 'imported_from' ? 'start_key' THEN jsonb_build_object('start_key', meta #> '{imported_from,start_key}') ELSE '{}' END AS rest
            WHERE jsonb_typeof(meta) = 'object' UNION ALL SELECT NULL WHERE jsonb_typeof(meta) IS DISTINCT FROM 'object') r
$$;

-- exported_contexts: contexts with all below them, also archived ones, the oldest first: parents before children.
-- In:    given: what is exported; here: what tells this database from all others; plainly: what was imported leaves
--        as what it is here, too
-- Out:   n: the place in the file; parent: the n of the parent, NULL at the top; top: the n of the topmost;
--        upto: how many events; is_whole: it was imported, and has not changed since. database and source_id are
--        what it came with then; status: after the last of these events
CREATE OR REPLACE FUNCTION _data_manager_admin.exported_contexts(given bigint[], here text, plainly boolean)
RETURNS TABLE (n bigint, parent bigint, top bigint, context_id bigint, upto bigint, is_whole boolean, database text,
               source_id bigint, task text, status text, created_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE trees AS (
    SELECT DISTINCT a.root_context_id FROM unnest(given) g (id) CROSS JOIN LATERAL _data_manager_admin.context_anywhere(g.id) a),
  members AS MATERIALIZED (
    SELECT c.context_id, c.parent_id, c.root_context_id, c.version, c.task, c.created_at
      FROM trees t JOIN _data_manager_admin.etl_context c USING (root_context_id)
    UNION ALL
    SELECT c.context_id, c.parent_id, c.root_context_id, c.version, c.task, c.created_at
      FROM trees t JOIN _data_manager_admin.archived_context c USING (root_context_id)),
  below AS (
    SELECT m.context_id FROM members m WHERE m.context_id = ANY (given)
    UNION
    SELECT m.context_id FROM members m JOIN below b ON m.parent_id = b.context_id),
  placed AS (  -- in a cycle of parents, which only an adopted database can have, the root is the topmost
    SELECT m.context_id, m.context_id AS top FROM members m JOIN below b USING (context_id)
      WHERE m.context_id = m.root_context_id OR NOT EXISTS (SELECT FROM below p WHERE p.context_id = m.parent_id)
    UNION
    SELECT m.context_id, p.top FROM members m JOIN placed p ON m.parent_id = p.context_id),
  ordered AS (
    SELECT row_number() OVER (ORDER BY p.top, m.context_id) AS n, p.top, m.*
      FROM (SELECT DISTINCT ON (x.context_id) x.* FROM placed x ORDER BY x.context_id, x.top) p JOIN members m USING (context_id)),
  whole AS (
    SELECT o.top, NOT plainly AND bool_and(i.context_id IS NOT NULL AND (o.version = i.version OR (o.version = i.version + 1 AND EXISTS (
             SELECT FROM _data_manager_admin.events_anywhere(o.context_id, o.version) e
               WHERE e.version = o.version AND e.meta ? 'ended_by_import')))) AS is_whole
      FROM ordered o LEFT JOIN _data_manager_admin.imported i USING (context_id) GROUP BY o.top)
  SELECT o.n, CASE WHEN o.context_id <> o.top THEN u.n END, t.n, o.context_id, CASE WHEN w.is_whole THEN i.version ELSE o.version END,
         w.is_whole, CASE WHEN w.is_whole THEN i.database ELSE here END, CASE WHEN w.is_whole THEN i.source_id ELSE o.context_id END,
         o.task,
         (SELECT _data_manager_admin.status_after(e.type)
            FROM _data_manager_admin.events_anywhere(o.context_id, CASE WHEN w.is_whole THEN i.version ELSE o.version END) e
            WHERE e.version = CASE WHEN w.is_whole THEN i.version ELSE o.version END),
         o.created_at
    FROM ordered o JOIN whole w USING (top) JOIN ordered t ON t.context_id = o.top
    LEFT JOIN ordered u ON u.context_id = o.parent_id LEFT JOIN _data_manager_admin.imported i ON i.context_id = o.context_id
    ORDER BY o.n
$$;

-- exported_event: a line of the file for an event: one JSON object. Joined as text, as in event_json().
-- An event whose meta is no object, which only an adopted database can have, has no id in the file: an imported one
-- could not say which it was.
CREATE OR REPLACE FUNCTION _data_manager_admin.exported_event(
  n bigint, event_id bigint, version bigint, type text, payload jsonb, meta jsonb, error boolean, created_at timestamptz,
  is_whole boolean, from_database text)
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '{"context":' || n || ',"version":' || version
      || coalesce(',"event_id":' || CASE
           WHEN jsonb_typeof(coalesce(nullif(meta, 'null'), '{}')) <> 'object' THEN NULL
           WHEN NOT is_whole THEN event_id::text
           WHEN jsonb_typeof(meta -> 'imported_from') = 'object' THEN meta #>> '{imported_from,event_id}'
           ELSE meta ->> 'imported_from' END, '')
      || ',"created_at":' || to_json(created_at) || ',"type":' || to_json(type)
      || coalesce(',"payload":' || CASE WHEN is_whole AND r.ids IS NOT NULL THEN _data_manager_admin.with_ids(type, payload, r.ids) ELSE payload END::text, '')
      || coalesce(',"meta":' || CASE WHEN is_whole THEN _data_manager_admin.came_with(meta) ELSE meta END::text, '')
      || CASE WHEN error IS NULL THEN '' WHEN error THEN ',"error":true' ELSE ',"error":false' END || '}'
    FROM (SELECT jsonb_object_agg(i.id, coalesce(m.source_id, _data_manager_admin.shown_id(i.id::numeric))) AS ids
            FROM unnest(CASE WHEN is_whole THEN _data_manager_admin.ids_in(type, payload, meta) END) i (id)
            LEFT JOIN _data_manager_admin.imported m ON m.context_id = CASE WHEN length(i.id) < 19 THEN i.id::bigint END AND m.database = from_database) r
$$;

-- be_owner: what inserts rows as they were acts as the owner of the tables, whom the guards let pass, to the end of
-- the transaction. Who is no member of that role is refused here.
CREATE OR REPLACE FUNCTION _data_manager_admin.be_owner() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('dama.rewrite_history', 'on', TRUE),
          set_config('role', (SELECT pg_get_userbyid(c.relowner) FROM pg_class c
                                WHERE c.oid = '_data_manager_admin.etl_context'::regclass), TRUE);
END
$$;

-- import_contexts: contexts without events yet.
-- In:    items: context_id, parent_id, root_context_id, task, created_at of each, and of those of another database
--        database, source_id, version; one that comes back to its own has its own id
CREATE OR REPLACE FUNCTION _data_manager_admin.import_contexts(items jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO _data_manager_admin.etl_context (context_id, parent_id, root_context_id, task, created_at, modified_at)
  SELECT i.context_id, i.parent_id, i.root_context_id, i.task, i.created_at, i.created_at
    FROM jsonb_to_recordset(items) i (context_id bigint, parent_id bigint, root_context_id bigint, task text, created_at timestamptz)
    ORDER BY i.context_id;
  INSERT INTO _data_manager_admin.imported (context_id, database, source_id, version)
  SELECT i.context_id, i.database, i.source_id, i.version
    FROM jsonb_to_recordset(items) i (context_id bigint, database text, source_id bigint, version bigint)
    WHERE i.database IS NOT NULL;
$$;

-- is_free: whether an event may have an id: it was drawn once, and no event has it now.
CREATE OR REPLACE FUNCTION _data_manager_admin.is_free(id bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT id BETWEEN 1 AND _data_manager_admin.last_drawn('_data_manager_admin.event_store_prototype_event_id_seq')
     AND NOT EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.event_id = id)
$$;

-- import_events: events of contexts that are imported in this transaction. Those of a context that comes back are
-- what they were, with their ids.
-- In:    lines: of the file, in its order; contexts: the new context of each; first, last: of all that are imported;
--        mark: what the first event of each context says of the import
CREATE OR REPLACE FUNCTION _data_manager_admin.import_events(lines text[], contexts bigint[], first bigint, last bigint, mark jsonb)
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO _data_manager_admin.event_store_prototype (event_id, etl_context_id, type, payload, meta, error, version, created_at)
  SELECT coalesce(CASE WHEN m.context_id IS NULL AND _data_manager_admin.is_free((e.event -> 'event_id')::bigint) THEN (e.event -> 'event_id')::bigint END,
                  nextval('_data_manager_admin.event_store_prototype_event_id_seq')),
         e.context_id, e.event ->> 'type',
         CASE WHEN r.ids IS NULL THEN e.event -> 'payload' ELSE _data_manager_admin.with_ids(e.event ->> 'type', e.event -> 'payload', r.ids) END,
         CASE WHEN m.context_id IS NULL OR jsonb_typeof(e.meta) <> 'object' THEN e.event -> 'meta' ELSE
           CASE WHEN v.version = 1 THEN e.meta - 'start_key' ELSE e.meta END || jsonb_build_object('imported_from',
             CASE WHEN v.version = 1 THEN
                    mark || jsonb_build_object('database', m.database, 'context_id', m.source_id, 'version', m.version, 'event_id', e.event -> 'event_id')
                      || CASE WHEN e.meta ? 'start_key' THEN jsonb_build_object('start_key', e.meta -> 'start_key') ELSE '{}' END || e.more
                  WHEN e.more <> '{}' THEN jsonb_build_object('event_id', e.event -> 'event_id') || e.more
                  ELSE e.event -> 'event_id' END) END,
         (e.event -> 'error')::boolean, v.version, (e.event ->> 'created_at')::timestamptz
    FROM (SELECT l.event, p.meta, l.context_id, l.place,  -- more: what could not be told from the rest
                 CASE WHEN p.meta ? 'imported_from' THEN jsonb_build_object('before', p.meta -> 'imported_from') ELSE '{}' END
                   || CASE WHEN p.meta = '{}' AND l.event ? 'meta' THEN jsonb_build_object('meta', l.event -> 'meta') ELSE '{}' END AS more
            FROM unnest(lines::jsonb[], contexts) WITH ORDINALITY l (event, context_id, place)
            CROSS JOIN LATERAL (SELECT coalesce(nullif(l.event -> 'meta', 'null'), '{}') AS meta) p) e
    LEFT JOIN _data_manager_admin.imported m ON m.context_id = e.context_id
    CROSS JOIN LATERAL (SELECT (e.event -> 'version')::bigint AS version) v
    CROSS JOIN LATERAL (
      SELECT jsonb_object_agg(i.id, coalesce(o.context_id, _data_manager_admin.hidden_id(i.id::numeric))) AS ids
        FROM unnest(CASE WHEN m.context_id IS NOT NULL THEN _data_manager_admin.ids_in(e.event ->> 'type', e.event -> 'payload', e.meta) END) i (id)
        LEFT JOIN LATERAL (
          SELECT p.context_id FROM _data_manager_admin.imported p
            WHERE p.database = m.database AND p.source_id = CASE WHEN length(i.id) < 19 THEN i.id::bigint END
              AND p.context_id BETWEEN first AND last LIMIT 1) o ON TRUE) r
    ORDER BY e.place
$$;

-- end_import: the imported contexts become what their events say; what was open is ended, for its run is elsewhere.
-- In:    contexts: all that are imported, and versions: how many events each has; payload, meta: of the CANCELLED
-- Out:   the contexts that were ended
-- Raises: DM001 the events of a context are not those that it is said to have; DM003 the key of the start of one that
--         comes back is that of another context now
CREATE OR REPLACE FUNCTION _data_manager_admin.end_import(contexts bigint[], versions bigint[], payload jsonb, meta jsonb)
RETURNS TABLE (context_id bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  odd  record;
  open bigint[];
BEGIN
  WITH told AS (
    SELECT e.etl_context_id AS context_id, max(e.version) AS version, count(*) AS events,
           (array_agg(e.event_id ORDER BY e.version))[1] AS first, (array_agg(e.event_id ORDER BY e.version DESC))[1] AS latest,
           _data_manager_admin.status_after((array_agg(e.type ORDER BY e.version DESC))[1]) AS status,
           (array_agg(e.created_at ORDER BY e.version DESC))[1] AS modified_at,
           max(_data_manager_admin.name_in(e.meta, 'start_key')) FILTER (WHERE e.version = 1) AS start_key,
           coalesce(max(_data_manager_admin.number_in(e.meta, 'epoch', 1e18)::bigint) FILTER (WHERE e.type ~ ':(STARTED|ADOPTED|LOST)$'), 0) AS epoch
      FROM _data_manager_admin.event_store_prototype e WHERE e.etl_context_id = ANY (contexts) GROUP BY e.etl_context_id)
  UPDATE _data_manager_admin.etl_context c
    SET version = t.version, initial_event_id = t.first, latest_event_id = t.latest, status = t.status, epoch = t.epoch,
        modified_at = t.modified_at, idempotency_key = t.start_key
    FROM told t WHERE t.context_id = c.context_id AND t.events = t.version;
  SELECT coalesce(i.source_id, w.id) AS id, w.version INTO odd
    FROM unnest(contexts, versions) w (id, version) JOIN _data_manager_admin.etl_context c ON c.context_id = w.id
    LEFT JOIN _data_manager_admin.imported i ON i.context_id = w.id
    WHERE c.version <> w.version LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM001',
      MESSAGE = format('The file says that context %s has %s events, and has not all of them, from the first to the last.', odd.id, odd.version);
  END IF;
  PERFORM _data_manager_admin.derive_origins(contexts);
  open := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
                  WHERE c.context_id = ANY (contexts) AND c.status = 'OPEN' AND c.task IS NOT NULL ORDER BY 1);
  PERFORM _data_manager_admin.append_cancelled(open, payload, meta || '{"ended_by_import": true}') WHERE open <> '{}';
  RETURN QUERY SELECT * FROM unnest(open);
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION USING ERRCODE = 'DM003',
    MESSAGE = 'A context of the file cannot come back: the idempotency key of its start is that of another context now.',
    HINT = 'Import it as a further context, with --again, or archive the tree of the other one first.';
END
$$;
