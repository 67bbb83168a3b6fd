# SPDX-License-Identifier: Apache-2.0
"""Generators of the pages that follow from code, and what the contract tests read out of it."""
