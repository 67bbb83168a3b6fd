"""The local stack: embedded PostgreSQL, NATS, Janus, the services, demo data."""
