-- 0015: how often the clients of the gateway have asked, over all of its copies.

-- What a crash takes of it nobody misses.
CREATE UNLOGGED TABLE _data_manager_admin.request_count (
  client text NOT NULL,
  ends   timestamptz NOT NULL,
  count  int NOT NULL,
  PRIMARY KEY (client, ends)
);

CREATE INDEX request_count_ends ON _data_manager_admin.request_count (ends);
