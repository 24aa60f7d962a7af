-- 0027: how far the adoption of a database of the first system has come. An adoption makes the table itself.

CREATE TABLE IF NOT EXISTS _data_manager_admin.adoption (
  generation  text PRIMARY KEY CHECK (generation IN ('first', 'later')),
  begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  step        text,
  position    bigint NOT NULL DEFAULT 0,
  xid         xid8,
  migrations  text[],
  audit       jsonb NOT NULL,
  checksum    text,
  ended_at    timestamptz
);

COMMENT ON TABLE _data_manager_admin.adoption IS
  'One row per generation of the first system whose tables were adopted; no row in a database that was made new.';
COMMENT ON COLUMN _data_manager_admin.adoption.step IS 'The last step that is done.';
COMMENT ON COLUMN _data_manager_admin.adoption.position IS 'How far the next step has come.';
COMMENT ON COLUMN _data_manager_admin.adoption.xid IS 'What all events have that were there before the first column was added.';
COMMENT ON COLUMN _data_manager_admin.adoption.checksum IS 'Of the columns of the first system in these events, before anything was changed.';
