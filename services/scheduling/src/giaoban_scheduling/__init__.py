"""Meetings, appointments, invitations, admission and attendance: the record of a meeting."""
