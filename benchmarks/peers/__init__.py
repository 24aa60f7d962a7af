"""The same jobs done by dama and by its peers, on one PostgreSQL server. See `__main__`."""
