"""What the services share: functions to call, never a framework."""
