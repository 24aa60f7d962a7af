-- preflight: whether this database can have the schema, before anything is changed in it.
-- Raises: DM011 what is in the way
DO $do$
DECLARE
  owner name;
  become text := '';  -- for a role that inherits nothing of the one that may
  earlier text;
BEGIN
  IF current_setting('server_version_num')::int < 140000 THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('PostgreSQL %s is too old: dama needs 14 or newer.', current_setting('server_version')),
      HINT = 'Upgrade the server with pg_upgrade, or name another one.';
  END IF;
  -- Both generations of the first system; by the catalog, since to_regclass() wants rights to the schema.
  SELECT string_agg(CASE n.nspname WHEN 'data_manager' THEN 'data_manager.' ELSE '' END || c.relname, ', ' ORDER BY n.nspname, c.relname)
    INTO earlier
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND (n.nspname = '_data_manager_admin' AND c.relname IN ('etl_context', 'event_store_prototype')
           OR n.nspname = 'data_manager' AND c.relname IN ('etl_contexts', 'event_store')
              AND coalesce(current_setting('dama.adopting', TRUE), '') <> 'later')  -- set where they are copied
      AND NOT EXISTS (SELECT FROM pg_class m WHERE m.relname = 'schema_migration' AND m.relnamespace = to_regnamespace('_data_manager_admin'));
  IF earlier IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('The database %I has the tables of the first system: %s. Nothing was changed.', current_database(), earlier),
      HINT = 'See what is in them with: dama db adopt --dry-run. Then take them in: dama db adopt';
  END IF;
  -- Who owns the schema; before there is one, the database.
  SELECT format(' Or begin each session as %I, of which %I is a member: ALTER ROLE %2$I IN DATABASE %3$I SET role = %4$L.',
                r.rolname, current_user, current_database(), r.rolname) INTO become
    FROM pg_database d LEFT JOIN pg_namespace n ON n.nspname = '_data_manager_admin'
    JOIN pg_roles r ON r.oid = coalesce(n.nspowner, d.datdba)
    WHERE d.datname = current_database() AND pg_has_role(r.oid, 'MEMBER') AND NOT pg_has_role(r.oid, 'USAGE');
  become := coalesce(become, '');
  IF to_regnamespace('_data_manager_admin') IS NULL THEN
    IF NOT has_database_privilege(current_database(), 'CREATE') THEN
      RAISE EXCEPTION USING ERRCODE = 'DM011',
        MESSAGE = format('The role %I may not create the schema _data_manager_admin in the database %I.', current_user, current_database()),
        HINT = format('Let its owner execute GRANT CREATE ON DATABASE %I TO %I, or CREATE SCHEMA _data_manager_admin AUTHORIZATION %2$I.', current_database(), current_user) || become;
    END IF;
    CREATE SCHEMA _data_manager_admin;
    RETURN;
  END IF;
  IF NOT (has_schema_privilege('_data_manager_admin', 'USAGE') AND has_schema_privilege('_data_manager_admin', 'CREATE')) THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('The role %I may not create tables in the schema _data_manager_admin.', current_user),
      HINT = format('Migrate as the owner of the schema, or let it execute GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO %I.', current_user) || become;
  END IF;
  SELECT pg_get_userbyid(c.relowner) INTO owner FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('_data_manager_admin')
      AND c.relname IN ('etl_context', 'event_store_prototype', 'schema_migration')
      AND NOT pg_has_role(c.relowner, 'USAGE') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM011',
      MESSAGE = format('The tables of the schema _data_manager_admin belong to %I, and %I may not change them.', owner, current_user),
      HINT = format('Migrate as %I, or let a superuser execute GRANT %1$I TO %I.', owner, current_user) || become;
  END IF;
END
$do$;
