"""`python -m fuzz`: see `fuzz.cli`."""

from __future__ import annotations

import sys

from fuzz.cli import main

sys.exit(main(sys.argv[1:]))
