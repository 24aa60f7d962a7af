"""Settings: what a project and its environment say, read once and checked."""
