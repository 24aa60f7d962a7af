-- references: contexts refer to their parents as in a new installation, and a deleted row takes no other away. Events refer
-- to nothing: the guards look the context up under its lock.
-- Locks: ACCESS EXCLUSIVE on both tables, for some milliseconds
DO $do$
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', f.conrelid::regclass, f.conname) FROM pg_constraint f
      WHERE f.contype = 'f' AND f.confrelid = '_data_manager_admin.etl_context'::regclass
        AND (f.conrelid = '_data_manager_admin.event_store_prototype'::regclass
             OR f.conrelid = '_data_manager_admin.etl_context'::regclass AND f.confdeltype <> 'a')
    UNION ALL
    SELECT format('ALTER TABLE _data_manager_admin.%I ADD PRIMARY KEY USING INDEX %I', c.relname, c.relname || '_pkey') FROM pg_class c
      WHERE c.oid IN ('_data_manager_admin.etl_context'::regclass, '_data_manager_admin.event_store_prototype'::regclass)
        AND to_regclass(format('_data_manager_admin.%I', c.relname || '_pkey')) IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p')
    UNION ALL
    SELECT format('ALTER TABLE _data_manager_admin.%I ALTER COLUMN %I SET DEFAULT nextval(%L)', t.name, t.id, format('_data_manager_admin.%I', t.name || '_' || t.id || '_seq'))
      FROM (VALUES ('etl_context', 'context_id'), ('event_store_prototype', 'event_id')) t (name, id)
      JOIN pg_attribute a ON a.attrelid = to_regclass('_data_manager_admin.' || t.name) AND a.attname = t.id
      WHERE NOT a.atthasdef AND a.attidentity = ''
  LOOP
    EXECUTE command;
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = '_data_manager_admin.etl_context'::regclass
                   AND f.confrelid = f.conrelid) THEN
    ALTER TABLE _data_manager_admin.etl_context ADD CONSTRAINT etl_context_parent_id_fkey
      FOREIGN KEY (parent_id) REFERENCES _data_manager_admin.etl_context (context_id) NOT VALID;
  END IF;
  ALTER TABLE _data_manager_admin.etl_context RESET (autovacuum_enabled);
  ALTER TABLE _data_manager_admin.event_store_prototype RESET (autovacuum_enabled);
END
$do$
