"""Compiles one large zone in a process of its own, so that the server answers meanwhile.

`ORIGIN FILE COMPILED NICENESS`, the origin in hexadecimal. What was wrong is told as JSON; the zone itself goes through
the file.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import sys
from pathlib import Path

from dns_server import compiled
from dns_server.zonefile import TextFault, read
from stack.errors import ConfigError


def main(origin: bytes, file: Path, target: Path) -> int:
    gc.disable()  # it ends soon
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(f"{target}.lock", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers and generations that start together: one does it for all
        there = compiled.load(target, origin)
        if there is not None and compiled.fits(there.sources):
            return 0
        try:
            text = read(origin, file)
        except ConfigError as error:
            sources = list(error.sources) if isinstance(error, TextFault) else []
            json.dump({"fault": str(error), "sources": sources}, sys.stdout)
            return 1
        compiled.save(target, text.zone, text.sources, text.warnings)
    return 0


if __name__ == "__main__":
    os.nice(int(sys.argv[4]))
    try:
        status = main(bytes.fromhex(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    except OSError as error:
        json.dump({"unable": f"{error.filename or sys.argv[3]}: {error.strerror}"}, sys.stdout)
        status = 2
    sys.stdout.flush()
    os._exit(status)  # a million records are not worth tidying up
