-- drop_subscription: forget how far a subscription is, and what it has parked.
-- In:    name text; act text: the event of the act as JSON, or NULL
-- Out:   one row: said (dropped, unknown, slice: it keeps one, read: a session of its program is open),
--        position (of the lane most behind), parked (contexts)
-- Locks: its lanes: who handles a batch of one is waited for
WITH dropped AS MATERIALIZED (SELECT * FROM _data_manager_admin.drop_subscription(%(name)s::text))
SELECT d.said, d.last_position, d.parked,
       CASE WHEN d.said = 'dropped' THEN _data_manager_admin.keep_act(%(act)s::text::jsonb) END
  FROM dropped d
