# SPDX-License-Identifier: GPL-3.0-or-later
"""Device properties that are switched off in a command line, held against real QEMUs (tests/print-mask.c)."""
import json
import os
from pathlib import Path

from lib.device_pair import DevicePair
from lib.harness import check, check_equal, check_in, test
from lib.pair import VM, Pair
from test_adopt_move import Adopted
from test_migration import helper as compare, monitor
from test_receive import Site

# On by themselves in both QEMUs; hash is off by itself, and seqpacket of vhost-vsock is a word in JSON.
OFF = ("mrg_rxbuf", "queue_reset")
MASK = ",".join(f"virtio-net.{name}" for name in (*OFF, "hash")) + ",vhost-vsock.seqpacket,vhost-vsock.queue_reset"
PLACES = ("/machine/peripheral", "/machine/peripheral-anon", "/machine/unattached")


# The forms in which nobody asks for what is switched off.
SILENT = ("plain", "alias", "json", "nic", "nic by driver", "net", "file", "file without id")


def helper(t):
    """tests/print-mask.c, built beside the program, or where bad-peer is."""
    places = [t.program.parent, Path(os.environ.get("QML_BAD_PEER") or t.program).parent]
    found = [place / "print-mask" for place in places if os.access(place / "print-mask", os.X_OK)]
    if not found:
        t.skip("print-mask is neither beside the program nor beside QML_BAD_PEER")
    return found[0]


def masked(t, words, mask=MASK):
    """The words with the properties switched off, and what is said of it."""
    said = json.loads(t.run(helper(t), mask, "qemu", "-no-user-config", *words, check=0).stdout)
    return said["argv"][1:], said["said"]


def devices(qemu, kind):
    """The paths of a machine's devices whose driver has `kind` in its name; not the device inside of it."""
    found = []
    for place in PLACES:
        for entry in qemu.qmp.command("qom-list", path=place):
            if kind in entry["type"] and entry["type"].startswith("child<"):
                found.append(f"{place}/{entry['name']}")
    return found


def values(qemu, path, names):
    return [qemu.qmp.command("qom-get", path=path, property=name) for name in names]


def look(t, name, words, names, kind="virtio-net", **how):
    """What a QEMU with these words says of all its devices of that kind."""
    qemu = t.qemu(name, *words, paused=True, **how)
    seen = [values(qemu, path, names) for path in devices(qemu, kind)]
    qemu.quit()
    return seen


def write(t, name, *lines):
    (t.dir / name).write_text("\n".join(lines) + "\n")
    return ["-readconfig", name]


