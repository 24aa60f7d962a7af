-- note_launcher: whether the engine of a launcher answers.
-- In:    launcher text; trouble text: why it does not, or NULL: it does
-- Out:   nothing
-- Locks: the row of the launcher
UPDATE _data_manager_admin.launcher SET trouble = %(trouble)s::text,
    away_since = CASE WHEN %(trouble)s::text IS NOT NULL THEN coalesce(away_since, clock_timestamp()) END
  WHERE launcher = %(launcher)s::text AND (trouble IS DISTINCT FROM %(trouble)s::text)
