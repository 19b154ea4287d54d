# SPDX-License-Identifier: GPL-3.0-or-later
"""Postcopy of a guest that writes all the time: it moves, what breaks on the way is mended, and nothing runs twice."""
import signal

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM
from lib.scene import PAIRINGS, Scene, paths

WRITES = 3000  # pages that the guest writes again and again: more than the bandwidth below carries
BANDWIDTH = "8M"


def per_pairing(function):
    """One test for each pairing of versions."""
    for name in PAIRINGS:
        def run(t, name=name):
            function(t, *paths(t, name))

        words = "".join(c if c.isalnum() else "_" for c in name.replace(" → ", " to ").replace(".", ""))
        run.__name__ = f"test_{function.__name__}_{words}"
        run.__module__ = __name__
        run.__doc__ = f"{function.__doc__} ({name})"
        test(timeout=150)(run)
    return function


def begin(t, qemu_a, qemu_b):
    """A scene whose guest is on its way by postcopy, and its memory is still here in part."""
    scene = Scene(t, qemu_a, qemu_b, pages=WRITES)
    scene.launch()
    migrate = scene.migrate("--postcopy", bandwidth=BANDWIDTH, slow=False)

    def is_postcopy():
        check(migrate.alive(), f"migrate ended with {migrate.poll()}: {migrate.stderr()[-500:]}")
        return scene.watch.newest("b").migration == "postcopy-active" and scene.watch.newest("b").status == "running"

    wait_until(is_postcopy, 60, "postcopy")
    return scene, migrate


@per_pairing
def moves(t, qemu_a, qemu_b):
    """a guest that writes more than the network carries moves by postcopy"""
    scene, migrate = begin(t, qemu_a, qemu_b)
    migrate.expect_status(0, 90)
    check_equal(scene.record(scene.a)["place"], "moved", "record of the source")
    scene.check_one("b", whole=False)
    scene.end()


@per_pairing
def mended(t, qemu_a, qemu_b):
    """the network is cut in postcopy: migrate mends the stream by itself, and the guest is all there"""
    scene, migrate = begin(t, qemu_a, qemu_b)
    scene.proxy.cut()
    wait_until(lambda: scene.watch.newest("a").migration == "postcopy-paused", 30, "the source has lost it")
    scene.proxy.heal()
    migrate.expect_status(0, 120)
    scene.check_one("b", whole=False)
    scene.end()


@per_pairing
def killed(t, qemu_a, qemu_b):
    """migrate is killed in postcopy: its watcher mends the stream, and the guest is all there"""
    scene, migrate = begin(t, qemu_a, qemu_b)
    migrate.signal(signal.SIGKILL)
    scene.wait_idle(120)
    check_equal(scene.record(scene.a)["place"], "moved", f"record of the source: {scene.logs()}")
    scene.check_one("b", whole=False)
    scene.end()
