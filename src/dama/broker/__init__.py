"""The broker: actions and events by name, in memory. Nothing here touches the database."""
