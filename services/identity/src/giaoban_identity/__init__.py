"""Organisations, units, users, sites, roles, credentials and tokens."""
