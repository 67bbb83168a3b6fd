"""Recordings and tracks: capture control, shipping, composing, library."""
