-- list_slice_builds: the slices that are kept as tables.
-- In:    nothing
-- Out:   slice, slice_version, state, build, rows (10,000 stand for so many or more), subscription,
--        position (of its subscription), parked, modified_at (when it last moved)
-- Locks: none
SELECT b.slice, b.slice_version, b.state, b.build,
       (SELECT count(*) FROM (
          SELECT FROM _data_manager_admin.slice_row r WHERE r.build = b.build ORDER BY r.context_id LIMIT 10000) r),
       t.name, t.position,
       (SELECT count(*) FROM (
          SELECT FROM _data_manager_admin.subscription_parked p WHERE p.name >= t.name AND p.name <= t.name
            ORDER BY p.name, p.context_id LIMIT 10000) p),
       t.modified_at
  FROM _data_manager_admin.slice_build b
  JOIN _data_manager_admin.subscription_lane t ON t.name = _data_manager_admin.slice_subscription(b.slice, b.build)
  WHERE b.state <> 'dropped' ORDER BY b.slice, b.state DESC
