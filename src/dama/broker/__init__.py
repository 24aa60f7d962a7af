"""The broker: services and their tasks, by name. Nothing here touches the database."""
