"""Workers: they claim runs, keep the lease, execute what they hold, and start what is due."""
