# SPDX-License-Identifier: Apache-2.0
"""What tests of services share: a clock, keys, and real NATS and PostgreSQL."""
