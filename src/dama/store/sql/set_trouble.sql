-- set_trouble: what fails in the background of a worker at the moment.
-- In:    worker_id bigint; trouble text, or NULL: it is well
-- Out:   nothing
-- Locks: the worker's row
UPDATE _data_manager_admin.worker SET trouble = %(trouble)s::text WHERE worker_id = %(worker_id)s::bigint
