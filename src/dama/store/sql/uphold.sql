-- uphold: what is due, late, orphaned or below a passed deadline is queued or ended, a batch of each.
-- In:    most int
-- Out:   how many runs
-- Locks: only what nobody else has locked
SELECT _data_manager_admin.uphold(%(most)s::int)
