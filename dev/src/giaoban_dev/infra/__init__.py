# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the real PostgreSQL, NATS and Janus processes of the local stack and of the tests."""
