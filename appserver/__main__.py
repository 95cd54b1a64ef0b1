"""`python -m appserver --listen http://127.0.0.1:9001 --app package.module:app --workers 2`."""

from __future__ import annotations

import sys

from stack.hop.process import main

if __name__ == "__main__":
    sys.exit(main("appserver"))
