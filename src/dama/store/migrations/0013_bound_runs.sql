-- 0013: a worker adopts the programs of its host before it claims anything else.

CREATE INDEX run_queue_bound ON _data_manager_admin.run_queue (host, context_id) WHERE host IS NOT NULL;
