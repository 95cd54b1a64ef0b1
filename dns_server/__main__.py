import sys

from stack.hop.process import main

if __name__ == "__main__":
    sys.exit(main("dns_server"))
