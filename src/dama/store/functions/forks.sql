-- forks: a new context that has the history of another one up to one of its events, and continues from there.

-- context_anywhere, events_anywhere: a context and its events, also archived ones. Without settings of their own, so
-- that the planner puts them in place.
CREATE OR REPLACE FUNCTION _data_manager_admin.context_anywhere(context bigint)
RETURNS TABLE (context_id bigint, parent_id bigint, root_context_id bigint, task text, status text, version bigint, latest_event_id bigint)
LANGUAGE sql STABLE AS $$
  SELECT c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version, c.latest_event_id
    FROM _data_manager_admin.etl_context c WHERE c.context_id = context
  UNION ALL
  SELECT c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version, c.latest_event_id
    FROM _data_manager_admin.archived_context c WHERE c.context_id = context
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.events_anywhere(context bigint, upto bigint)
RETURNS TABLE (event_id bigint, type text, payload jsonb, meta jsonb, error boolean, version bigint, created_at timestamptz)
LANGUAGE sql STABLE AS $$
  SELECT e.event_id, e.type, e.payload, e.meta, e.error, e.version, e.created_at
    FROM _data_manager_admin.event_store_prototype e WHERE e.etl_context_id = context AND e.version <= upto
  UNION ALL
  SELECT e.event_id, e.type, e.payload, e.meta, e.error, e.version, e.created_at
    FROM _data_manager_admin.archived_event e WHERE e.etl_context_id = context AND e.version <= upto
$$;

