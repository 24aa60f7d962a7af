-- forget_exported: remove an archived tree that stands in a file.
-- In:    root bigint; contexts, events bigint: how many the file has
-- Out:   whether it was removed
-- Locks: the tree, if nobody has it; the archived rows
SELECT _data_manager_admin.forget_exported(%(root)s::bigint, %(contexts)s::bigint, %(events)s::bigint)
