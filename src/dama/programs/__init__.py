"""Programs: started under a shim, followed, adopted after a restart, and ended."""
