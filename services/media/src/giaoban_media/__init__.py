"""Rooms, nodes, participants, floor and stage; the only part that knows Janus."""
