"""`python -m cdn_edge`."""

from __future__ import annotations

import sys

from stack.hop.process import main

if __name__ == "__main__":
    sys.exit(main("cdn_edge"))
