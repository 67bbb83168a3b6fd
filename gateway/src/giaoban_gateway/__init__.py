"""The public REST and WebSocket API."""