def forms(t):
    """How a network card can come, and how many of them there are."""
    net = ["-netdev", "hubport,id=h,hubid=1"]
    on = "mrg_rxbuf=on,queue_reset=on"
    plain = write(t, "plain.conf", '[device "c"]', 'driver = "virtio-net-pci"', 'mac = "52:54:00:00:00:07"')
    asked = write(t, "asked.conf", '[device "c"]', 'driver = "virtio-net"', 'mrg_rxbuf = "on"', 'hash = "on"')
    nameless = write(t, "nameless.conf", "[device]", 'driver = "virtio-net-pci"')
    loud = write(t, "global.conf", "[global]", 'driver = "virtio-net-pci"', 'property = "mrg_rxbuf"', 'value = "on"')
    return {
        "plain": (["-device", "virtio-net-pci"], 1),
        "alias": (["-device", "virtio-net,id=n"], 1),
        "asked": ([*net, "-device", f"virtio-net-pci,netdev=h,{on},romfile=,mac=52:54:00:00:00:01,hash=on"], 1),
        "switch": (["-device", "virtio-net-pci,mrg_rxbuf,queue_reset=off,queue_reset=on"], 1),
        "transitional": (["-device", f"virtio-net-pci-transitional,{on}"], 1),
        "non-transitional": (["-device", f"driver=virtio-net-pci-non-transitional,{on}"], 1),
        "json": (["-device", '{"driver":"virtio-net-pci","id":"n"}'], 1),
        "json asked": (["-device", '{"mrg_rxbuf":true,"driver":"virtio-net","queue_reset":true,"hash":true}'], 1),
        "set": (["-device", "virtio-net-pci,id=n", "-set", "device.n.mrg_rxbuf=on"], 1),
        "nic": (["-nic", "user,model=virtio"], 1),
        "nic by driver": (["-nic", "user,model=virtio-net-pci-non-transitional"], 1),
        "net": (["-net", "nic,model=virtio", "-net", "user"], 1),
        "several": (["-device", "virtio-net-pci", "-nic", "user,model=virtio", "-device", f"virtio-net,{on}"], 3),
        "global": (["-global", "virtio-net-pci.mrg_rxbuf=on", "-nic", "user,model=virtio"], 1),
        "long global": (
            ["-global", "driver=virtio-net-pci,property=queue_reset,value=on", "-nic", "user,model=virtio"],
            1,
        ),
        "base": (["-global", "virtio-net-pci-base.mrg_rxbuf=on", "-nic", "user,model=virtio"], 1),
        "virtio-pci": (["-global", "virtio-pci.queue_reset=on", "-nic", "user,model=virtio"], 1),
        "virtio-device": (["-global", "virtio-device.queue_reset=on", "-nic", "user,model=virtio"], 1),
        "file": (plain, 1),
        "file asked": (asked, 1),
        "file set": ([*plain, "-set", "device.c.mrg_rxbuf=on"], 1),
        "file without id": (nameless, 1),
        "file global": ([*loud, "-nic", "user,model=virtio"], 1),
    }


def binaries(t):
    return {"old": t.qemu_path, "new": t.second_qemu_path}


@test(timeout=240)
def network_cards(t):
    "a property that is switched off is off in QEMU 7.2 and 10.0, however the card comes; without, it is on"
    for name, (words, count) in forms(t).items():
        argv, said = masked(t, words)
        check_equal(bool(said), name not in SILENT, f"{name}: something is said: {said}")
        for version, binary in binaries(t).items():
            file = name.replace(" ", "-")
            seen = look(t, f"{file}-{version}", argv, (*OFF, "hash"), binary=binary)
            check_equal(seen, [[False] * 3] * count, f"{name} in the {version} QEMU")


@test()
def without(t):
    "the same cards by themselves have what is switched off"
    for version, binary in binaries(t).items():
        seen = look(t, version, ["-device", "virtio-net-pci", "-nic", "user,model=virtio"], OFF, binary=binary)
        check_equal(seen, [[True] * len(OFF)] * 2, f"the {version} QEMU")


@test()
def others(t):
    "other devices keep what a card loses, and a -global for all of virtio reaches them"
    words = ["-global", "virtio-pci.packed=on", "-device", "virtio-net-pci,id=n", "-device", "virtio-rng-pci,id=r"]
    argv, said = masked(t, words, "virtio-net.packed,virtio-net.queue_reset")
    check_equal(said, ["packed=on of -global virtio-pci is switched off, as agreed"], "said")
    for version, binary in binaries(t).items():
        for kind, wanted in (("virtio-net", [False, False]), ("virtio-rng", [True, True])):
            seen = look(t, f"{version}-{kind}", argv, ("packed", "queue_reset"), kind=kind, binary=binary)
            check_equal(seen, [wanted], f"{kind} in the {version} QEMU")


@test()
def microvm(t):
    "a card without PCI"
    words = ["-device", "virtio-net-device,mrg_rxbuf=on", "-device", "virtio-rng-device"]
    argv, _ = masked(t, words)
    for version, binary in binaries(t).items():
        seen = look(t, version, argv, (*OFF, "hash"), binary=binary, machine="microvm")
        check_equal(seen, [[False] * 3], f"the {version} QEMU")


