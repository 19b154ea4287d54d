# SPDX-License-Identifier: GPL-3.0-or-later
"""What is settled between two real QEMUs before a migration (tests/print-migration.c)."""
import json
import os
from pathlib import Path

from lib.harness import check_equal, check_in, test, wait_until

WISHES = {"bandwidth": 0, "downtime_ms": 0, "multifd": 0, "postcopy": False, "auto_converge": False, "direct": False}
# What a user, or somebody at a monitor, may have set on one side; each of the capabilities hangs or fails a
# migration when it stays so.
ONE_SIDED = """multifd postcopy-ram switchover-ack xbzrle dirty-bitmaps validate-uuid
late-block-activate""".split()


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
            wanted = f"{('src', 'dst')[end]}: {name} was on, and is off for this migration"
            check_equal(said["notes"], [wanted], "notes")


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
def alike_is_kept(t):
    "what the user has on at both sides stays, and the guest moves"
    second = t.second_qemu_path
    by_hand = [capability(name, end) for name in ("switchover-ack", "validate-uuid") for end in (0, 1)]
    check_equal(move(t, "k", (second, second), set_by_hand=by_hand)["notes"], [], "notes")


def settings(qemu):
    """Its capabilities and parameters."""
    return [qemu.qmp.command(f"query-migrate-{what}") for what in ("capabilities", "parameters")]


@test()
def everything_as_it_was(t):
    "after a migration that did not come about both sides can have the user's settings again"
    a = t.qemu("a", *monitor("a"), paused=True)
    b = t.qemu("b", *monitor("b"), binary=t.second_qemu_path, incoming=True, paused=True)
    for end, command, arguments in (
        capability("multifd", 0),
        parameter(0, **{"multifd-channels": 7, "max-bandwidth": 12345678, "multifd-compression": "zstd"}),
        capability("validate-uuid", 1),
        parameter(1, **{"zero-page-detection": "none", "downtime-limit": 77}),
    ):
        (a, b)[end].qmp.command(command, **arguments)
    before = [settings(a), settings(b)]
    words = ("a.command", "b.command", "s", json.dumps({**WISHES, "multifd": 3, "bandwidth": 5, "downtime_ms": 6}))
    t.run(helper(t), "undo", *words, check=0)
    check_equal([settings(a), settings(b)], before, "settings")


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


# The machines of both sides.

DRIVES = [word for name in "def" for word in ("-drive", f"if=none,id={name},driver=null-co")]
DEVICES = [
    *("-smp", "2,maxcpus=4", *DRIVES, "-chardev", "null,id=c", "-vga", "std", "-nic", "user,model=e1000"),
    *("-device", "virtio-net-pci,id=net0", "-device", "virtio-blk-pci,drive=d", "-device", "virtio-rng-pci"),
    *("-usb", "-device", "usb-tablet", "-device", "virtio-serial-pci", "-device", "virtserialport,name=x"),
    *("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=e", "-device", "ide-hd,drive=f"),
    *("-device", "pci-bridge,chassis_nr=1,id=br", "-device", "e1000,bus=br,addr=3", "-device", "virtio-balloon-pci"),
    *("-parallel", "null", "-device", "isa-debugcon,chardev=c", "-device", "vmgenid"),
]
MACHINES = ("pc-q35-7.2", "pc-i440fx-7.2")


def machine(t, name, qemu, *more, **options):
    """A QEMU that waits."""
    return t.qemu(name, *monitor(name), *more, binary=qemu, paused=True, **options)


def findings(t, source, destination):
    """What the helper finds different, and then what it warns of."""
    result = t.run(helper(t), "compare", f"{source.name}.command", f"{destination.name}.command", check=0)
    found = json.loads(result.stdout)
    return found["findings"] + [f"warning: {line}" for line in found["warnings"]]


def pair_findings(t, number, qemus, a, b, **options):
    """The same of two QEMUs that are started with these words and ended."""
    both = [
        machine(t, f"f{number}a", qemus[0], *a, **options),
        machine(t, f"f{number}b", qemus[1], *b, incoming=True, **options),
    ]
    found = findings(t, *both)
    for qemu in both:
        qemu.quit()
    return found


