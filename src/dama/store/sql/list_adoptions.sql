-- list_adoptions: how far the adoptions of the tables of the first system have come.
-- In:    nothing
-- Out:   generation ('first' or 'later'), begun_at, step (the last that is done, or NULL), position (of the next one), ended_at (or NULL),
--        audit text (JSON: what was found before), at most one row a generation
-- Locks: none
SELECT generation, begun_at, step, position, ended_at, audit::text
  FROM _data_manager_admin.adoption ORDER BY begun_at
