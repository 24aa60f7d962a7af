-- count_closed_trees: how many of the next 20,000 trees could be archived.
-- In:    age interval; failed boolean; after bigint: behind this context
-- Out:   one number; last: after which to look on, NULL at the end
-- Locks: none
SELECT count(*), _data_manager_admin.roots_behind(%(after)s::bigint)
  FROM _data_manager_admin.closed_trees(%(age)s::interval, %(failed)s::boolean, %(after)s::bigint, NULL)
