# SPDX-License-Identifier: Apache-2.0
"""The whole house with a real browser: stories of the people who use it, told through what they see and hear."""
