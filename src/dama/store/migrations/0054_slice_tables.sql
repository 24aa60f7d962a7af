-- 0054: slices that are kept as tables. A durable subscription keeps the rows of a build; another build takes its place at once.

CREATE TABLE _data_manager_admin.slice_build (
  build           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slice           text NOT NULL,
  slice_version   int NOT NULL,
  state           text NOT NULL CHECK (state IN ('building', 'shown', 'dropped')),
  archived_after  bigint DEFAULT 0,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX slice_build_current ON _data_manager_admin.slice_build (slice, state) WHERE state <> 'dropped';

COMMENT ON TABLE _data_manager_admin.slice_build IS
  'Slices that are kept as tables: the build that slice_states shows, and one that is to take its place. archived_after: the archived contexts up to it are folded; NULL: all.';

CREATE TABLE _data_manager_admin.slice_row (
  build       bigint NOT NULL REFERENCES _data_manager_admin.slice_build,
  context_id  bigint NOT NULL,
  version     bigint NOT NULL,
  event_id    bigint NOT NULL,
  folded      text NOT NULL,
  PRIMARY KEY (build, context_id)
) WITH (fillfactor = 70);

-- For those whose contexts are removed for good.
CREATE INDEX slice_row_context ON _data_manager_admin.slice_row (context_id);

COMMENT ON TABLE _data_manager_admin.slice_row IS
  'The state of a slice for each context that has an event of it; version and event_id: the latest such event. folded is JSON.';
