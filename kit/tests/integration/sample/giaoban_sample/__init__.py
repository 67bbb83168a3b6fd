# SPDX-License-Identifier: Apache-2.0
"""A service of the smallest kind, as kit/README.md shows it: keeps which meetings have ended."""
