# SPDX-License-Identifier: GPL-3.0-or-later
"""What a profile says of devices: the kernel's backends, asked each time, and QEMU's half, kept with its other answers."""
import base64
import ctypes
import fcntl
import json
import os
import shutil
import struct
from pathlib import Path

from lib.harness import QMP, check, check_equal, check_in, test, wait_until

BEFORE = "was examined before"
USER = 65534  # nobody
# linux/if_tun.h
TUNGETFEATURES, TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x800454CF, 0x400454CA, 0x400454D0, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
OFFLOADS = {"ufo": 0x11, "uso": 0x61, "udp-tunnel": 0x83}


def needs_tun(t):
    """Skips where root cannot try a tap in a network namespace."""
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        t.skip("no /dev/net/tun, or not root")
    if not shutil.which("unshare") or t.run("unshare", "--net", "--mount", "true").returncode:
        t.skip("no network namespaces here")


def profile(host, *options, run=()):
    """The profile's devices, and what was said on the way."""
    words = host.argv("-v", "profile", "--accel", "tcg", *options)
    result = host.test.run(*run, *words, check=0)
    document = json.loads(result.stdout)
    if "payload" in document:  # signed
        document = json.loads(base64.urlsafe_b64decode(document["payload"] + "=="))
    return document["devices"], result.stderr


def signing_host(t):
    """A host that keeps what QEMU answers, as whoever signs does."""
    host = t.host("a")
    host.identity_pin()
    return host


def after(script, *words):
    """Words to run a profile with, after `script` has changed the mounts for it alone."""
    return ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh", *words)


def as_nobody():
    return ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs")


def host_of_nobody(t):
    """A host whose home and program user USER can use."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        t.skip("becoming another user needs root and setpriv")
    os.chmod(t.dir.parent, 0o711)
    os.chmod(t.dir, 0o755)
    program = t.dir / "program"
    shutil.copy(t.program, program)
    host = t.host("nobody")
    for folder, folders, _ in os.walk(host.home):
        for path in (folder, *(os.path.join(folder, name) for name in folders)):
            os.chown(path, USER, USER)
    argv = host.argv
    host.argv = lambda *args: [program, *argv(*args)[1:]]
    return host


def tried():
    """The same, by hand: what a tap in a network namespace of this process can do."""
    own_network()
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    flags = struct.unpack("I", fcntl.ioctl(tun, TUNGETFEATURES, struct.pack("I", 0)))[0]
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    found = {name for name, flag in (("vnet-hdr", IFF_VNET_HDR), ("multi-queue", IFF_MULTI_QUEUE)) if flags & flag}
    questions = [(name, TUNSETOFFLOAD, value) for name, value in OFFLOADS.items()]
    questions += [(f"header-{size}", TUNSETVNETHDRSZ, struct.pack("i", size)) for size in (10, 12, 20, 24)]
    for name, request, argument in questions:
        try:
            fcntl.ioctl(tun, request, argument)
            found.add(name)
        except OSError:
            pass
    return sorted(found)


def own_network():
    """This process and what it starts get a network namespace."""
    check(ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0, "unshare(CLONE_NEWNET)")


@test(timeout=60)
def taps_are_as_they_are_found_by_hand(t):
    """as root: what the profile says of tun is what a tap made by the test says"""
    needs_tun(t)
    devices, _ = profile(t.host("a"), "--unsigned")
    check_equal(devices["backends"]["tun"], {"state": "known", "features": tried()}, "tun")


@test(timeout=60)
def network_is_untouched(t):
    """the network that the program runs in: its interfaces are the same afterwards, and none comes in between"""
    needs_tun(t)
    own_network()  # in which nobody else makes any
    host = t.host("a")
    monitor = t.start("ip", "monitor", "link", name="monitor")
    states = ["down", "up"]

    def listens():
        states.reverse()
        t.run("ip", "link", "set", "lo", states[0], check=0)
        return "lo" in monitor.stdout()

    wait_until(listens, 20, "ip monitor")
    before = t.run("ip", "-o", "link", check=0).stdout
    for _ in range(3):
        check_equal(profile(host, "--unsigned")[0]["backends"]["tun"]["state"], "known", "tun")
    check_equal(t.run("ip", "-o", "link", check=0).stdout, before, "interfaces")
    t.run("ip", "tuntap", "add", "name", "seen0", "mode", "tap", check=0)
    monitor.wait_output("seen0")
    check("tap" not in monitor.stdout(), f"a tap was seen: {monitor.stdout()}")


@test(timeout=60)
def without_rights(t):
    """a user who may not open /dev/net/tun: unknown, and why; the profile is made all the same"""
    host = host_of_nobody(t)
    closed = t.dir / "closed"
    closed.touch(mode=0)
    if not Path("/dev/net/tun").exists():
        t.skip("no /dev/net/tun")
    run = after(f"mount --bind {closed} /dev/net/tun", *as_nobody())
    devices, _ = profile(host, "--unsigned", run=run)
    tun = devices["backends"]["tun"]
    check_equal(tun["state"], "unknown", "tun")
    check(tun["why"].startswith("/dev/net/tun: Permission denied") or "network namespace" in tun["why"], tun["why"])
    check(devices["classes"]["virtio-net"], "QEMU's half is not there")


@test(timeout=60)
def user_with_a_tun_for_all(t):
    """a user who may open /dev/net/tun: known by way of a user namespace, or unknown where the kernel refuses that"""
    needs_tun(t)
    host = host_of_nobody(t)
    number = os.stat("/dev/net/tun").st_rdev
    t.run("mknod", "-m", "666", t.dir / "tun", "c", os.major(number), os.minor(number), check=0)
    run = after(f"mount --bind {t.dir}/tun /dev/net/tun", *as_nobody())
    # What the kernel lets that user do, and a file system on which there are no devices.
    by_hand = t.run(*run, "unshare", "--user", "--net", "sh", "-c", "exec 3<>/dev/net/tun").returncode == 0
    tun = profile(host, "--unsigned", run=run)[0]["backends"]["tun"]
    if by_hand:
        check_equal(tun, {"state": "known", "features": tried()}, "tun")
    else:
        check_equal(tun["state"], "unknown", "tun")
        check(tun["why"], "no reason")


@test(timeout=60)
def kernel_is_asked_each_time(t):
    """a device that goes is noticed though QEMU's answers are kept, and so is one that comes back"""
    needs_tun(t)
    host = signing_host(t)
    first, _ = profile(host)
    gone, said = profile(host, run=after("mount -t tmpfs none /dev/net"))
    check_equal(said.count(BEFORE), 2, "answers of QEMU that were kept")
    check_equal(gone["backends"]["tun"], {"state": "absent"}, "tun that is gone")
    again, said = profile(host)
    check_equal(said.count(BEFORE), 2, "answers of QEMU that were kept")
    check_equal(again, first, "devices")


