-- preflight: whether this database can have the schema, before anything is changed in it.
-- Raises: DM011 what is in the way
DO $do$
DECLARE
  owner name;
BEGIN
  IF current_setting('server_version_num')::int < 140000 THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('PostgreSQL %s is too old: dama needs 14 or newer.', current_setting('server_version')),
      HINT = 'Upgrade the server with pg_upgrade, or name another one.';
  END IF;
  IF to_regnamespace('_data_manager_admin') IS NULL THEN
    IF NOT has_database_privilege(current_database(), 'CREATE') THEN
      RAISE EXCEPTION USING ERRCODE = 'DM011',
        MESSAGE = format('The role %I may not create the schema _data_manager_admin in the database %I.', current_user, current_database()),
        HINT = format('Let its owner execute GRANT CREATE ON DATABASE %I TO %I, or CREATE SCHEMA _data_manager_admin AUTHORIZATION %2$I.', current_database(), current_user);
    END IF;
    CREATE SCHEMA _data_manager_admin;
    RETURN;
  END IF;
  IF NOT (has_schema_privilege('_data_manager_admin', 'USAGE') AND has_schema_privilege('_data_manager_admin', 'CREATE')) THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('The role %I may not create tables in the schema _data_manager_admin.', current_user),
      HINT = format('Migrate as the owner of the schema, or let it execute GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO %I.', current_user);
  END IF;
  SELECT pg_get_userbyid(c.relowner) INTO owner FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('_data_manager_admin')
      AND c.relname IN ('etl_context', 'event_store_prototype', 'schema_migration')
      AND NOT pg_has_role(c.relowner, 'USAGE') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('The tables of the schema _data_manager_admin belong to %I, and %I may not change them.', owner, current_user),
      HINT = format('Migrate as %I, or let a superuser execute GRANT %1$I TO %I.', owner, current_user);
  END IF;
  IF to_regclass('_data_manager_admin.schema_migration') IS NULL
     AND coalesce(to_regclass('_data_manager_admin.etl_context'), to_regclass('_data_manager_admin.event_store_prototype')) IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('The database %I has the tables of the first system: %s. Nothing was changed.', current_database(), (
        SELECT string_agg(format('%I', c.relname), ', ' ORDER BY c.relname) FROM pg_class c
          WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relkind IN ('r', 'p'))),
      HINT = 'This version cannot adopt them yet. Migrate another database, and leave this one to its programs.';
  END IF;
END
$do$;
