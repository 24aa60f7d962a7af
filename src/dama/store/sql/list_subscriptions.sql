-- list_subscriptions: how far the subscriptions are.
-- In:    nothing
-- Out:   name, lanes, position (of the lane most behind), parked (contexts), modified_at
-- Locks: none
SELECT s.name, s.lanes, min(t.position),
       (SELECT count(*) FROM (
          SELECT FROM _data_manager_admin.subscription_parked p WHERE p.name >= s.name AND p.name <= s.name
            ORDER BY p.name, p.context_id LIMIT 10000) p),
       max(t.modified_at)
  FROM _data_manager_admin.subscription s
  JOIN _data_manager_admin.subscription_lane t ON t.name = s.name
  GROUP BY s.name, s.lanes ORDER BY s.name
