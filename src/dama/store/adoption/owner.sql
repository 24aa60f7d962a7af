-- owner: who owns the tables.
SELECT pg_get_userbyid(c.relowner) FROM pg_class c
  WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND c.relname = 'event_store_prototype'
