-- drop_slice: keep a slice no longer.
-- In:    slice text
--        act text: the event of the act as JSON, or NULL
-- Out:   one row, unless it was not kept
-- Locks: the lanes of its subscriptions
WITH dropped AS MATERIALIZED (SELECT _data_manager_admin.drop_slice(%(slice)s::text) AS builds)
SELECT d.builds, _data_manager_admin.keep_act(%(act)s::text::jsonb) FROM dropped d WHERE d.builds > 0
