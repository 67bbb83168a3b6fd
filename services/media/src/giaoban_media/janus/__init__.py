# SPDX-License-Identifier: Apache-2.0
"""The adapter to Janus; the only place that knows its words and the only importer of janus_client."""
