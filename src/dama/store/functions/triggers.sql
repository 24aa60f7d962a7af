-- triggers: the guards at their tables. The last of all files: each needs a lock of its table for as long as the
-- transaction lasts.

SELECT _data_manager_admin.replace_trigger('context_place', 'etl_context', 'BEFORE INSERT',
  'FOR EACH ROW WHEN (NEW.root_context_id IS NULL) EXECUTE FUNCTION _data_manager_admin.place_context()');

SELECT _data_manager_admin.replace_trigger('event_history_is_immutable', 'event_store_prototype', 'BEFORE UPDATE OR DELETE OR TRUNCATE',
  'FOR EACH STATEMENT EXECUTE FUNCTION _data_manager_admin.refuse_rewriting()');

SELECT _data_manager_admin.replace_trigger('contexts_are_kept', 'etl_context', 'BEFORE DELETE OR TRUNCATE OR UPDATE OF context_id, parent_id, root_context_id',
  'FOR EACH STATEMENT EXECUTE FUNCTION _data_manager_admin.refuse_rewriting()');

SELECT _data_manager_admin.replace_trigger('positions_are_kept', 'event_log', 'BEFORE UPDATE OR DELETE OR TRUNCATE',
  'FOR EACH STATEMENT EXECUTE FUNCTION _data_manager_admin.refuse_rewriting()');

-- The triggers that let the functions pass name the owner as it is now: a WHEN cannot look it up. When
-- the owner is another one later, `dama db migrate` says so, and makes them again.
DO $do$
DECLARE
  owner     name := (SELECT pg_get_userbyid(c.relowner) FROM pg_class c
                       WHERE c.oid = '_data_manager_admin.event_store_prototype'::regclass);
  -- Short: each statement that inserts a row reads it from the catalog, for each trigger.
  other     text := format($$(current_user <> %L
    OR current_setting('dama.appending', TRUE) IS DISTINCT FROM 'by its rules')$$, owner);
  writing   text := format($$(current_user <> %L
    OR (current_setting('dama.appending', TRUE) IS DISTINCT FROM 'by its rules'
        AND current_setting('dama.rewrite_history', TRUE) IS DISTINCT FROM 'on'))$$, owner);
BEGIN
  PERFORM _data_manager_admin.replace_trigger(t.name, t.relation, t.timing,
      format('%sFOR EACH %s WHEN (%s) EXECUTE FUNCTION _data_manager_admin.%s()',
             CASE t.function WHEN 'join_tree' THEN 'DEFERRABLE INITIALLY DEFERRED ' END, t.each, t.condition, t.function))
    FROM (VALUES
      ('event_admission', 'event_store_prototype', 'BEFORE INSERT', 'ROW', writing, 'admit_event'),
      ('event_effects', 'event_store_prototype', 'AFTER INSERT', 'ROW', writing, 'follow_event'),
      ('context_admission', 'etl_context', 'BEFORE INSERT', 'ROW', writing, 'admit_context'),
      ('subtasks_join_their_tree', 'etl_context', 'AFTER INSERT', 'ROW', writing, 'join_tree'),
      -- What a context is follows from its events; these columns are no column of an old program.
      ('contexts_follow_their_events', 'etl_context',
       'BEFORE UPDATE OF status, version, epoch, initial_event_id, latest_event_id, task, idempotency_key, created_at',
       'STATEMENT', other, 'refuse_rewriting')) t (name, relation, timing, each, condition, function);
END
$do$;
