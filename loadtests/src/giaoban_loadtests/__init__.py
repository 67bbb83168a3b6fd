"""Owns the simulated endpoints and the scenarios built from them.."""
