-- replacing: triggers and views are replaced only where they are not what they should be.
-- Both need a lock that waits for each open writer or reader of their table, and stops all that come after.
-- The server writes its own form of a definition, so it is compared with that of a probe that nobody uses.

-- replace_trigger: make a trigger what it should be.
-- In:    timing: as BEFORE INSERT; action: what follows the name of the table. One that is DEFERRABLE is a constraint
CREATE OR REPLACE FUNCTION _data_manager_admin.replace_trigger(name text, relation text, timing text, action text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted  text;
  kind    text := CASE WHEN action LIKE 'DEFERRABLE %' THEN 'CONSTRAINT TRIGGER' ELSE 'TRIGGER' END;
BEGIN
  EXECUTE format('CREATE TABLE _data_manager_admin.trigger_probe (LIKE _data_manager_admin.%I)', relation);
  EXECUTE format('CREATE %s %I %s ON _data_manager_admin.trigger_probe %s', kind, name, timing, action);
  SELECT replace(pg_get_triggerdef(t.oid), '_data_manager_admin.trigger_probe', format('_data_manager_admin.%I', relation)) INTO wanted
    FROM pg_trigger t WHERE t.tgrelid = to_regclass('_data_manager_admin.trigger_probe') AND t.tgname = name;
  DROP TABLE _data_manager_admin.trigger_probe;
  IF NOT EXISTS (SELECT FROM pg_trigger t
                   WHERE t.tgrelid = to_regclass(format('_data_manager_admin.%I', relation)) AND t.tgname = name
                     AND t.tgenabled = 'O' AND pg_get_triggerdef(t.oid) = wanted) THEN
    IF kind = 'CONSTRAINT TRIGGER' THEN  -- there is no OR REPLACE for it
      EXECUTE format('DROP TRIGGER IF EXISTS %I ON _data_manager_admin.%I', name, relation);
    ELSE
      kind := 'OR REPLACE TRIGGER';
    END IF;
    EXECUTE format('CREATE %s %I %s ON _data_manager_admin.%I %s', kind, name, timing, relation, action);
  END IF;
END
$$;

-- replace_view: make a view what it should be.
CREATE OR REPLACE FUNCTION _data_manager_admin.replace_view(name text, comment text, query text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted  text;
  view    regclass := to_regclass(format('_data_manager_admin.%I', name));
BEGIN
  EXECUTE 'CREATE VIEW _data_manager_admin.view_probe AS ' || query;
  wanted := pg_get_viewdef(to_regclass('_data_manager_admin.view_probe'));
  DROP VIEW _data_manager_admin.view_probe;
  IF view IS NULL OR pg_get_viewdef(view) <> wanted THEN
    EXECUTE format('CREATE OR REPLACE VIEW _data_manager_admin.%I AS %s', name, query);
  END IF;
  IF obj_description(to_regclass(format('_data_manager_admin.%I', name)), 'pg_class') IS DISTINCT FROM comment THEN
    EXECUTE format('COMMENT ON VIEW _data_manager_admin.%I IS %L', name, comment);
  END IF;
END
$$;