@test(timeout=60)
def taps_are_remembered(t):
    """one who cannot try a tap, as an agent that is locked in, goes by what was found since this boot; not by a damaged entry"""
    needs_tun(t)
    host = signing_host(t)
    plain = t.dir / "plain"
    plain.touch()
    cannot = after(f"mount --bind {plain} /dev/net/tun")
    nothing, _ = profile(host, run=cannot)
    check_equal(nothing["backends"]["tun"]["state"], "unknown", "tun before anybody has looked")
    first, _ = profile(host)
    entries = list((host.home / "state" / "backends").iterdir())
    check_equal(len(entries), 1, f"entries: {entries}")
    again, said = profile(host, run=cannot)
    check_equal(again["backends"], first["backends"], "backends")
    check_in("tun: as it was since this boot", said, "what was said")
    gone, _ = profile(host, run=after("mount -t tmpfs none /dev/net"))
    check_equal(gone["backends"]["tun"], {"state": "absent"}, "tun that is gone")
    good = entries[0].read_text()
    for bad in ('{"features":["uso","nonsense"]}', good[:-3], good.replace("}", ',"more":1}')):
        entries[0].write_text(bad)
        damaged, _ = profile(host, run=cannot)
        check_equal(damaged["backends"]["tun"]["state"], "unknown", f"tun by {bad}")


@test(timeout=60)
def answers_without_devices_do_not_count(t):
    """what was kept by an older version, or lacks devices, is asked again"""
    host = signing_host(t)
    first, _ = profile(host)
    changed = 0
    for path in (host.home / "state" / "probes").glob("*.json"):
        entry = json.loads(path.read_text())
        changed += entry["answer"].pop("devices", None) is not None
        path.write_text(json.dumps(entry))
    check_equal(changed, 1, "kept answers with devices")
    again, said = profile(host)
    check_equal(said.count(BEFORE), 1, "answers of QEMU that were kept")
    check_equal(again, first, "devices")