@test()
def plugged_later(t):
    "a card that is plugged into a running QEMU has not what was switched off either, and QEMU says nothing of it"
    argv, _ = masked(t, [])
    for version, binary in binaries(t).items():
        qemu = t.qemu(version, *argv, "-device", "pcie-root-port,id=p", paused=True, binary=binary)
        qemu.qmp.command("device_add", driver="virtio-net-pci-non-transitional", id="n", bus="p")
        check_equal(values(qemu, "/machine/peripheral/n", OFF), [False] * len(OFF), f"the {version} QEMU")
        check("-global" not in qemu.process.stderr(), f"the {version} QEMU says: {qemu.process.stderr()}")
        qemu.quit()


@test()
def newer_property(t):
    "one that only the newer QEMU knows is switched off there; the older does not start with it"
    words = ["-device", "virtio-net-pci", "-nic", "user,model=virtio"]
    argv, _ = masked(t, words, "virtio-net.host_uso")
    seen = look(t, "new", argv, ["host_uso"], binary=t.second_qemu_path, machine="pc-q35-10.0")
    check_equal(seen, [[False]] * 2, "host_uso")
    bare = ["-machine", "q35,accel=tcg", "-nodefaults", "-display", "none"]
    result = t.run(t.qemu_path, *bare, *argv)
    check(result.returncode != 0 and "host_uso' not found" in result.stderr, f"the older QEMU: {result.stderr}")


@test()
def vsock(t):
    "properties of vhost-vsock, in both syntaxes: where there is none, QEMU fails for that reason only"
    available = os.access("/dev/vhost-vsock", os.R_OK | os.W_OK)
    bare = ["-machine", "q35,accel=tcg", "-nodefaults", "-display", "none"]
    for number, word in enumerate(("vhost-vsock-pci,guest-cid=%d", '{"driver":"vhost-vsock-pci","guest-cid":%d}')):
        argv, _ = masked(t, ["-device", word % (77 + number)])
        for version, binary in binaries(t).items():
            if available:
                name = f"{version}{number}"
                seen = look(t, name, argv, ("seqpacket", "queue_reset"), kind="vhost-vsock", binary=binary)
                check_equal(seen, [["off", False]], f"{argv} in the {version} QEMU")
            else:
                result = t.run(binary, *bare, *argv)
                check("failed to open vhost device" in result.stderr, f"the {version} QEMU: {result.stderr}")


@test(timeout=90)
def preflight(t):
    "cards of a configuration file, of -device and of -nic are found equal by the pre-flight; one that is not, by name"
    file = write(t, "net.conf", '[device "c"]', 'driver = "virtio-net-pci"', 'addr = "5"', 'mrg_rxbuf = "on"')
    words = [*file, "-device", "virtio-net-pci,id=n,addr=6,queue_reset=on", "-nic", "user,model=virtio"]
    for number, binaries_of in enumerate(((t.qemu_path, t.second_qemu_path), (t.second_qemu_path, t.qemu_path))):
        for offs in ((MASK, MASK), ("virtio-net.hash", "virtio-net.mrg_rxbuf")):
            names = [f"{end}{number}{offs[0] == offs[1]}" for end in ("src", "dst")]
            qemus = []
            for name, binary, off, incoming in zip(names, binaries_of, offs, (False, True)):
                argv, _ = masked(t, words, off)
                more = [*argv, *monitor(name)]
                qemus.append(t.qemu(name, *more, binary=binary, paused=True, incoming=incoming))
            said = json.loads(t.run(compare(t), "compare", *(f"{name}.command" for name in names), check=0).stdout)
            places = ("00:01.0", "00:05.0 (c)", "00:06.0 (n)") if offs[0] != offs[1] else ()
            wanted = [f"src has a virtio-net-pci at {at} with VIRTIO_NET_F_MRG_RXBUF, dst without" for at in places]
            check_equal((sorted(said["findings"]), said["warnings"]), (wanted, []), f"pre-flight of {names}")
            for qemu in qemus:
                qemu.quit()


# A launch, an agreement, a received guest: what is written there

