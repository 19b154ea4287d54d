# SPDX-License-Identifier: GPL-3.0-or-later
"""What the relay of the migration stream costs: bench_relay.c measures, in interleaved runs of its own."""
import subprocess

from report import say


def run(t, options):
    for words in (["1024"], ["1024", "4"]):
        done = subprocess.run([options.build / "bench-relay", *words], capture_output=True, text=True, check=True)
        say(f"\nrelay: {done.stdout.rstrip()}")
