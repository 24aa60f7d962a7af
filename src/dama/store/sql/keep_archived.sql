-- keep_archived: keep the states of some archived contexts, and park those with an event that cannot be folded.
-- In:    build bigint; rows text: a JSON array of context_id, version, event_id, and the state as a JSON text
--        failed text: a JSON array of context_id, the id of the event, and the error as a JSON text
-- Out:   nothing
-- Locks: see functions/slices.sql
SELECT _data_manager_admin.keep_archived(%(build)s::bigint, %(rows)s::text::json, %(failed)s::text::json)
