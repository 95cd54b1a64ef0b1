"""`python -m tests.fuzz [--target NAME] [--inputs N] [--seed N] [--engine atheris|mutator]`; all targets by default.

Exit status 0: none of the inputs crashed or took longer than SLOWEST. An input that does is printed and kept in a file.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NoReturn

from tests.fuzz.groups import corpus_of, shares, sources, target_of
from tests.fuzz.mutator import inputs

SLOWEST: Final = 10
"""Seconds for one input, on a machine that is busy with other things. Usual is a tenth of a millisecond."""


def with_atheris(name: str, count: int, seed: int) -> NoReturn:
    """libFuzzer with coverage of our own modules; ends the process."""
    import atheris

    with atheris.instrument_imports(include=[sources(name)]):
        target = target_of(name)
    seeds, pieces = corpus_of(name)
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory, "corpus")
        corpus.mkdir()
        for number, data in enumerate(seeds):
            (corpus / str(number)).write_bytes(data)
        tokens = Path(directory, "tokens")
        tokens.write_text("".join('"' + "".join(rf"\x{byte:02x}" for byte in token) + '"\n' for token in pieces))
        options = [
            f"-atheris_runs={count}", f"-seed={seed}", f"-timeout={SLOWEST}", "-max_len=4096", f"-dict={tokens}",
            "-verbosity=0", "-rss_limit_mb=0", "-len_control=0", f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-",
        ]  # fmt: skip
        # libFuzzer's timer goes on to the end, and Python takes its handler away before that
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
        atheris.Setup([sys.argv[0], *options, str(corpus)], target)
        atheris.Fuzz()
        sys.exit(0)


def with_mutator(name: str, count: int, seed: int) -> None:
    target, (seeds, pieces) = target_of(name), corpus_of(name)
    for data in inputs(seeds, pieces, count, seed):
        signal.alarm(SLOWEST)  # its default ends the process
        try:
            target(data)
        except BaseException:
            kept = Path(tempfile.gettempdir(), f"fuzz-{name}-crash")
            kept.write_bytes(data)
            print(f"{name}: kept in {kept}: {data!r}", file=sys.stderr)
            raise
    signal.alarm(0)


def main() -> int:
    has_atheris = importlib.util.find_spec("atheris") is not None
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target")
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="of all targets of HTTP together, and as many of DNS"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["atheris", "mutator"], default="atheris" if has_atheris else "mutator")
    options = parser.parse_args()
    if options.target is not None:
        run = with_atheris if options.engine == "atheris" else with_mutator
        run(options.target, options.inputs, options.seed)
        return 0
    failed = []
    for name, count in shares(options.inputs).items():
        begun = time.monotonic()
        share = [
            f"--inputs={count}",
            f"--seed={options.seed}",
            f"--engine={options.engine}",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", f"--target={name}", *share],
            capture_output=True,
            text=True,
            check=False,
        )
        print(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'}, {time.monotonic() - begun:.1f} s", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout + done.stderr, file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
