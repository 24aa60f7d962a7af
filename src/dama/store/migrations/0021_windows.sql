-- 0021: lists are read in windows, so each has an index in its order; those of large tables are in 0022.

CREATE INDEX subscription_parked_latest ON _data_manager_admin.subscription_parked (parked_at, name, context_id);
CREATE INDEX token_latest ON _data_manager_admin.token (created_at, token_id);
