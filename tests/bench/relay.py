# SPDX-License-Identifier: GPL-3.0-or-later
"""What the relay of the migration stream costs: bench_relay.c measures, in interleaved runs of its own."""
import subprocess

from measure import helper
from report import say


def run(t, options):
    program = helper(t, options, "bench-relay")
    for words in (["1024"], ["1024", "4"]):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
        say(f"\nrelay: {done.stdout.rstrip()}")
