-- 0065: a queue has a name that its runs can have, too. Rows of before stay: no run is in such a queue.

ALTER TABLE _data_manager_admin.queue_setting ADD CONSTRAINT queue_setting_queue_check
  CHECK (octet_length(queue) BETWEEN 1 AND 1000) NOT VALID;
