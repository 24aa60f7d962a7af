-- 0030: which contexts have the history of another one up to an event. Derived: the RESUMED after the copied
-- events says the same.

CREATE TABLE _data_manager_admin.fork (
  context_id  bigint PRIMARY KEY,
  source_id   bigint NOT NULL,
  event_id    bigint NOT NULL,
  version     bigint NOT NULL
);

CREATE INDEX fork_source ON _data_manager_admin.fork (source_id, context_id);

COMMENT ON TABLE _data_manager_admin.fork IS
  'One row per context that was forked: from which, after which of its events.';
COMMENT ON COLUMN _data_manager_admin.fork.event_id IS 'Of the source: the last event that the fork shares.';
COMMENT ON COLUMN _data_manager_admin.fork.version IS 'How many events it shares.';
