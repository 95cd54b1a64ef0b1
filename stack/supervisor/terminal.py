"""What a SIGHUP means: a terminal that was closed, or a wish to reload."""

from __future__ import annotations

import os
import signal


class Terminal:
    """The one that this process was started in, if any."""

    def __init__(self) -> None:
        outlives_it = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
        self._had = not outlives_it and _exists()

    def has_gone(self) -> bool:
        return self._had and not _exists()


def _exists() -> bool:
    """The kernel takes a hung-up terminal away from all processes before it tells them."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
