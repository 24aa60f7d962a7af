-- archive_trees: move some closed trees to the archive; see functions/archive.sql.
-- In:    age interval; failed boolean; demand int
-- Out:   trees, contexts, events that were moved
-- Locks: the rows of the contexts
SELECT trees, contexts, events
  FROM _data_manager_admin.archive_trees(%(age)s::interval, %(failed)s::boolean, %(demand)s::int)
