-- archive_trees: move some closed trees to the archive; see functions/archive.sql.
-- In:    age interval; failed boolean; after bigint; demand int
-- Out:   contexts, events that were moved; last: after which to continue, NULL at the end
-- Locks: the rows of the contexts
SELECT contexts, events, last
  FROM _data_manager_admin.archive_trees(
    %(age)s::interval, %(failed)s::boolean, %(after)s::bigint, %(demand)s::int)
