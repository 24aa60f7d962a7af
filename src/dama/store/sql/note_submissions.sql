-- note_submissions: an engine was asked for jobs once more.
-- In:    contexts, epochs bigint[]; native_ids text[] (NULL where it did not answer)
-- Out:   nothing
-- Locks: rows of placement
UPDATE _data_manager_admin.placement p
  SET submissions = p.submissions + 1, native_id = coalesce(s.native_id, p.native_id)
  FROM unnest(%(contexts)s::bigint[], %(epochs)s::bigint[], %(native_ids)s::text[]) s (context_id, epoch, native_id)
  WHERE p.context_id = s.context_id AND p.epoch = s.epoch
