# SPDX-License-Identifier: Apache-2.0
"""The live state of a meeting: a pure state machine and its home in JetStream KV."""
