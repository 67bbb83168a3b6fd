# SPDX-License-Identifier: Apache-2.0
"""The demo data: three organisations as they are, with people who are not, and today's meetings."""
