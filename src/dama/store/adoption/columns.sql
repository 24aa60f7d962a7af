-- columns: further columns, without a look at any row. What was there before has the same xid afterwards.
-- Locks: ACCESS EXCLUSIVE on both tables, for some milliseconds
-- Autovacuum would hold the tables for minutes, after so many changes; it is let in again at the end.
LOCK TABLE _data_manager_admin.etl_context, _data_manager_admin.event_store_prototype IN ACCESS EXCLUSIVE MODE;
ALTER TABLE _data_manager_admin.etl_context
  ADD COLUMN root_context_id bigint, ADD COLUMN task text, ADD COLUMN status text,
  ADD COLUMN version bigint NOT NULL DEFAULT 0, ADD COLUMN epoch bigint NOT NULL DEFAULT 0,
  ADD COLUMN initial_event_id bigint, ADD COLUMN latest_event_id bigint, ADD COLUMN idempotency_key text,
  ADD COLUMN created_at timestamptz NOT NULL DEFAULT 'epoch', ADD COLUMN modified_at timestamptz NOT NULL DEFAULT 'epoch',
  ADD CONSTRAINT etl_context_status_check CHECK (status IN ('OPEN', 'ERROR', 'DONE', 'CANCELLED')) NOT VALID;
ALTER TABLE _data_manager_admin.etl_context
  ALTER COLUMN created_at SET DEFAULT clock_timestamp(), ALTER COLUMN modified_at SET DEFAULT clock_timestamp(),
  SET (fillfactor = 70, autovacuum_enabled = off);
ALTER TABLE _data_manager_admin.event_store_prototype
  ADD COLUMN version bigint, ADD COLUMN created_at timestamptz NOT NULL DEFAULT 'epoch',
  ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE _data_manager_admin.event_store_prototype
  ALTER COLUMN created_at SET DEFAULT clock_timestamp(), SET (autovacuum_enabled = off);
UPDATE _data_manager_admin.adoption SET xid = pg_current_xact_id() WHERE generation = 'first';
