-- 0017: roles that were given rights keep them when functions are replaced; the log forgets what is forgotten.

CREATE TABLE _data_manager_admin.granted_role (
  role    name NOT NULL,
  access  text NOT NULL CHECK (access IN ('reader', 'writer', 'worker')),
  PRIMARY KEY (role, access)
);

COMMENT ON TABLE _data_manager_admin.granted_role IS
  'Roles for which the statements of `dama db grants` were executed; a migration executes them again.';

-- Positions of events that forget_trees() removed before it removed these too.
SELECT set_config('dama.rewrite_history', 'on', TRUE);
DELETE FROM _data_manager_admin.event_log l
  WHERE NOT EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.event_id = l.event_id)
    AND NOT EXISTS (SELECT FROM _data_manager_admin.archived_event a WHERE a.event_id = l.event_id);
SELECT set_config('dama.rewrite_history', '', TRUE);