def as_qemu_says(t, binary, machine, devices):
    """QEMU's half against the same questions by the test."""
    argv = [binary, "-nodefaults", "-display", "none", "-S", "-machine", f"{machine},accel=tcg", "-m", "16"]
    socket = t.dir / "asked.qmp"
    t.start(*argv, "-qmp", f"unix:{socket},server=on,wait=off", name="asked")
    with QMP(socket) as qmp:
        drivers = {"virtio-net": "virtio-net-pci", "vhost-vsock": "vhost-vsock-pci", "vhost-scsi": "vhost-scsi-pci"}
        for name, driver in drivers.items():
            has = {entry["name"] for entry in qmp.command("device-list-properties", typename=driver)}
            check(set(devices["classes"][name]) <= has, f"{name}: {set(devices['classes'][name]) - has}")
        for name in ("host_uso", "guest_uso4", "queue_reset", "mrg_rxbuf", "in_order"):
            net = {entry["name"] for entry in qmp.command("device-list-properties", typename="virtio-net-pci")}
            check_equal(name in devices["classes"]["virtio-net"], name in net, f"{name} of virtio-net")
        names = [entry["capability"] for entry in qmp.command("query-migrate-capabilities")]
        check_equal(devices["capabilities"], sorted([*names, "tls"]), "migration capabilities")
        schema = {entry["name"]: entry for entry in qmp.command("query-qmp-schema")}
        members = schema[schema["query-machines"]["arg-type"]]["members"]
        if any(member["name"] == "compat-props" for member in members):
            machines = {entry["name"]: entry for entry in qmp.command("query-machines", **{"compat-props": True})}
            keys = ("qom-type", "property", "value")
            wanted = [[entry[key] for key in keys] for entry in machines[machine]["compat-props"]]
            check(wanted, f"{machine} sets nothing")
            check_equal(devices["compat"], wanted, "what makes the machine type")
        else:
            check_equal(devices["compat"], None, "what makes the machine type")


@test(timeout=60)
def qemu_is_asked(t):
    """classes with their properties, capabilities and tls, and what makes the machine type: as QEMU 7.2 says"""
    devices, _ = profile(t.host("a"), "--unsigned", "--machine", "pc-q35-7.2")
    as_qemu_says(t, t.qemu_path, "pc-q35-7.2", devices)
    check_equal(devices["compat"], None, "of QEMU 7.2")


@test(timeout=60)
def newer_qemu_is_asked(t):
    """the same of QEMU 10.0, which tells what makes pc-q35-9.0"""
    devices, _ = profile(t.host("a"), "--unsigned", "--machine", "pc-q35-9.0", "--qemu", t.second_qemu_path)
    as_qemu_says(t, t.second_qemu_path, "pc-q35-9.0", devices)
    check_equal(len(devices["compat"]), 25, "what it sets")


@test(timeout=60)
def recorded_replies(t):
    """an imported profile knows what its replies tell: nothing of backends and classes, the capabilities if they are there"""
    host = t.host("a")
    source = Path(__file__).parent.parent / "data" / "hosts"
    record = json.loads(sorted(source.glob("*.json"))[0].read_text())
    record["query-migrate-capabilities"] = [{"capability": name, "state": False} for name in ("xbzrle", "multifd", "A b")]
    (t.dir / "with.json").write_text(json.dumps(record))
    del record["query-migrate-capabilities"]
    (t.dir / "without.json").write_text(json.dumps(record))
    found = {}
    for name in ("with", "without"):
        result = host.run("profile", "--from-qmp", t.dir / f"{name}.json", check=0)
        found[name] = json.loads(result.stdout)
    check_equal(found["with"]["devices"]["capabilities"], ["multifd", "xbzrle"], "capabilities")
    check_equal(found["with"]["devices"]["backends"], {}, "backends")
    check("devices" not in found["without"], "devices of replies that do not tell")


@test(timeout=60)
def contrary_machine_types_are_named(t):
    """two values for one property of the same machine type: a warning with both; what only one sets: with -v; --json has all"""
    host = t.host("desk")
    for name in "ab":
        made = t.host(name)
        made.write_config(f"[host]\nname = {name}\n")
        words = ("--unsigned", "--accel", "tcg", "--machine", "pc-q35-9.0", "--qemu", t.second_qemu_path)
        document = json.loads(made.run("profile", *words, check=0).stdout)
        if name == "b":
            table = document["devices"]["compat"]
            [entry for entry in table if entry[:2] == ["virtio-iommu-pci", "aw-bits"]][0][2] = "48"
            table.append(["virtio-net-device", "host_tunnel", "off"])
        (t.dir / f"{name}.profile").write_text(json.dumps(document))
    paths = [t.dir / f"{name}.profile" for name in "ab"]
    contrary = "pc-q35-9.0 is not the same everywhere: virtio-iommu-pci.aw-bits is 39 on a, 48 on b"
    usual = "virtio-net-device.host_tunnel is off on b; not set on a"
    said = host.run("baseline", *paths, check=0).stderr
    check_in(contrary, said, "what is said")
    check(usual not in said, f"said without -v: {said}")
    check_in(usual, host.run("baseline", "-v", *paths, check=0).stderr, "what is said with -v")
    document = json.loads(host.run("baseline", "--json", *paths, check=0).stdout)["compat"]
    check_equal(document["known"], ["a", "b"], "hosts whose QEMU tells")
    check_equal([(entry["property"], entry["contrary"]) for entry in document["differences"]],
                [("aw-bits", True), ("host_tunnel", False)], "differences")
