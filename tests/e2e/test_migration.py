# SPDX-License-Identifier: GPL-3.0-or-later
"""What is settled between two real QEMUs before a migration (tests/print-migration.c)."""
import json
import os
from pathlib import Path

from lib.harness import check_equal, check_in, test, wait_until

WISHES = {"bandwidth": 0, "downtime_ms": 0, "multifd": 0, "postcopy": False, "auto_converge": False, "direct": False}
# What a user, or somebody at a monitor, may have set on one side; each of the capabilities hangs or fails a
# migration when it stays so.
ONE_SIDED = ("multifd", "postcopy-ram", "switchover-ack", "xbzrle", "dirty-bitmaps", "validate-uuid", "late-block-activate")


def helper(t):
    """tests/print-migration.c, built beside the program, or where bad-peer is."""
    places = [t.program.parent, Path(os.environ.get("QML_BAD_PEER") or t.program).parent]
    found = [place / "print-migration" for place in places if os.access(place / "print-migration", os.X_OK)]
    if not found:
        t.skip("print-migration is neither beside the program nor beside QML_BAD_PEER")
    return found[0]


def monitor(name):
    """QEMU's arguments for a second monitor, for the helper."""
    return ["-qmp", f"unix:{name}.command,server=on,wait=off"]


def pairings(t):
    """Both versions, as source and as destination."""
    both = (t.qemu_path, t.second_qemu_path)
    return [(one, other) for one in both for other in both]


def settle(t, source, destination, path, status=0, **wishes):
    """What the helper says about two QEMUs; with another status its error."""
    words = (f"{source.name}.command", f"{destination.name}.command", path, json.dumps({**WISHES, **wishes}))
    result = t.run(helper(t), "settle", *words, check=status)
    return result.stderr if status else json.loads(result.stdout)


def move(t, number, qemus, machine="pc-q35-7.2", set_by_hand=(), **wishes):
    """Moves a counter guest by the settled arguments; what the user set is set first. What was said."""
    a = t.qemu(f"a{number}", *monitor(f"a{number}"), binary=qemus[0], machine=machine)
    b = t.qemu(f"b{number}", *monitor(f"b{number}"), binary=qemus[1], machine=machine, incoming=True, paused=True)
    for end, command, arguments in set_by_hand:
        (a, b)[end].qmp.command(command, **arguments)
    said = settle(t, a, b, f"s{number}", **wishes)
    b.qmp.command("migrate-incoming", **said["migrate-incoming"])
    a.qmp.command("migrate", **said["migrate"])
    if wishes.get("postcopy"):
        a.qmp.command("migrate-start-postcopy")
    wait_until(lambda: a.migration() in ("pre-switchover", "failed"), 30, "pre-switchover")
    check_equal(a.migration(), "pre-switchover", "the source's migration")
    a.qmp.command("migrate-continue", state="pre-switchover")
    wait_until(lambda: a.migration() in ("completed", "failed"), 30, "end of the migration")
    wait_until(lambda: b.migration() in ("completed", "failed"), 30, "end at the destination")
    check_equal((a.migration(), b.migration()), ("completed", "completed"), "migration")
    check_equal((a.status(), b.status()), ("postmigrate", "paused"), "states")
    for qemu in (a, b):
        qemu.quit()
    return said


def capability(name, end):
    """Somebody set it on this end."""
    needs = ["return-path"] if name == "switchover-ack" else []
    states = [{"capability": one, "state": True} for one in (*needs, name)]
    return (end, "migrate-set-capabilities", {"capabilities": states})


def parameter(end, **values):
    return (end, "migrate-set-parameters", values)


@test(timeout=120)
def every_pairing_goes_through(t):
    "two QEMUs of any version move a guest with what was settled, by default and with multifd and auto-converge"
    for number, qemus in enumerate(pairings(t)):
        check_equal(move(t, f"p{number}", qemus)["notes"], [], "notes")
        said = move(t, f"m{number}", qemus, "pc-i440fx-7.2", multifd=4, auto_converge=True, downtime_ms=500)
        check_equal(said["notes"], [], "notes")


@test(timeout=240)
def one_sided_is_reset(t):
    "what was set on one side only is reset, and the guest moves; it would hang or fail"
    second = t.second_qemu_path
    for number, name in enumerate(ONE_SIDED):
        for end in (0, 1):
            said = move(t, f"{number}{end}", (second, second), set_by_hand=[capability(name, end)])
            check_equal(said["notes"], [f"{('src', 'dst')[end]}: {name} was on, and is off for this migration"], "notes")


@test(timeout=120)
def one_sided_between_versions(t):
    "the same between the versions, with parameters"
    for number, qemus in enumerate(pairings(t)):
        by_hand = [capability("multifd", 1), parameter(1, **{"multifd-channels": 5, "multifd-compression": "zlib"})]
        said = move(t, f"c{number}", qemus, set_by_hand=by_hand, multifd=2)
        check_equal(said["notes"], ["dst: multifd-compression was zlib, and is none for this migration"], "notes")
        if qemus[0] == t.second_qemu_path:
            by_hand = [parameter(0, **{"zero-page-detection": "multifd", "mode": "cpr-reboot"})]
            said = move(t, f"z{number}", qemus, set_by_hand=by_hand, multifd=2)
            wanted = "src: zero-page-detection was multifd, and is legacy for this migration"
            check_equal(said["notes"], [wanted], "notes")


@test()
def what_qemu_refuses(t):
    "what QEMU itself does not take is refused with its words"
    b = t.qemu("b", *monitor("b"), incoming=True, paused=True)
    a = t.qemu("a", *monitor("a"))
    # While a migration is under way nothing can be set.
    a.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover", "state": True}])
    b.qmp.command("migrate-incoming", uri="unix:s")
    a.qmp.command("migrate", uri="unix:s")
    wait_until(lambda: a.migration() == "pre-switchover", 30, "pre-switchover")
    said = settle(t, a, b, "s", status=10)
    check_in("migrate-set-capabilities: There's a migration process in progress", said, "error")
