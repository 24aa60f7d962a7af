"""Workers: they claim runs, keep the lease, perform what they hold, and start what is due."""
