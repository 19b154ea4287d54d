# SPDX-License-Identifier: GPL-3.0-or-later
"""What the relay of the migration stream costs: bench_relay.c measures, in interleaved runs of its own."""
import subprocess


def run(t, options):
    for words in (["1024"], ["1024", "4"]):
        print("\nrelay")
        print(subprocess.run([options.build / "bench-relay", *words], capture_output=True, text=True, check=True).stdout, end="", flush=True)
