# SPDX-License-Identifier: Apache-2.0
"""The errors of the local stack: each message says what happened and what to do about it."""


class InfraError(RuntimeError):
    """A part of the local stack cannot start or has stopped; the text is meant for a person."""


class PortTakenError(InfraError):
    """Another process listens on a port the stack needs."""
