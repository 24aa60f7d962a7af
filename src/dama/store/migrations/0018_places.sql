-- 0018: a place is more than the name of a host.

ALTER TABLE _data_manager_admin.worker ADD COLUMN place text, ADD COLUMN pid_namespace text;

COMMENT ON COLUMN _data_manager_admin.worker.place IS
  'Host, machine, user and DAMA_HOME: who may bury the worker and adopt its programs. NULL, from an older worker: its host.';
COMMENT ON COLUMN _data_manager_admin.worker.pid_namespace IS
  'Where its pid means something: whoever is in another one cannot see it, which is no sign of its death.';
COMMENT ON COLUMN _data_manager_admin.run_queue.host IS
  'The place (see worker.place) where a program of the run was started and may still run; NULL when there is none.';
