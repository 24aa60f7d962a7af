-- read_previous: the run of a task that was started last of those that have begun and ended; see
-- functions/find_previous.sql.
-- In:    tasks text[]: its names; context_id bigint: another one than this; params jsonb: what its params contain;
--        defaults jsonb: of these, for runs that do not say them; types text[]: it has an event of one of these,
--        NULL for any run; before bigint: only earlier ones
-- Out:   context_id, latest_event_id, found TRUE; and, where there are more than were looked at, a row with found
--        FALSE: where to look on, that one is not among them
-- Locks: none
SELECT context_id, latest_event_id, found
  FROM _data_manager_admin.find_previous(
    %(tasks)s::text[], %(context_id)s::bigint, %(params)s::jsonb, %(defaults)s::jsonb, %(types)s::text[],
    %(before)s::bigint)
