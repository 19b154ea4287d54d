# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever call fails, of memory, files, sockets, processes: a documented status, one message, nothing half-written, nobody
left waiting; and the next try works.

lib/injected_cases.py has the cases: a test for each. By default a sample is played, always the same one as long as the
program is. QML_FAULTS=all plays every distinct call of every case in every way it can fail (hours);
QML_INJECTED_LOG=FILE keeps a line of JSON for each.
"""
import contextlib
import os

from lib import sanitizers
from lib.harness import check, test
from lib.injected import sweep
from lib.injected_cases import EACH

SAMPLES = {
    **{"OfProfile": 40, "UnderAgreement": 15, "WithAgent": 30, "Listener": 5, "Cold": 4, "Receive": 10},
    **{"Agent": 12, "AgentStart": 6, "RunsAlready": 30, "Starts": 4, "Waits": 4, "Migrate": 5, "Guardian": 4},
    **{"MigratePostcopy": 2, "MigrateDirect": 3, "Watcher": 3, "ReceiveStarts": 4, "Pool": 12},
}
SEED = 8
HOURS = 3600


def play(t, kind):
    """Plays the sample, or all; Failure with what was wrong."""
    whole = os.environ.get("QML_FAULTS") == "all"
    path = os.environ.get("QML_INJECTED_LOG")
    with open(path, "a", encoding="utf-8") if path else contextlib.nullcontext() as log:
        results = sweep(kind(t), None if whole else SAMPLES[kind.__name__], SEED, report=log)
    sanitizers.drop_leaks(t.dir, "libevent")  # bufferevent_openssl_socket_new of 2.1 frees half of what it has made
    wrong = [one for one in results if one.problems]
    told = "\n".join(f"{one.kind}, {one.mode}: {one.where}: {one.problems}" for one in wrong[:20])
    check(not wrong, f"{len(wrong)} of {len(results)} faults:\n{told}")
    fired = sum(one.fired > 0 for one in results)
    check(4 * fired >= len(results), f"only {fired} of {len(results)} calls have failed")


def register(kind):
    """The test of one case."""

    def function(t):
        play(t, kind)

    function.__name__ = f"test_{kind.__name__.lower()}"
    function.__module__ = __name__
    function.__doc__ = f"calls that fail: {' '.join(kind.__doc__.split())}"
    test(timeout=12 * HOURS if os.environ.get("QML_FAULTS") == "all" else 240)(function)


for chosen in EACH:
    register(chosen)
