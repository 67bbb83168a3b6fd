# SPDX-License-Identifier: Apache-2.0
"""Makes `tools` importable: it belongs to the checkout, not to an installed part."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