@test(timeout=120)
def equal_machines(t):
    "equal machines have no difference, in every pairing of versions, whatever their devices are called"
    for kind in MACHINES:
        for number, qemus in enumerate(pairings(t)):
            other = [word.replace("=net0", "=n9").replace("=br", "=x.7") for word in DEVICES]
            found = pair_findings(t, f"{kind[3]}{number}", qemus, DEVICES, other, machine=kind)
            check_equal(found, [], f"{kind} {qemus}")


@test(timeout=240)
def every_difference(t):
    "each kind of difference is named, on either side"
    net = ("-device", "virtio-net-pci,id=net1,addr=9")
    ram = ("-object", "memory-backend-ram,id=mm,size=64M", "-device", "pc-dimm,memdev=mm")
    usb = ("-device", "usb-ehci,addr=9")
    lean = "virtio-net-pci,addr=9,ctrl_vq=off,ctrl_mac_addr=off"
    # The words of each side, and what is said when the first are the source's and when the second are.
    cases = [
        (net, (), "{a} has a virtio-net-pci at 00:09.0 (net1) that {b} has not"),
        ((*usb, "-device", "usb-tablet"), usb, "{a} has an usb-tablet at 00:09.0 that {b} has not"),
        (
            ("-serial", "null", "-parallel", "null"),
            ("-serial", "null"),
            "{a} has an isa-parallel at 00:1f.0 bus 0 iobase 888 that {b} has not",
        ),
        (
            ("-device", lean),
            ("-device", f"{lean},mrg_rxbuf=off"),
            "src has a virtio-net-pci at 00:09.0 with VIRTIO_NET_F_MRG_RXBUF, dst without",
            "warning: dst has a virtio-net-pci at 00:09.0 with VIRTIO_NET_F_MRG_RXBUF, src without: a guest that restarts on"
            " dst uses that, and can then not come back to src",
        ),
        (
            ("-device", "virtio-net-pci,addr=9"),
            ("-device", "virtio-net-pci,addr=9,romfile="),
            "{a} has memory called 0000:00:09.0/virtio-net-pci.rom that {b} has not",
        ),
        (
            ("-device", "e1000,addr=9"),
            net,
            "src has an e1000 at 00:09.0, dst has virtio-net-pci there",
            "src has a virtio-net-pci at 00:09.0 (net1), dst has e1000 there",
        ),
        (("-smp", "2"), ("-smp", "1"), "src has 2 vCPUs, dst 1", "src has 1 vCPU, dst 2"),
        (
            ("-smp", "2,maxcpus=3"),
            ("-smp", "2"),
            "src has room for 3 vCPUs (maxcpus), dst for 2",
            "src has room for 2 vCPUs (maxcpus), dst for 3",
        ),
        (
            ram,
            (),
            "src has 64 MiB of memory plugged in, dst 0 MiB; src has a pc-dimm at slot 0 that dst has not",
            "src has 0 MiB of memory plugged in, dst 64 MiB; dst has a pc-dimm at slot 0 that src has not",
        ),
        (("-m", "17"), (), "src has 17 MiB of memory, dst 16 MiB", "src has 16 MiB of memory, dst 17 MiB"),
        (
            ("-machine", "pc-q35-7.1"),
            (),
            "src has machine type pc-q35-7.1, dst pc-q35-7.2",
            "src has machine type pc-q35-7.2, dst pc-q35-7.1",
        ),
    ]
    room = ("-m", "16,slots=2,maxmem=1G")
    for number, (one, other, *wanted) in enumerate(cases):
        if len(wanted) == 1:
            wanted = [wanted[0].format(a=a, b=b) for a, b in (("src", "dst"), ("dst", "src"))]
        for turn, qemus in enumerate(pairings(t)[1:3]):
            words = ((*room, *one), (*room, *other))
            found = pair_findings(t, f"{number}{turn}", qemus, *(words if turn == 0 else reversed(words)))
            check_equal("; ".join(found), wanted[turn], f"case {number}")


@test()
def what_blocks(t):
    "a guest that QEMU cannot move now is not begun with, and QEMU's reason is told"
    shared = ("-object", "memory-backend-ram,id=m,size=1M,share=on", "-device", "ivshmem-plain,memdev=m,master=off")
    a = machine(t, "a", t.qemu_path, *shared)
    b = machine(t, "b", t.qemu_path, *shared, incoming=True)
    found = findings(t, a, b)
    check_equal(len(found), 1, f"findings {found}")
    wanted = "the guest cannot leave src now: Migration is disabled when using feature 'peer mode'"
    check_in(wanted, found[0], "finding")
