"""dama: the DataManager Controller, ETL tasks on PostgreSQL with their whole history."""
