# SPDX-License-Identifier: Apache-2.0
"""The meeting WebSocket: docs/live-protocol.md."""
