-- forget_requests: the counts of windows that are over go.
-- In:    nothing
-- Out:   nothing
-- Locks: these rows; SKIP LOCKED, so copies of the gateway do not wait for each other
DELETE FROM _data_manager_admin.request_count
  WHERE (client, ends) IN (
    SELECT client, ends FROM _data_manager_admin.request_count
      WHERE ends < clock_timestamp() ORDER BY ends LIMIT 1000 FOR UPDATE SKIP LOCKED)
