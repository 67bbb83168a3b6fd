"""Simulated endpoints and the scenarios built from them."""
