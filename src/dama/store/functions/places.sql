-- places: how many runs of a limited queue may be started. Who claims from one has locked it, so nobody else counts.

-- lock_queues: those of some queues that are limited, so that their claims come one after the other.
-- Out:   limited queues that somebody keeps locked: nothing is claimed from them now
-- In the order of their names, whatever that of the worker is, or two workers would wait for each other.
CREATE OR REPLACE FUNCTION _data_manager_admin.lock_queues(names text[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  limited  text[];
  locked   text[];
BEGIN
  limited := ARRAY(SELECT s.queue FROM _data_manager_admin.queue_setting s
                     WHERE s.queue = ANY (names) AND (s.concurrency IS NOT NULL OR s.rate IS NOT NULL));
  IF limited = '{}' THEN
    RETURN '{}';
  END IF;
  BEGIN
    PERFORM FROM _data_manager_admin.queue_setting s
      WHERE s.queue = ANY (limited) ORDER BY s.queue FOR NO KEY UPDATE;
    RETURN '{}';
  EXCEPTION WHEN lock_not_available THEN
    -- Somebody's open transaction has one of them: the others are still worth a claim.
    locked := ARRAY(SELECT s.queue FROM _data_manager_admin.queue_setting s
                      WHERE s.queue = ANY (limited) ORDER BY s.queue FOR NO KEY UPDATE SKIP LOCKED);
    RETURN ARRAY(SELECT l FROM unnest(limited) l WHERE l <> ALL (locked));
  END;
END
$$;

-- latest_allowance: what was noted last of a queue, if anything was.
CREATE OR REPLACE FUNCTION _data_manager_admin.latest_allowance(name text) RETURNS SETOF _data_manager_admin.queue_allowance
LANGUAGE sql VOLATILE ROWS 1 SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
  SELECT * FROM _data_manager_admin.queue_allowance l
    WHERE l.queue = name ORDER BY l.queue DESC, l.slot DESC LIMIT 1
$$;

-- allowance: how many starts the rate of a queue allows now; at most those of a second.
CREATE OR REPLACE FUNCTION _data_manager_admin.allowance(name text, rate double precision)
RETURNS double precision
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT least(greatest(rate, 1), coalesce(a.allowance, s.allowance)
           + rate * greatest(extract(epoch FROM clock_timestamp() - coalesce(a.allowed_at, s.allowed_at)), 0)::double precision)
    FROM _data_manager_admin.queue_setting s
    LEFT JOIN LATERAL _data_manager_admin.latest_allowance(name) a ON TRUE
    WHERE s.queue = name
$$;

-- allowed_starts: how many runs of a queue may be started now, by its settings.
-- In:    a queue that lock_queues() has locked
-- Out:   allowed; holders: those that have a place, where that took long to find out, for note_starts(); is_fresh:
--        they were looked for now; known_until: how long they are good
-- What has ended leaves entries in the index for as long as any transaction of the database is older. So a count that
-- met many of them is good for twenty times as long: meanwhile each of those that it found, and of those claimed since,
-- is looked up by itself. One with a program may be taken over by its own place at any time: it stays among them.
CREATE OR REPLACE FUNCTION _data_manager_admin.allowed_starts(
  name text, demand int, OUT allowed int, OUT holders bigint[], OUT is_fresh boolean, OUT known_until timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  setting  record;
  noted    record;
  held     int;
  began    timestamptz;
BEGIN
  allowed := demand;
  is_fresh := FALSE;
  SELECT s.paused, s.concurrency, s.rate, s.xmin::text AS version INTO setting
    FROM _data_manager_admin.queue_setting s WHERE s.queue = name;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF setting.paused THEN
    allowed := 0;
    RETURN;
  END IF;
  IF setting.concurrency IS NOT NULL THEN
    began := clock_timestamp();
    SELECT l.holders, l.known_until INTO noted FROM _data_manager_admin.latest_allowance(name) l
      WHERE l.setting = setting.version AND l.known_until > began;
    IF FOUND THEN
      SELECT count(*) FILTER (WHERE q.state IN ('running', 'placed')), coalesce(array_agg(q.context_id), '{}') INTO held, holders
        FROM unnest(noted.holders) h (id) CROSS JOIN LATERAL (
          SELECT r.context_id, r.state FROM _data_manager_admin.run_queue r
            WHERE r.context_id = h.id AND r.queue = name AND (r.state IN ('running', 'placed') OR r.host IS NOT NULL) OFFSET 0) q;
      known_until := noted.known_until;
    ELSE
      held := (SELECT count(*) FROM _data_manager_admin.run_queue q WHERE q.queue = name AND q.state = 'running')
            + (SELECT count(*) FROM _data_manager_admin.run_queue q
                 WHERE q.queue = name AND q.state = 'placed' AND q.state NOT IN ('queued', 'running'));
      IF clock_timestamp() - began > interval '3 milliseconds' AND held <= 1000 THEN
        holders := ARRAY(
          SELECT q.context_id FROM _data_manager_admin.run_queue q WHERE q.queue = name AND q.state = 'running'
          UNION
          SELECT q.context_id FROM _data_manager_admin.run_queue q
            WHERE q.queue = name AND q.state = 'placed' AND q.state NOT IN ('queued', 'running')
          UNION
          SELECT q.context_id FROM _data_manager_admin.run_queue q WHERE q.queue = name AND q.host IS NOT NULL);
        is_fresh := TRUE;
        known_until := clock_timestamp() + 20 * (clock_timestamp() - began);
      END IF;
    END IF;
    allowed := least(allowed, setting.concurrency - held);
  END IF;
  IF setting.rate IS NOT NULL THEN
    allowed := least(allowed, floor(_data_manager_admin.allowance(name, setting.rate)));
  END IF;
  allowed := greatest(allowed, 0);
END
$$;

-- note_starts: so many runs of a limited queue were started; who has a place now, where that was looked for.
-- In:    a queue that lock_queues() has locked
CREATE OR REPLACE FUNCTION _data_manager_admin.note_starts(name text, started int, holders bigint[], known_until timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_variable
DECLARE
  setting  record;
  noted    record;
  here     bigint := floor(extract(epoch FROM clock_timestamp()) * 10);
  is_free  boolean;
BEGIN
  SELECT s.rate, s.allowance, s.allowed_at, s.xmin::text AS version INTO setting
    FROM _data_manager_admin.queue_setting s WHERE s.queue = name;
  IF NOT FOUND OR (setting.rate IS NULL AND holders IS NULL) THEN
    RETURN;
  END IF;
  SELECT l.slot, l.allowance, l.allowed_at INTO noted FROM _data_manager_admin.latest_allowance(name) l;
  -- Somebody may have locked it by hand, and no claim waits for that: another row follows it.
  PERFORM FROM _data_manager_admin.queue_allowance l WHERE l.queue = name AND l.slot = noted.slot FOR UPDATE SKIP LOCKED;
  is_free := FOUND;
  IF NOT is_free THEN
    here := greatest(here, noted.slot + 1);
  END IF;
  INSERT INTO _data_manager_admin.queue_allowance AS l (queue, slot, allowance, allowed_at, holders, known_until, setting)
    SELECT name, greatest(here, noted.slot),
           CASE WHEN setting.rate IS NULL THEN coalesce(noted.allowance, setting.allowance)
                ELSE _data_manager_admin.allowance(name, setting.rate) - started END,
           CASE WHEN setting.rate IS NULL THEN coalesce(noted.allowed_at, setting.allowed_at) ELSE clock_timestamp() END,
           holders, known_until, setting.version
    ON CONFLICT ON CONSTRAINT queue_allowance_pkey DO UPDATE SET
      allowance = excluded.allowance, allowed_at = excluded.allowed_at,
      holders = excluded.holders, known_until = excluded.known_until, setting = excluded.setting;
  DELETE FROM _data_manager_admin.queue_allowance l WHERE is_free AND l.queue = name AND l.slot = noted.slot AND noted.slot < here;
END
$$;
