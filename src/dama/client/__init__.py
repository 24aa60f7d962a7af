"""The client: start tasks and follow them from any program, without a worker in it."""
