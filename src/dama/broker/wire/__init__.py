"""The wire: the broker of other nodes, in Moleculer's protocol over NATS."""
