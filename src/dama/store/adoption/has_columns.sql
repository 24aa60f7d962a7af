-- has_columns: whether the columns of this version are there.
SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('_data_manager_admin.event_store_prototype')
                 AND a.attname = 'xid' AND NOT a.attisdropped)
