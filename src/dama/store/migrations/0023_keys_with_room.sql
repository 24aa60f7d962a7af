-- 0023: keys with places that nobody could be given, for somebody had locked those who wait for them.

CREATE TABLE _data_manager_admin.key_with_room (
  limit_key  text PRIMARY KEY
);

COMMENT ON TABLE _data_manager_admin.key_with_room IS
  'Keys whose blocked runs were locked by somebody when a place became free: upkeep admits them.';
