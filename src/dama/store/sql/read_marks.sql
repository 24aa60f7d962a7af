-- read_marks: what the runs of contexts went through: the kinds and times of their latest events, no payloads.
-- In:    context_ids bigint[]; versions int[]: of each, no later event counts; most int: so many events of each are looked at
-- Out:   context_id, version, type, created_at, epoch, worker, dama (the version of dama), usage (JSON text, of the program
--        that ended there); in the order of contexts and versions
-- Locks: none
SELECT c.context_id, e.version, e.type, e.created_at, e.meta ->> 'epoch', e.meta ->> 'worker', e.meta ->> 'version',
       (e.meta #> '{program,usage}')::text
  FROM unnest(%(context_ids)s::bigint[], %(versions)s::int[]) c (context_id, version)
  CROSS JOIN LATERAL (
    SELECT s.version, s.type, s.created_at, s.meta FROM _data_manager_admin.event_store_prototype s
      WHERE s.etl_context_id = c.context_id AND s.version > c.version - %(most)s::int AND s.version <= c.version
      ORDER BY s.version OFFSET 0) e
  WHERE e.type ~ ':(INITIAL|STARTED|ADOPTED|LOST|RETRYING|RESUMED|ERROR|CANCELLED|FINAL|WAITING|SPAWNED|DONE|FAILED)$'
  ORDER BY c.context_id, e.version
