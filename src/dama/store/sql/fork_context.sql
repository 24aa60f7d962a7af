-- fork_context: a new context with the events of another one up to a version, which continues from there.
-- In:    source bigint; upto bigint: a version; edits text: other payloads by version, JSON; meta text: of the
--        RESUMED events, JSON; is_before boolean: at the moment before the next event of the source
-- Out:   context_id, source_id, version of each context that was made, the first one for the source
-- Locks: the tree of the source, shared; then rows of run_queue that are new
SELECT context_id, source_id, version
  FROM _data_manager_admin.fork_context(%(source)s::bigint, %(upto)s::bigint, %(edits)s::text::jsonb, %(meta)s::text::jsonb,
    %(is_before)s::boolean)
