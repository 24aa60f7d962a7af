-- keep_act: what somebody did, as an event of the context of this year, in the transaction of the act itself.
-- In:    event: a Flux Standard Action, whose meta says who and why; with NULL nothing is kept
-- Out:   the context
-- Locks: the row of the year; the row of the context
-- Each year has a context of its own, without a task: the last one ends when the first act of a year comes, so
-- that it can be archived. One that somebody ended is followed by another: no act is refused for it.
CREATE OR REPLACE FUNCTION _data_manager_admin.keep_act(event jsonb) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this   constant int := extract(year FROM clock_timestamp() AT TIME ZONE 'UTC');
  found  bigint;
  batch  jsonb := '[]';
BEGIN
  INSERT INTO _data_manager_admin.act_context VALUES (this, 0) ON CONFLICT DO NOTHING;
  SELECT c.context_id INTO found
    FROM (SELECT a.context_id FROM _data_manager_admin.act_context a WHERE a.year = this FOR UPDATE) a
    JOIN _data_manager_admin.etl_context c ON c.context_id = a.context_id AND c.status = 'OPEN';
  IF found IS NULL THEN
    INSERT INTO _data_manager_admin.etl_context (parent_id) VALUES (NULL) RETURNING context_id INTO found;
    UPDATE _data_manager_admin.act_context SET context_id = found WHERE year = this;
    batch := (
      SELECT coalesce(jsonb_agg(jsonb_build_object('context_id', c.context_id, 'event', jsonb_build_object('type', 'dama.acts:FINAL'))), '[]')
        FROM _data_manager_admin.act_context a JOIN _data_manager_admin.etl_context c USING (context_id)
        WHERE a.year < this AND c.status = 'OPEN')
      || jsonb_build_object('context_id', found, 'event',
           jsonb_build_object('type', 'dama.acts:INITIAL', 'payload', jsonb_build_object('year', this)));
  END IF;
  PERFORM _data_manager_admin.append_events(batch || jsonb_build_object('context_id', found, 'event', event));
  RETURN found;
END
$$;
