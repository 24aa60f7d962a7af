-- put_tap_state: where a tap continues, unless another run of it has loaded meanwhile.
-- In:    task text; key text; version bigint: that was read, 0 for none; state text: JSON; context_id bigint: who loads
-- Out:   version bigint: the new one; no row when the version is another by now
-- Locks: the row of the tap, to the end of the transaction
INSERT INTO _data_manager_admin.tap_state AS t (task, key, version, state, context_id)
  VALUES (%(task)s, %(key)s, %(version)s::bigint + 1, %(state)s, %(context_id)s)
  ON CONFLICT (task, key) DO UPDATE
    SET version = excluded.version, state = excluded.state, context_id = excluded.context_id,
        stored_at = clock_timestamp()
    WHERE t.version = excluded.version - 1
  RETURNING version
