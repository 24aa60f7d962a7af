-- 0001: the public contract. Contexts, events, the guards of both tables.
--
-- The first columns of the two tables, their order and the names of their sequences are the
-- contract with existing programs; what is ours comes after them.
-- Events have no foreign key to their context: the append function and the guard look the context
-- up under its lock anyway, contexts are never deleted, and a key would cost every event a query.

-- The schema is there: its owner may be somebody else, who says what it is for.
DO $$
BEGIN
  IF pg_has_role((SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = '_data_manager_admin'), 'USAGE') THEN
    COMMENT ON SCHEMA _data_manager_admin IS
      'DataManager Controller: ETL contexts, their events, and the run queue.';
  END IF;
END
$$;

CREATE TABLE _data_manager_admin.etl_context (
  context_id        bigserial PRIMARY KEY,
  parent_id         bigint REFERENCES _data_manager_admin.etl_context (context_id),
  root_context_id   bigint NOT NULL,
  task              text,
  status            text CHECK (status IN ('OPEN', 'ERROR', 'DONE', 'CANCELLED')),
  version           bigint NOT NULL DEFAULT 0,
  epoch             bigint NOT NULL DEFAULT 0,
  initial_event_id  bigint,
  latest_event_id   bigint,
  idempotency_key   text,
  created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  modified_at       timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);  -- room for HOT updates: every append touches the row

CREATE INDEX etl_context_parent ON _data_manager_admin.etl_context (parent_id, context_id)
  WHERE parent_id IS NOT NULL;
CREATE INDEX etl_context_root ON _data_manager_admin.etl_context (root_context_id, context_id);
CREATE INDEX etl_context_unfinished ON _data_manager_admin.etl_context (status, context_id)
  WHERE status <> 'DONE';
CREATE UNIQUE INDEX etl_context_idempotency
  ON _data_manager_admin.etl_context (task, idempotency_key) WHERE idempotency_key IS NOT NULL;

COMMENT ON TABLE _data_manager_admin.etl_context IS
  'One row per ETL context: an event stream with a parent. Kept by append_events() under the row''s lock.';
COMMENT ON COLUMN _data_manager_admin.etl_context.root_context_id IS 'The topmost ancestor; the context itself at the top.';
COMMENT ON COLUMN _data_manager_admin.etl_context.version IS 'How many events the context has.';
COMMENT ON COLUMN _data_manager_admin.etl_context.epoch IS 'The latest run that started. Events of earlier runs are refused.';

CREATE TABLE _data_manager_admin.event_store_prototype (
  event_id        bigserial PRIMARY KEY,
  etl_context_id  bigint NOT NULL,
  type            text NOT NULL,
  payload         jsonb,
  meta            jsonb,
  error           boolean,
  version         bigint NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid             xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE UNIQUE INDEX event_store_prototype_version
  ON _data_manager_admin.event_store_prototype (etl_context_id, version);
CREATE INDEX event_store_prototype_xid
  ON _data_manager_admin.event_store_prototype (xid, event_id);
-- The second wall behind the context's lock.
CREATE UNIQUE INDEX event_store_prototype_initial
  ON _data_manager_admin.event_store_prototype (etl_context_id) WHERE type LIKE '%:INITIAL';
CREATE UNIQUE INDEX event_store_prototype_final
  ON _data_manager_admin.event_store_prototype (etl_context_id) WHERE type LIKE '%:FINAL';
CREATE UNIQUE INDEX event_store_prototype_idempotency
  ON _data_manager_admin.event_store_prototype (etl_context_id, (meta ->> 'idempotency_key'))
  WHERE meta ? 'idempotency_key';

COMMENT ON TABLE _data_manager_admin.event_store_prototype IS
  'The event store: Flux Standard Actions, append-only. Write with append_events() or dispatch().';
COMMENT ON COLUMN _data_manager_admin.event_store_prototype.payload IS
  'SQL NULL: the event has no payload. JSON null: its payload is null.';
COMMENT ON COLUMN _data_manager_admin.event_store_prototype.version IS
  'The event''s place in its context, from 1, without gaps.';
COMMENT ON COLUMN _data_manager_admin.event_store_prototype.xid IS
  'The transaction that wrote the event: what the ordered log is made from.';

-- Snapshots are caches: a lost or emptied table costs time, never data.
CREATE UNLOGGED TABLE _data_manager_admin.slice_snapshot (
  context_id     bigint NOT NULL,
  slice          text NOT NULL,
  slice_version  int NOT NULL,
  version        bigint NOT NULL,
  state          jsonb NOT NULL,
  PRIMARY KEY (context_id, slice, slice_version)
);