-- unfinished_subtasks: the subtasks that a context had started up to a version, and had not seen done: which of its own they
-- are, and what version each had at a position of the log.
CREATE OR REPLACE FUNCTION _data_manager_admin.unfinished_subtasks(context bigint, upto bigint, place bigint)
RETURNS TABLE (context_id bigint, version bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH started AS (
    SELECT DISTINCT (i #>> '{}')::bigint AS id
      FROM _data_manager_admin.events_anywhere(context, upto) e,
           jsonb_array_elements(CASE WHEN jsonb_typeof(e.payload -> 'context_ids') = 'array' THEN e.payload -> 'context_ids' ELSE '[]' END) i
      WHERE right(e.type, 8) = ':SPAWNED' AND jsonb_typeof(i) = 'number' AND i #>> '{}' ~ '^[0-9]{1,18}$')
  SELECT c.context_id, greatest(1, (
           SELECT max(e.version) FROM _data_manager_admin.events_anywhere(c.context_id, c.version) e
             JOIN _data_manager_admin.event_log l ON l.event_id = e.event_id WHERE l.position <= place))
    FROM started s CROSS JOIN LATERAL _data_manager_admin.context_anywhere(s.id) c
    LEFT JOIN _data_manager_admin.event_log l ON l.event_id = c.latest_event_id
    WHERE c.parent_id = context AND NOT (c.status = 'DONE' AND coalesce(l.position <= place, FALSE))
$$;

-- fork_context: make a new context with the events of another one up to a version, and let it continue.
-- In:    source; upto: the last version that is shared; edits: other payloads, by version; meta: who does it;
--        is_before: the moment is not that of the last shared event, but the one before the next event of the source
-- Out:   each context that was made, the first one for the source itself: from which, and up to which version
-- Subtasks that were done at that moment are referred to; those that were not are forked with it, at the same moment.
-- Copied events say in meta.copied_from which they are copies of. What follows them is a RESUMED, whose payload says
-- where the context comes from: queue, attempts and deadlines begin with it as after `dama resume`.
-- Locks: the tree of the source, shared: nobody archives it meanwhile. It is read, and stays as it is
-- The moment is a position in the log: call sequence_log() first.
-- Raises: DM002 there is no source; DM006 it had ended, or has not come so far
CREATE OR REPLACE FUNCTION _data_manager_admin.fork_context(
  source bigint, upto bigint, edits jsonb, meta jsonb, is_before boolean DEFAULT FALSE)
RETURNS TABLE (context_id bigint, source_id bigint, version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  flag     text;
  origin   record;
  place    bigint;
  last     record;
  here     record;
  sources  bigint[];
  versions bigint[];
  parents  bigint[];
  ids      bigint[];
  ours     jsonb;  -- the new id of each source
  edited   bigint[] := ARRAY(SELECT k::bigint FROM jsonb_object_keys(edits) k ORDER BY 1);
BEGIN
  SELECT * INTO origin FROM _data_manager_admin.context_anywhere(source);
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM002', MESSAGE = format('There is no context %s.', source);
  END IF;
  PERFORM _data_manager_admin.share_tree(origin.root_context_id);
  SELECT e.event_id, e.type INTO last FROM _data_manager_admin.events_anywhere(source, upto) e WHERE e.version = upto;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006', MESSAGE = format('Context %s has %s events, and no event %s.', source, origin.version, upto);
  END IF;
  IF _data_manager_admin.status_after(last.type) = 'DONE' THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006', MESSAGE = format('Context %s has ended with this event, and nothing follows it. Fork it at an earlier one.', source);
  END IF;
  place := (SELECT l.position FROM _data_manager_admin.event_log l WHERE l.event_id = last.event_id);
  IF is_before THEN
    place := greatest(place, (
      SELECT l.position - 1 FROM _data_manager_admin.events_anywhere(source, upto + 1) e
        JOIN _data_manager_admin.event_log l ON l.event_id = e.event_id WHERE e.version = upto + 1));
  END IF;
  IF place IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006', MESSAGE = format('Event %s of context %s has no position in the log yet.', last.event_id, source),
      HINT = 'Call sequence_log() first, in a transaction of its own.';
  END IF;

  WITH RECURSIVE forked AS (
    SELECT source AS id, upto AS version, NULL::bigint AS parent
    UNION ALL
    SELECT u.context_id, u.version, f.id
      FROM forked f CROSS JOIN LATERAL _data_manager_admin.unfinished_subtasks(f.id, f.version, place) u)
  SELECT array_agg(f.id), array_agg(f.version), array_agg(f.parent) INTO sources, versions, parents FROM forked f;
  ids := ARRAY(SELECT nextval('_data_manager_admin.etl_context_context_id_seq') FROM unnest(sources));
  SELECT jsonb_object_agg(s.id, s.new) INTO ours FROM unnest(sources, ids) s (id, new);

  flag := set_config('dama.appending', 'by its rules', TRUE);
  FOR here IN SELECT * FROM unnest(sources, versions, ids) WITH ORDINALITY s (id, upto, new, place) ORDER BY s.place LOOP
    INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload, meta, error, version, created_at)
    SELECT here.new, e.type,
           CASE WHEN edited <> '{}' AND here.place = 1 AND e.version = ANY (edited) THEN edits -> (e.version::text)
                WHEN cardinality(ids) > 1 AND _data_manager_admin.ids_in(e.type, e.payload, e.meta) IS NOT NULL
                  THEN _data_manager_admin.with_ids(e.type, e.payload, ours)
                ELSE e.payload END,
           CASE coalesce(jsonb_typeof(e.meta), 'null')
             WHEN 'object' THEN CASE WHEN e.version = 1 THEN e.meta - 'start_key' ELSE e.meta END || jsonb_build_object('copied_from', e.event_id)
             WHEN 'null' THEN jsonb_build_object('copied_from', e.event_id)
             ELSE e.meta END,
           e.error, e.version, e.created_at
      FROM _data_manager_admin.events_anywhere(here.id, here.upto) e ORDER BY e.version;
  END LOOP;

  INSERT INTO _data_manager_admin.etl_context
    (context_id, parent_id, root_context_id, task, status, version, epoch, initial_event_id, latest_event_id)
  SELECT s.new, (ours ->> s.parent::text)::bigint, ids[1], c.task, _data_manager_admin.status_after(l.type), s.upto,
         coalesce((SELECT max(_data_manager_admin.number_in(e.meta, 'epoch', 1e18)::bigint)
                     FROM _data_manager_admin.event_store_prototype e
                     WHERE e.etl_context_id = s.new AND (right(e.type, 8) IN (':STARTED', ':ADOPTED') OR right(e.type, 5) = ':LOST')), 0),
         (SELECT e.event_id FROM _data_manager_admin.event_store_prototype e WHERE e.etl_context_id = s.new AND e.version = 1),
         l.event_id
    FROM unnest(sources, versions, parents, ids) WITH ORDINALITY s (id, upto, parent, new, place)
    CROSS JOIN LATERAL _data_manager_admin.context_anywhere(s.id) c
    JOIN _data_manager_admin.event_store_prototype l ON l.etl_context_id = s.new AND l.version = s.upto
    ORDER BY s.place;
  flag := set_config('dama.appending', '', TRUE);
  INSERT INTO _data_manager_admin.fork (context_id, source_id, event_id, version)
  SELECT s.new, s.id, (SELECT e.event_id FROM _data_manager_admin.events_anywhere(s.id, s.upto) e WHERE e.version = s.upto), s.upto
    FROM unnest(sources, versions, ids) s (id, upto, new);

  PERFORM _data_manager_admin.append_events((
    SELECT jsonb_agg(jsonb_build_object('context_id', c.context_id, 'event', jsonb_build_object(
             'type', coalesce(c.task, '') || ':RESUMED', 'meta', meta, 'payload', jsonb_build_object('forked_from',
               jsonb_build_object('context_id', f.source_id, 'event_id', f.event_id, 'version', f.version))
               || CASE WHEN f.source_id = source AND edits <> '{}' THEN jsonb_build_object('edited', to_jsonb(edited)) ELSE '{}' END)))
      FROM _data_manager_admin.etl_context c JOIN _data_manager_admin.fork f USING (context_id)
      WHERE c.context_id = ANY (ids)));
  PERFORM _data_manager_admin.queue_resumed(ids);
  RETURN QUERY SELECT s.new, s.id, s.upto FROM unnest(sources, versions, ids) WITH ORDINALITY s (id, upto, new, place) ORDER BY s.place;
END
$$;

COMMENT ON FUNCTION _data_manager_admin.fork_context IS
  'A new context with the events of another one up to a version, which continues from there. The other one stays as it is.';
