# SPDX-License-Identifier: Apache-2.0
"""The shapes of the REST API, one module for each resource, with their translation from and to the wire."""
