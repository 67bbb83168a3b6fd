# SPDX-License-Identifier: Apache-2.0
"""Runs the whole house on one machine: what runs, with which settings, started and stopped together."""
