# SPDX-License-Identifier: Apache-2.0
"""Owns how Giaoban is installed on a cluster: the image recipes, the chart, and their checks."""
