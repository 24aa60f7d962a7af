-- audit_contexts: what is odd in contexts and in the life of each.
-- In:    :contexts, :events: the tables; :id, :parent: the columns of a context; :lives, :kinds: for each kind its count
--        and at most five examples, by the :signs and :flags
-- Out:   one object: rows, latest, twice, checksum, and the kinds
-- Locks: none
-- With enable_nestloop off: nothing is known of the sizes of what is in between.
WITH RECURSIVE told AS MATERIALIZED (
  SELECT e.etl_context_id AS id, count(*) AS events,
         count(*) FILTER (WHERE e.type LIKE '%:INITIAL') AS initials, count(*) FILTER (WHERE e.type LIKE '%:FINAL') AS finals,
         min(e.event_id) AS first, min(e.event_id) FILTER (WHERE e.type LIKE '%:INITIAL') AS initial,
         max(e.event_id) AS last, min(e.event_id) FILTER (WHERE e.type LIKE '%:FINAL') AS final
    FROM :events e WHERE e.etl_context_id IS NOT NULL GROUP BY 1),
known AS MATERIALIZED (
  SELECT c.:id AS id, c.:parent AS parent, c.:parent IS NOT NULL AND p.:id IS NULL AS is_orphan
    FROM :contexts c LEFT JOIN :contexts p ON p.:id = c.:parent),
placed AS (
  SELECT k.id FROM known k WHERE k.parent IS NULL OR k.is_orphan
  UNION ALL
  SELECT k.id FROM known k JOIN placed p ON k.parent = p.id),
adrift AS MATERIALIZED (
  SELECT k.id, k.parent FROM known k LEFT JOIN placed p ON p.id = k.id WHERE k.id IS NOT NULL AND p.id IS NULL),
above AS (  -- of those that no root is above: who is above itself is in a cycle
  SELECT a.id, a.parent FROM adrift a
  UNION
  SELECT b.id, a.parent FROM above b JOIN adrift a ON a.id = b.parent),
cycled AS (SELECT DISTINCT b.id FROM above b WHERE b.id = b.parent)
SELECT (
  SELECT jsonb_build_object('rows', count(*), 'latest', coalesce(max(o.id), 0), 'twice', count(o.id) - count(DISTINCT o.id),
      'checksum', lpad(to_hex((coalesce(sum(hashtextextended(ROW(o.id, o.parent)::text, 0)::numeric), 0) % 9223372036854775808)::bigint), 16, '0'))
    || :kinds
    FROM (SELECT o.id, o.parent, :flags FROM (SELECT k.id, k.parent, k.is_orphan, t.id IS NOT NULL AS has_events, y.id IS NOT NULL AS is_in_cycle
            FROM known k LEFT JOIN told t ON t.id = k.id LEFT JOIN cycled y ON y.id = k.id) o) o)
  || (
  SELECT :lives
    FROM (SELECT o.id, :signs FROM (SELECT t.*, k.id IS NOT NULL AS is_known FROM told t LEFT JOIN known k ON k.id = t.id) o) o)
