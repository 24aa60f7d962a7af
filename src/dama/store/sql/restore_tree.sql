-- restore_tree: bring the tree of an archived context back.
-- In:    context_id bigint
-- Out:   how many contexts came back
-- Locks: the archived rows
SELECT _data_manager_admin.restore_tree(%(context_id)s::bigint)
