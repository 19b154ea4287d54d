#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the end-to-end tests of tests/e2e/test_*.py; lib/harness.py says how they are written and what they read."""
import argparse
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the source may be read-only, and its tree stays clean
sys.path.insert(0, str(HERE))

from lib import harness  # noqa: E402 (the path is set above)


def main():
    # In the background of a script it is ignored, for what the tests start, too: then bash cannot trap it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", metavar="PATTERN", help="only tests whose name matches this regular expression")
    parser.add_argument("--list", action="store_true", help="only print the names and what each shows")
    parser.add_argument("--second-qemu", metavar="PATH", help="the QEMU of another version (or QML_SECOND_QEMU)")
    parser.add_argument("-j", type=int, metavar="N", help="how many at once (default: two for each CPU: most wait)")
    parser.add_argument("--again", action="store_true", help="play what has failed once more, alone, at the end")
    parser.add_argument("--beside", type=int, metavar="PID", help="tests that run alone wait for the end of this process")
    parser.add_argument("--logs", metavar="DIR", help="keep the folders of failed tests here")
    parser.add_argument("--plain", metavar="PATTERN", help="those that run with QML_PLAIN_PROGRAM, too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    harness.load(HERE)
    if options.second_qemu:
        os.environ["QML_SECOND_QEMU"] = str(Path(options.second_qemu).absolute())
    if options.list:
        for one in harness.REGISTERED.values():
            print(f"{one.name:45} {(one.function.__doc__ or '').strip().splitlines()[0]}")
        return 0
    try:
        return harness.run_all(
            __file__, options.k, options.j, options.logs, options.again, options.beside, options.plain
        )
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
