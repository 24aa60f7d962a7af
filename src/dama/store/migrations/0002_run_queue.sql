-- 0002: what is to run, and who runs it. Operational: derived from events or disposable.

CREATE TABLE _data_manager_admin.worker (
  worker_id    bigserial PRIMARY KEY,
  host         text NOT NULL,
  boot_id      text NOT NULL,
  pid          int NOT NULL,
  pid_started  text NOT NULL,
  version      text NOT NULL,
  queues       text[] NOT NULL,
  root_context_id  bigint,
  slots        int NOT NULL,
  running      int NOT NULL DEFAULT 0,
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until  timestamptz NOT NULL
);

COMMENT ON TABLE _data_manager_admin.worker IS
  'The workers that live. One lease covers all the runs of a worker.';

CREATE TABLE _data_manager_admin.run_queue (
  context_id       bigint PRIMARY KEY,
  root_context_id  bigint NOT NULL,
  parent_id        bigint,
  task             text NOT NULL,
  queue            text NOT NULL,
  priority         int NOT NULL DEFAULT 0,
  state            text NOT NULL DEFAULT 'queued'
                   CHECK (state IN ('queued', 'delayed', 'running', 'waiting', 'retrying')),
  epoch            bigint NOT NULL DEFAULT 0,
  attempt          int NOT NULL DEFAULT 0,
  worker_id        bigint,
  due_at           timestamptz,
  pending          int NOT NULL DEFAULT 0,
  wake_on_failure  boolean NOT NULL DEFAULT FALSE,
  wake_types       text[]
) WITH (fillfactor = 70);

CREATE INDEX run_queue_claim ON _data_manager_admin.run_queue (queue, priority DESC, context_id)
  WHERE state = 'queued';
CREATE INDEX run_queue_tree ON _data_manager_admin.run_queue (root_context_id, context_id);
CREATE INDEX run_queue_due ON _data_manager_admin.run_queue (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX run_queue_worker ON _data_manager_admin.run_queue (worker_id)
  WHERE worker_id IS NOT NULL;

COMMENT ON TABLE _data_manager_admin.run_queue IS
  'One row per task that has not ended: queued, delayed, running, waiting or retrying.';
COMMENT ON COLUMN _data_manager_admin.run_queue.due_at IS
  'When a delayed, retrying or waiting run is queued again; NULL for no such time.';
COMMENT ON COLUMN _data_manager_admin.run_queue.pending IS
  'Waiting runs: how many subtasks must still end before the run is queued again.';
