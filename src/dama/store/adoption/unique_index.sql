-- unique_index: unique ids, for a table that was made without.
-- In:    :name, :table, :column
-- Locks: none that a writer meets
CREATE UNIQUE INDEX CONCURRENTLY :name ON _data_manager_admin.:table (:column)
