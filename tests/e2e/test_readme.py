# SPDX-License-Identifier: GPL-3.0-or-later
"""README.md does what it says: its commands, as they are printed, on hosts with files and namespaces of their own. On new
Debian 12 they are played by tests/walk."""
from lib.harness import Serial, check, check_equal, test
from lib.walk import Walk, environment, says, steps
from lib.walk_host import WalkHost, connect, light_tree


def begin(t, *names):
    """A walk on these hosts, where everything is built and installed already."""
    env = environment(t)
    hosts = {}
    for number, name in enumerate(names, 1):
        hosts[name] = WalkHost(t, name, light_tree(t.dir / f"tree-{name}"), number, env)
    connect(t, hosts)
    return Walk(t, hosts)


def serial(walk, host, vm):
    """What a guest of README.md printed on a host."""
    return Serial(walk.hosts[host].tree / f"tmp/{vm}.out")


@test(timeout=180)
def ten_minutes(t):
    """In ten minutes: identities, trust, a pair, the guest counts on at dst with no number missing, and back again"""
    walk = begin(t, "src", "dst")
    walk.type("trust")
    walk.type("pair")
    there = serial(walk, "dst", "web1")
    there.check_continues(serial(walk, "src", "web1"))
    verified = walk.hosts["dst"].vm("web1")
    check_equal((verified["status"], verified["place"]), ("agreed", "here"), "what verify says on dst")
    check(not walk.hosts["src"].vm("web1"), "web1 has a QEMU on src, too")
    walk.type("back")
    serial(walk, "src", "web1").wait_lines(3)
    walk.ended()


@test(timeout=360)
def recipes(t):
    """Recipes: by files, from a desk, baseline, with agents, a guest that runs already: each moves its guest to dst"""
    walk = begin(t, "src", "dst", "desk")
    walk.type("trust")
    walk.hosts["src"].run("/root/qemu-migrate-launch/tests/guest/build", "/tmp/counter.bin")
    walk.hosts["dst"].run("/root/qemu-migrate-launch/tests/guest/build", "/tmp/counter.bin")
    for name in "files", "desk", "baseline", "agent", "adopt", "masquerade":
        walk.type(name)
    for vm in "web2", "web3", "web4", "web5":
        there = serial(walk, "dst", vm)
        there.wait_lines(2)
        there.check_continues(serial(walk, "src", vm))
    walk.ended()


@test()
def what_is_printed(t):
    """how a walk reads README.md: other numbers, pins and units are the same, other words, statuses and lines are not"""
    for name in "build", "trust", "pair", "back", "files", "desk", "baseline", "agent", "adopt", "masquerade":
        for step in steps(name):
            check(step.host in ("src", "dst", "both", "desk") and step.command, f"{step}")
    moved = ["...", "x: web1 has moved to dst: 594 KiB in 0.0 s, stopped for 70 ms"]
    cases = (
        (moved, "web1: 2 %\nx: web1 has moved to dst: 1.8 MiB in 12.5 s, stopped for 9 ms\n", True),
        (moved, "x: web1 has moved to dst: 12 B in 0 s, stopped for 9 ms\n", True),
        (moved, "x: web1 has moved to src: 594 KiB in 0.0 s, stopped for 70 ms\n", False),
        (moved, "x: web1 has moved to dst: 594 KiB in 0.0 s, stopped for 70 ms\nand more\n", False),
        (["n=00000002"], "n=0000001f\n", True),
        (["n=00000002"], "n=\n", False),
        (["web1 waits here ..."], "web1 waits here for 'migrate web1'\n", True),
        ([f"sha256//{'A' * 43}="], f"sha256//{'b+' * 21}/=\n", True),
        ([f"sha256//{'A' * 43}="], "sha256//=\n", False),
        (["a.b"], "axb\n", False),
    )
    for printed, said, wanted in cases:
        check_equal(says(printed, said), wanted, f"{said!r} for {printed}")
