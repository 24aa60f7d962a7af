-- 0028: what the rate of a queue allows, apart from its settings.

-- A row for a tenth of a second, and the one before goes. While somebody's transaction is open, all versions
-- of a row stay, and each claim would meet all of them; those of other slots it does not meet.
CREATE TABLE _data_manager_admin.queue_allowance (
  queue        text NOT NULL,
  slot         bigint NOT NULL,
  allowance    double precision NOT NULL,
  allowed_at   timestamptz NOT NULL,
  holders      bigint[],
  known_until  timestamptz,
  setting      text,
  PRIMARY KEY (queue, slot)
);
ALTER TABLE _data_manager_admin.queue_allowance SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

COMMENT ON TABLE _data_manager_admin.queue_allowance IS
  'How many starts the rate of a queue allowed at allowed_at; until the first start its setting says so.';
COMMENT ON COLUMN _data_manager_admin.queue_allowance.holders IS
  'Runs that had a place of the queue, and may still have it; NULL: they are counted.';
COMMENT ON COLUMN _data_manager_admin.queue_allowance.known_until IS
  'Until when these are used instead of a count, if nobody sets the queue meanwhile.';
COMMENT ON COLUMN _data_manager_admin.queue_allowance.setting IS
  'The version of the setting that they were counted for.';

-- It has two more arguments.
DROP FUNCTION IF EXISTS _data_manager_admin.renew_lease(bigint, bigint[], text[], text[], text[], text[], interval);
