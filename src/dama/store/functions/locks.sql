-- locks: what is locked, in one order everywhere; docs/concepts/locks.md has the whole of it.
--
--   0 archive   advisory: who archives shares it; a slice table is begun by who is alone with it
--   1 trees     advisory, by the root: who acts on a whole tree is alone with it, starts below it share it
--   2 contexts  rows of etl_context, in context_id order
--   3 keys      advisory, in the order of their numbers
--   4 queues    rows of queue_setting, by name; only claims lock them
--   5 workers   rows of worker
--   6 runs      rows of run_queue: one's own and those of parents together, in context_id order; claims, upkeep and
--               what a worker hands back skip locked ones

-- share_archive, lock_archive: nobody begins a slice table while trees are archived. Who archives looks, under the lock,
-- how far all subscriptions have come; who begins a table afterwards finds what was archived before in the archive.
CREATE OR REPLACE FUNCTION _data_manager_admin.share_archive() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT pg_advisory_xact_lock_shared(1635017576, 0) $$;

CREATE OR REPLACE FUNCTION _data_manager_admin.lock_archive() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT pg_advisory_xact_lock(1635017576, 0) $$;

-- lock_trees: alone with whole trees until the end of the transaction: no subtask is started in them
-- meanwhile, so what is listed now is all there is.
CREATE OR REPLACE FUNCTION _data_manager_admin.lock_trees(contexts bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  number int;
BEGIN
  FOR number IN
    SELECT DISTINCT hashint8(c.root_context_id) FROM _data_manager_admin.etl_context c
      WHERE c.context_id = ANY (contexts) ORDER BY 1
  LOOP
    PERFORM pg_advisory_xact_lock(1953653093, number);  -- "tree"
  END LOOP;
END
$$;

-- share_tree: nobody acts on the whole tree of a root until the end of the transaction.
CREATE OR REPLACE FUNCTION _data_manager_admin.share_tree(root bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_advisory_xact_lock_shared(1953653093, hashint8(root))
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.try_lock_tree(root bigint) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_try_advisory_xact_lock(1953653093, hashint8(root))
$$;

-- lock_keys: who admits runs of a key is alone with it until the end of the transaction. Who has more
-- than a few keys locks all there are: each advisory lock takes a place in the memory that all share.
-- A transaction calls it once.
CREATE OR REPLACE FUNCTION _data_manager_admin.lock_keys(keys text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  numbers bigint[] := _data_manager_admin.key_numbers(keys);
  number  bigint;
BEGIN
  IF cardinality(numbers) > 64 THEN
    PERFORM pg_advisory_xact_lock(1801812339, 0);  -- "keys"
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock_shared(1801812339, 0) WHERE numbers <> '{}';
  FOREACH number IN ARRAY numbers LOOP
    PERFORM pg_advisory_xact_lock(number);
  END LOOP;
END
$$;

-- try_lock_keys: those of some keys that nobody else has.
CREATE OR REPLACE FUNCTION _data_manager_admin.try_lock_keys(keys text[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  numbers bigint[] := _data_manager_admin.key_numbers(keys);
  number  bigint;
  locked  bigint[] := '{}';
BEGIN
  IF cardinality(numbers) > 64 THEN
    RETURN CASE WHEN pg_try_advisory_xact_lock(1801812339, 0) THEN keys ELSE '{}' END;
  END IF;
  IF numbers = '{}' OR NOT pg_try_advisory_xact_lock_shared(1801812339, 0) THEN
    RETURN '{}';
  END IF;
  FOREACH number IN ARRAY numbers LOOP
    IF pg_try_advisory_xact_lock(number) THEN
      locked := locked || number;
    END IF;
  END LOOP;
  RETURN ARRAY(SELECT k FROM unnest(keys) k WHERE hashtextextended(k, 1684106593) = ANY (locked));
END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.key_numbers(keys text[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY(SELECT DISTINCT hashtextextended(k, 1684106593) FROM unnest(keys) k
                 WHERE k IS NOT NULL ORDER BY 1)
$$;

-- lock_ends: those of some contexts whose end can be written now, for nobody else has locked what that
-- takes: the context, its key, its run, and the run of its parent, which is told.
CREATE OR REPLACE FUNCTION _data_manager_admin.lock_ends(contexts bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids    bigint[];
  keys   text[];
  runs   bigint[];
  above  bigint[];
BEGIN
  ids := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
                 WHERE c.context_id = ANY (contexts) AND c.status = 'OPEN'
                 ORDER BY 1 FOR NO KEY UPDATE SKIP LOCKED);
  keys := _data_manager_admin.try_lock_keys(ARRAY(
    SELECT DISTINCT q.limit_key FROM _data_manager_admin.run_queue q
      WHERE q.context_id = ANY (ids) AND q.limit_key IS NOT NULL));
  runs := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
    WHERE q.context_id = ANY (ids) AND (q.limit_key IS NULL OR q.limit_key = ANY (keys))
    ORDER BY 1 FOR UPDATE SKIP LOCKED);
  above := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
    WHERE q.context_id = ANY (ARRAY(
      SELECT DISTINCT c.parent_id FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (ids)))
    ORDER BY 1 FOR NO KEY UPDATE SKIP LOCKED);
  RETURN ARRAY(
    SELECT c.context_id FROM _data_manager_admin.etl_context c
      LEFT JOIN unnest(runs) own ON own = c.context_id
      WHERE c.context_id = ANY (ids)
        AND (own IS NOT NULL OR NOT EXISTS (
          SELECT FROM _data_manager_admin.run_queue q WHERE q.context_id = c.context_id))
        AND NOT EXISTS (SELECT FROM _data_manager_admin.run_queue q
                          WHERE q.context_id = c.parent_id AND q.context_id <> ALL (runs || above))
      ORDER BY 1);
END
$$;
