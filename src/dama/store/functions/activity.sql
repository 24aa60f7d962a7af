-- four_minutes: the beginning of the four minutes that a moment is in, by the epoch.
CREATE OR REPLACE FUNCTION _data_manager_admin.four_minutes(moment timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT to_timestamp(240 * floor(extract(epoch FROM moment) / 240))
$$;

-- note_activity: count what the log has since the last call, and look at the queues.
-- In:    most int: so many positions of the log
-- Out:   how many were read; none while another session does so. The first call only notes where the log ends
-- Locks: a transaction-level advisory lock, tried and never waited for
CREATE OR REPLACE FUNCTION _data_manager_admin.note_activity(most int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
DECLARE
  head bigint;
  here bigint;
  upto bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(1684106593, 4) THEN  -- "dama", the activity
    RETURN 0;
  END IF;
  SELECT s.position INTO head FROM _data_manager_admin.event_log_state s ORDER BY s.position DESC LIMIT 1;
  SELECT s.position INTO here FROM _data_manager_admin.activity_state s ORDER BY s.position DESC LIMIT 1;
  upto := least(head, here + most);
  IF here < head THEN
    INSERT INTO _data_manager_admin.activity_count AS m (at, outcome, bucket, count)
    SELECT _data_manager_admin.four_minutes(n.created_at), n.outcome, n.bucket, count(*)
      FROM (
        SELECT e.created_at,
               CASE k.kind WHEN 'INITIAL' THEN 'started' WHEN 'FINAL' THEN 'done' ELSE lower(k.kind) END AS outcome,
               CASE WHEN k.kind = 'INITIAL' OR c.context_id IS NULL THEN -1
                    ELSE ceil(4 * log(2, greatest(1000 * extract(epoch FROM e.created_at - c.created_at), 1)::numeric)) END AS bucket
          FROM _data_manager_admin.event_log l
          JOIN _data_manager_admin.event_store_prototype e ON e.event_id = l.event_id
          LEFT JOIN _data_manager_admin.etl_context c ON c.context_id = e.etl_context_id
          CROSS JOIN LATERAL (SELECT _data_manager_admin.event_kind(e.type)) k (kind)
          WHERE l.position > here AND l.position <= upto
            AND k.kind IN ('INITIAL', 'FINAL', 'ERROR', 'CANCELLED') AND e.type NOT LIKE 'dama.acts:%') n
      GROUP BY 1, 2, 3
    ON CONFLICT (at, outcome, bucket) DO UPDATE SET count = m.count + excluded.count;
    DELETE FROM _data_manager_admin.activity_count WHERE at < now() - interval '8 days';
  END IF;
  IF here IS DISTINCT FROM coalesce(upto, head) THEN  -- also after a restore, with a shorter log
    DELETE FROM _data_manager_admin.activity_state;
    INSERT INTO _data_manager_admin.activity_state VALUES (coalesce(upto, head));
  END IF;
  INSERT INTO _data_manager_admin.queue_sample AS s (at, queue, queued, running, age)
  SELECT _data_manager_admin.four_minutes(clock_timestamp()), q.queue, q.queued, q.running,
         coalesce(extract(epoch FROM clock_timestamp() - q.oldest), 0)
    FROM _data_manager_admin.list_queues('', 100) q
    ON CONFLICT (at, queue) DO UPDATE
      SET queued = greatest(s.queued, excluded.queued), running = greatest(s.running, excluded.running),
          age = greatest(s.age, excluded.age);
  DELETE FROM _data_manager_admin.queue_sample WHERE at < now() - interval '8 days';
  RETURN greatest(upto - here, 0);
END
$$;