USO = ("guest_uso4", "guest_uso6", "host_uso")
PLAIN = "virtio-net-pci,id=n,mac=52:54:00:00:00:01"
JSON = '{"driver":"virtio-net-pci","id":"m"}'
CARDS = ["-device", PLAIN, "-device", JSON]
WITHOUT_USO = [
    *("-device", ",".join([PLAIN, *(f"{name}=off" for name in USO)])),
    *("-device", '{"driver":"virtio-net-pci","id":"m",' + ",".join(f'"{name}":false' for name in USO) + "}"),
    *(word for name in USO for word in ("-global", f"virtio-net-device.{name}=off")),
]


def has_words(argv, words):
    """They stand in the command line, one behind the other, and nothing else of network cards does."""
    found = [word for word in argv if "virtio-net" in word]
    check_equal(found, [word for word in words if "virtio-net" in word], "what is said of network cards")
    at = argv.index(words[0], argv.index(words[1]) - 1)
    check_equal(argv[at : at + len(words)], words, "the words together")


@test(timeout=120)
def launched(t):
    "what only b's QEMU has is off in its command line; a's QEMU, which would not start with it, is told nothing"
    pair = Pair(t, qemu_b=t.second_qemu_path)
    a, b = pair.dry_run("--json", guest_a=[*pair.guest("a"), *CARDS], guest_b=[*pair.guest("b"), *CARDS])
    for process, words in ((a, CARDS), (b, WITHOUT_USO)):
        process.expect_status(0)
        has_words(json.loads(process.stdout())["argv"], words)


@test(timeout=120)
def launched_asked(t):
    "who asks for what a's kernel lacks is told so, and does not get it, with -device and with -nic"
    qemu = t.second_qemu_path
    pair = DevicePair(t, net=",host_uso=on,guest_uso4=on", qemu_a=qemu, qemu_b=qemu, without_a="uso")
    more = ["-nic", "user,model=virtio"]
    guests = {f"guest_{name}": pair.guest(name, more=more) for name in "ab"}
    for launched in pair.launch(**guests):
        for name in ("guest_uso4", "host_uso"):
            wanted = f"warning: web1: {name}=on of device n0 is switched off: a's kernel lacks uso of tap devices"
            check_in(wanted, launched.process.stderr(), f"what {launched.process.name} says")
        cards = devices(launched, "virtio-net")
        check_equal(len(cards), 2, "network cards")
        for path in cards:
            check_equal(values(launched, path, USO), [False] * len(USO), f"{path} of {launched.process.name}")


@test(timeout=180)
def received(t):
    "under an agreement: receive and --agreement write what was agreed, for what the QEMU that is there now knows"
    site = Site(t, "ab", qemu={"b": t.second_qemu_path})
    cards = lambda name, **how: [*site.guest(name, **how), *CARDS]  # noqa: E731
    a = site.launch("a", "b", guest=cards("a"))
    has_words(a.argv, CARDS)
    options = ("--dry-run", "--json", "--")
    kept = site["b"].home / "state" / "agreements" / f"{VM}.json"
    for words in (("receive", VM, "--from", "a"), ("--vm", VM, "--agreement", kept, "--incoming")):
        newer = site["b"].run(*words, *options, *cards("b"), check=0)
        has_words(json.loads(newer.stdout)["argv"], WITHOUT_USO)
    site.qemu["b"] = t.qemu_path
    site.config("b")
    older = site["b"].run("receive", VM, "--from", "a", *options, *cards("b"), check=0)
    has_words(json.loads(older.stdout)["argv"], CARDS)


@test(timeout=120)
def adopted(t):
    "a guest that was adopted keeps its devices: who receives it switches nothing off, whatever its own QEMU knows"
    site = Site(t, "ab", qemu={"b": t.second_qemu_path})
    Adopted(site, *CARDS, machine="pc-q35-7.2")
    guest = [*site.guest("b", machine="pc-q35-7.2"), *CARDS]
    said = site["b"].run("receive", VM, "--from", "a", "--dry-run", "--json", "--", *guest, check=0)
    has_words(json.loads(said.stdout)["argv"], CARDS)
