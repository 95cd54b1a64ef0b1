"""`python -m stack` is `hopstack`."""

import os
import sys

# `-m` puts the working directory first: a user's own proxy.py there is not the proxy
if not sys.flags.safe_path and sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(__file__)):
    del sys.path[0]

from stack.cli import main

if __name__ == "__main__":
    sys.exit(main())
