"""`python -m simulation`: see `simulation.cli`."""

from __future__ import annotations

import sys

from simulation.cli import main

sys.exit(main(sys.argv[1:]))
