# SPDX-License-Identifier: GPL-3.0-or-later
"""adopt: a guest that plain QEMU runs gets an agreement, or every reason why it cannot have one."""
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

from lib.harness import QMP, MACHINE, check, check_equal, check_in, in_turn, test, vcpu_features, wait_until

VM = "web1"


class Plain:
    """A QEMU as a user starts it, with a counter guest and two monitors.

    .socket (for adopt), .qmp (the test's own), .process, .pid
    """

    def __init__(
        self, t, *words, name="plain", binary=None, cpu=None, machine="q35,accel=tcg", monitor="qmp", **options
    ):
        self.socket = t.dir / f"{name}.qmp"
        own = t.dir / f"{name}.own"
        argv = [binary or t.qemu_path, "-machine", machine, *(["-cpu", cpu] if cpu else []), "-m", "16"]
        argv += ["-nodefaults", "-display", "none", "-bios", t.counter, "-serial", f"file:{t.dir / name}.serial"]
        argv += [f"-{monitor}", f"unix:{self.socket},server=on,wait=off"]
        argv += ["-qmp", f"unix:{own},server=on,wait=off"]
        self.process = t.start(*argv, *words, name=name, **options)
        self.pid = self.process.pid
        alive = self.process.alive if "-daemonize" not in words else None
        self.qmp = QMP(own, alive=alive)

    def features(self):
        """{name: bool} of the first vCPU."""
        return vcpu_features(self.qmp)


def make_host(t, name="a", more=""):
    """A host with an identity."""
    host = t.host(name)
    host.write_config(f"[host]\nname = {name}\n{more}")
    host.identity_pin()
    return host


def adopt(host, guest, *more, vm=VM, status=0, **options):
    """adopt with its result."""
    return host.run("adopt", vm, "--qmp", guest.socket, *more, check=status, **options)


def left(host, vm=VM):
    """What is kept of the VM on that host."""
    state = host.home / "state"
    files = [state / "agreements" / f"{vm}.json", state / "agreements" / f"{vm}.pending", state / "vms" / f"{vm}.json"]
    return [path.name for path in files if path.exists()]


def refused(host, guest, status, *words, more=(), vm=VM):
    """adopt ends with this status, says these words, and leaves nothing."""
    before = left(host, vm)
    result = adopt(host, guest, *more, vm=vm, status=status)
    check_equal(result.stdout, "", "result")
    for word in words:
        check_in(word, result.stderr, "what adopt says")
    check_equal(left(host, vm), before, "what is left")
    return result.stderr


def check_adopted(t, host, guest, binary, more=(), smp=1, accel="tcg"):
    """The guest is adopted; what was agreed is what it has: by verify, by the proof, by a QEMU that the test asks."""
    document = json.loads(adopt(host, guest, *more, "--json").stdout)
    verified = json.loads(host.run("verify", VM, "--json", check=0).stdout)
    check_equal((verified["status"], verified["vcpus"]), ("agreed", smp), "verify")
    held = json.loads(host.run("agreement", "check", VM, "--json", check=0).stdout)
    check_equal((held["holds"], held["agreement"]), (True, document["agreement"]), "agreement check")
    shown = json.loads(host.run("agreement", "show", VM, "--json", check=0).stdout)
    parties = [(party["host"], party["role"], party["pin"]) for party in shown["parties"]]
    check_equal(parties, [(host.name, "source", host.identity_pin())], "parties")
    check_equal(shown["parties"][0]["request"]["model"], document["model"] or "", "what was asked for")
    check_equal((shown["machine"], shown["digest"]), (document["machine"], document["agreement"]), "agreement show")
    # The same -cpu, given to a QEMU by hand, is the same CPU.
    other = Plain(
        t, "-S", "-smp", str(smp), name="other", binary=binary, cpu=document["cpu"],
        machine=f"{document['machine']},accel={accel}",
    )
    mine, theirs = guest.features(), other.features()
    differing = {name for name in mine if name in theirs and mine[name] != theirs[name]}
    # Properties of the object, or of what QEMU does with the words of -cpu.
    differing -= {"enforce", "check", "migratable", "host-phys-bits", "realized", "hotplugged", "start-powered-off"}
    check_equal(differing, set(), "properties in which the agreed CPU is another one")
    other.process.kill()
    return document


def adopted(t, second, kvm=False, words=(), smp=1, form=None, model=None, **guest):
    """One guest, adopted."""
    if kvm:
        t.need_kvm()
        guest.setdefault("machine", "q35,accel=kvm")
    binary = t.second_qemu_path if second else t.qemu_path
    host = make_host(t)
    running = Plain(t, *words, *(["-smp", str(smp)] if smp > 1 else []), binary=binary, **guest)
    more = ("--qemu", binary) if second else () # the second QEMU is started through its own dynamic linker
    document = check_adopted(t, host, running, binary, more, smp=smp, accel="kvm" if kvm else "tcg")
    check_equal(document["pid"], running.pid, "pid")
    if form:
        check_equal(document["form"], form, "form")
    if model:
        check_equal(document["model"], model, "model")


GUESTS = {
    "max": {"cpu": "max", "form": "base"},
    "max_smp": {"cpu": "max", "smp": 4},
    "model": {"cpu": "Westmere", "form": "named", "model": "Westmere-v1"},
    "model_with_more": {"cpu": "Haswell,+smap,-aes,model-id=mine", "form": "named", "model": "Haswell-v1", "smp": 2},
    "own_caches": {"cpu": "EPYC-Rome", "form": "named", "model": "EPYC-Rome-v1", "smp": 2},
    "qemu64": {"cpu": "qemu64", "model": "qemu64-v1"},
    "default": {"model": "qemu64-v1"},
    "pc": {"cpu": "max", "machine": "pc,accel=tcg"},
    "microvm": {"cpu": "max", "machine": "microvm,accel=tcg"},
    "old_type": {"cpu": "max", "machine": "pc-q35-3.1,accel=tcg"},
    "no_long_mode": {"cpu": "486"},
    "hyperv": {"cpu": "max,hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vendor-id=abc"},
    "numbers": {"cpu": "max,phys-bits=38,family=6,model=42,stepping=3,kvm=off,l3-cache=off,ucode-rev=7"},
    "globals": {"cpu": "max", "words": ("-global", "max-x86_64-cpu.smap=off", "-global", "cpu.l3-cache=off")},
    "not_migratable": {"cpu": "max,migratable=off"},
    "cpu_pm": {"cpu": "max", "words": ("-overcommit", "cpu-pm=on")},
    "fell_back": {"cpu": "max", "machine": "q35", "words": ("-accel", "hvf", "-accel", "tcg")},
}


def register(name, second, guest):
    """A test of one kind of guest."""

    def function(t):
        adopted(t, second, **guest)

    function.__name__ = f"test_guest_{name}_{'second' if second else 'own'}"
    function.__module__ = __name__
    function.__doc__ = f"{guest}: adopted, as agreed, proven"
    test()(function)


KVM_GUESTS = {
    "kvm_default": {"kvm": True},
    "kvm_max": {"kvm": True, "cpu": "max,-arch-capabilities", "smp": 2},
    "kvm_model": {"kvm": True, "cpu": "qemu64,hv-relaxed=on"},
}
for row, (key, value) in enumerate({**GUESTS, **KVM_GUESTS}.items()):
    for other_qemu in in_turn(row, (False, True)):
        register(key, other_qemu, value)


@test()
def paused_and_daemonized(t):
    """a guest that was started with -daemonize -S: QEMU's own pid, and it stays paused"""
    host = make_host(t)
    pidfile = t.dir / "pid"
    guest = Plain(t, "-daemonize", "-S", "-pidfile", pidfile, cpu="max")
    document = json.loads(adopt(host, guest, "--json").stdout)
    check_equal(document["pid"], int(pidfile.read_text()), "pid")
    check(document["pid"] != guest.pid, "the pid of QEMU's launcher")
    check_equal(guest.qmp.command("query-status")["status"], "prelaunch", "state of the guest")
    host.run("verify", VM, check=0)
    record = json.loads((host.home / "state" / "vms" / f"{VM}.json").read_text())
    found = (record["place"], record["socket"], record["pid"])
    check_equal(found, ("here", str(guest.socket), document["pid"]), "record")
    check_in("-daemonize", record["argv"], "argv of the record")
    guest.qmp.command("quit")


@test()
def relative_paths(t):
    """the socket's path counts from the folder where adopt was said"""
    host = make_host(t)
    guest = Plain(t, cpu="max")
    host.run("adopt", VM, "--qmp", guest.socket.name, check=0)
    host.run("verify", VM, check=0, cwd="/")
    # From a folder where only the short path fits a socket's address.
    folder = t.dir / ("x" * 100)
    folder.mkdir()
    (folder / "s").symlink_to(guest.socket)
    said = host.run("adopt", "web2", "--qmp", "s", check=78, cwd=folder).stderr
    check_in("too long for a socket", said, "what adopt says")


@test()
def words_for_people(t):
    """one line on standard output"""
    host = make_host(t)
    guest = Plain(t, cpu="Westmere")
    result = adopt(host, guest)
    check_equal(result.stderr, "", "standard error")
    check_equal(result.stdout.count("\n"), 1, "lines")
    for word in (f"{VM}: QEMU with pid {guest.pid} is under agreement ", "Westmere-v1", "tcg"):
        check_in(word, result.stdout, "what adopt says")


# What cannot be had a second time.

REFUSED = {
    "caches": ("max,host-cache-info=on", ["host-cache-info=on", "start it without"]),
    "passthrough": ("max,hv-passthrough=on", ["hv-passthrough=on", "hv- options by name"]),
    "forced": ("max,x-force-features=on,avx512f=on", ["x-force-features=on", "avx512f (qemu)", "2 reasons"]),
    "invtsc": ("max,x-force-features=on,invtsc=on", ["invtsc", "tsc-frequency"]),
    "coresharing": ("max,hv-relaxed,hv-no-nonarch-coresharing=auto", ["hv-no-nonarch-coresharing=auto"]),
}
# QEMU 7.2's TCG shows XSAVE components of features that it filters out.
LEFTOVERS = ("Skylake-Server-v4", ["leaf 0xd", "opmask", "cannot be had a second time"])


def register_refused(name, second, cpu, words):
    """A test of one CPU that cannot be agreed on."""

    def function(t):
        host = make_host(t)
        binary = t.second_qemu_path if second else t.qemu_path
        guest = Plain(t, cpu=cpu, binary=binary)
        refused(host, guest, 10, *words, more=("--qemu", binary) if second else ())
        check(guest.process.alive(), "the guest has ended")

    function.__name__ = f"test_refused_{name}_{'second' if second else 'own'}"
    function.__module__ = __name__
    function.__doc__ = f"-cpu {cpu}: 10, with why, and nothing is left"
    test()(function)


for row, (key, (request, expected)) in enumerate(REFUSED.items()):
    for other_qemu in in_turn(row, (False, True)):
        register_refused(key, other_qemu, request, expected)
register_refused("leftovers", False, *LEFTOVERS)


def plug(guest, **properties):
    """Plugs in the second vCPU."""
    free = [one for one in guest.qmp.command("query-hotpluggable-cpus") if "qom-path" not in one]
    guest.qmp.command("device_add", {"driver": free[0]["type"], "id": "c1", **free[0]["props"], **properties})


@test()
def vcpus_unlike(t):
    """a guest whose vCPUs differ: 10, which and in what"""
    host = make_host(t)
    guest = Plain(t, "-smp", "1,maxcpus=2", cpu="max")
    plug(guest, smap=False)
    refused(host, guest, 10, "vCPU 1 is not like vCPU 0: smap is off, not on")


@test()
def plugged_vcpu(t):
    """a vCPU that was plugged in later is the guest's, too"""
    host = make_host(t)
    guest = Plain(t, "-smp", "1,maxcpus=2", cpu="max")
    plug(guest)
    adopt(host, guest)
    check_equal(json.loads(host.run("verify", VM, "--json", check=0).stdout)["vcpus"], 2, "vCPUs")


@test()
def policy(t):
    """a feature that the site policy denies and the guest has: 10"""
    host = make_host(t, more="[policy]\ndeny = smap\n")
    refused(host, Plain(t, cpu="max"), 10, "smap: the site policy here denies it")


@test()
def by_other_options(t):
    """a CPU that -set has changed: 10, by that option's words"""
    host = make_host(t)
    words = ["-global", "driver=cpu,property=smap,value=on,id=x", "-set", "global.x.value=off"]
    guest = Plain(t, *words, cpu="max")
    refused(host, guest, 10, "-set")


# Where it is.


@test()
def twice(t):
    """a second adopt: 14, with --renegotiate another agreement; another VM's QEMU, and another QEMU of this VM: 14"""
    host = make_host(t)
    guest = Plain(t, cpu="max")
    first = json.loads(adopt(host, guest, "--json").stdout)
    refused(host, guest, 14, "has its agreement already", "--renegotiate")
    second = json.loads(adopt(host, guest, "--renegotiate", "--json").stdout)
    check(first["agreement"] != second["agreement"], "the agreement is the old one")
    host.run("verify", VM, check=0)
    refused(host, guest, 14, f"is that of VM {VM}", vm="web2", more=("--renegotiate",))
    other = Plain(t, name="another", cpu="max")
    refused(host, other, 14, f"runs here already, as QEMU with pid {guest.pid}", more=("--renegotiate",))
    guest.process.kill()
    refused(host, other, 14, "was started here before")
    third = json.loads(adopt(host, other, "--renegotiate", "--json").stdout)
    check_equal(third["pid"], other.pid, "pid")


@test()
def places(t):
    """a VM that is elsewhere as far as the record can tell is never adopted, one that has an agreement not by itself"""
    host = make_host(t)
    guest = Plain(t, cpu="max")
    adopt(host, guest)
    path = host.home / "state" / "vms" / f"{VM}.json"
    record = json.loads(path.read_text())
    for place, words in (
        ("moved", "lives on b"), ("elsewhere", "lives on b"), ("moving", "is moving to b"), ("told", "told to b"),
    ):
        path.write_text(json.dumps({**record, "place": place, "peer": "b"}))
        refused(host, guest, 14, words, more=("--renegotiate",))
    path.write_text("{")
    refused(host, guest, 65, str(path), more=("--renegotiate",))
    # What an interrupted adoption may leave is no obstacle; what was agreed with others is.
    path.unlink()
    adopt(host, guest)
    agreement = host.home / "state" / "agreements" / f"{VM}.json"
    path.unlink()
    agreement.write_text("{}")
    refused(host, guest, 65, "that is kept here")


@test()
def another_at_the_socket(t):
    """an adopted guest has ended and another QEMU listens at its socket: it is not taken for the guest"""
    host = make_host(t)
    guest = Plain(t, cpu="max")
    adopt(host, guest)
    guest.process.kill()
    Plain(t, cpu="max")
    for command in ("verify", "migrate"):
        check_in("does not run here", host.run(command, VM, check=14).stderr, command)


@test()
def guests_on_their_way(t):
    """a QEMU that waits for a guest, sends it away or has sent it: 14; after a cancelled migration all is well"""
    host = make_host(t)
    waiting = Plain(t, "-incoming", "defer", name="waiting", cpu="max")
    refused(host, waiting, 14, "waits for a guest that comes from elsewhere")
    guest = Plain(t, cpu="max")
    guest.qmp.command("migrate-set-parameters", max_bandwidth=1000)
    guest.qmp.command("migrate", uri="exec:cat >/dev/null")
    wait_until(lambda: guest.qmp.command("query-migrate").get("status") == "active", 10, "a migration under way")
    refused(host, guest, 14, "is migrating its guest (active)")
    guest.qmp.command("migrate_cancel")
    wait_until(lambda: guest.qmp.command("query-migrate").get("status") in ("cancelled", "failed"), 20, "its end")
    adopt(host, guest)
    gone = Plain(t, name="gone", cpu="max")
    gone.qmp.command("migrate", uri="exec:cat >/dev/null")
    wait_until(lambda: gone.qmp.command("query-status")["status"] == "postmigrate", 20, "the end of a migration")
    refused(host, gone, 14, "has sent its guest away", vm="web2")


@test()
def blocked(t):
    """what keeps QEMU from migrating the guest now is said, and is no reason against an agreement"""
    host = make_host(t)
    shared = t.dir / "shared"
    shared.mkdir()
    words = ["-blockdev", f"driver=vvfat,dir={shared},rw=on,node-name=n", "-device", "virtio-blk,drive=n"]
    guest = Plain(t, *words, cpu="max")
    why = guest.qmp.command("query-migrate")["blocked-reasons"]
    check(why, "QEMU would migrate it")
    said = adopt(host, guest).stderr
    for reason in why:
        check_in(f"QEMU would not migrate {VM}: {reason}", said, "what adopt says")


# Who could take it.


@test()
def planned(t):
    """baseline --agreement: which hosts could take an adopted guest, with names of what is missing"""
    host = make_host(t)
    guest = Plain(t, cpu="max")
    adopt(host, guest)
    features = json.loads(host.run("agreement", "show", VM, "--json", check=0).stdout)["baseline"]["features"]
    check_in("smap", features, "agreed features")
    files = {}
    for name, more, words in (
        ("b", "", []),
        ("c", "[policy]\ndeny = smap\n", []),
        ("d", "", ["--qemu", t.second_qemu_path]),
        ("e", "", ["--machine", "pc"]),
    ):
        other = make_host(t, name, more)
        files[name] = t.dir / f"{name}.profile"
        machine = [] if "--machine" in words else ["--machine", "q35" if name != "d" else MACHINE]
        other.run("profile", "--accel", "tcg", *machine, *words, "-o", files[name], check=0)
    result = host.run("baseline", "--agreement", VM, files["b"], check=0)
    check_equal(result.stdout.splitlines(), [f"b: could take {VM}"], "a host that could")
    # QEMU 7.2's max has a feature that 10.0 does not know any more.
    result = host.run("baseline", "--agreement", VM, files["b"], files["c"], files["d"], check=10)
    lines = [f"b: could take {VM}", f"c: cannot take {VM}: lacks smap (policy)"]
    lines += [f"d: cannot take {VM}: lacks pcommit (qemu)"]
    check_equal(result.stdout.splitlines(), lines, "hosts of which two could not")
    check_in("2 of 3 hosts cannot take", result.stderr, "standard error")
    result = host.run("baseline", "--agreement", VM, files["e"], check=0)
    check_in("e is described for machine type pc-i440fx", result.stderr, "a profile of another machine type")
    # From a file, and as a document.
    path = t.dir / "copy.json"
    shutil.copy(host.home / "state" / "agreements" / f"{VM}.json", path)
    desk = make_host(t, "desk")
    document = json.loads(desk.run("baseline", "--agreement", path, files["c"], files["b"], "--json", check=10).stdout)
    check_equal(document["vm"], VM, "VM")
    lacks = [(one["name"], one["could_take"], one["missing"], one["reasons"]) for one in document["hosts"]]
    wanted = [("c", False, [{"feature": "smap", "why": "policy"}], []), ("b", True, [], [])]
    check_equal(lacks, wanted, "hosts of the document")
    for words in (["web9"], [VM, "--machine", "q35"], [VM, "--cpu-form", "base"]):
        host.run("baseline", "--agreement", *words, files["b"], check=64)
    host.run("baseline", "--agreement", files["b"], files["b"], check=65)


# Sockets.


@test()
def sockets(t):
    """no socket, the human monitor's, one in use, one of a QEMU that is stopped or gone: each in its own words"""
    host = make_host(t)
    guest = Plain(t, cpu="max")

    def said(path, status, word, limit=3.0):
        began = time.monotonic()
        result = host.run("adopt", VM, "--qmp", path, check=status)
        check(time.monotonic() - began < limit, f"took {time.monotonic() - began:.1f} s")
        check_in(word, result.stderr, "what adopt says")
        check_equal((result.stdout, result.stderr.count("\n"), left(host)), ("", 1, []), "output")

    said(t.dir / "none", 64, "is no socket")
    said(t.dir / "plain.serial", 64, "is no socket")
    said(t.dir, 64, "is no socket")
    said("/" + "x" * 200, 64, "is no socket")
    with QMP(guest.socket):
        said(guest.socket, 69, "no other client")
    human = Plain(t, name="human", cpu="max", monitor="monitor")
    said(human.socket, 76, "does not speak QMP")
    guest.process.signal(signal.SIGSTOP)
    said(guest.socket, 69, "it may be stopped")
    guest.process.signal(signal.SIGCONT)
    adopt(host, guest, vm="web2")
    guest.process.kill()
    said(guest.socket, 69, "see that QEMU runs")
    # Something that listens and is no QEMU.
    path = str(t.dir / "impostor")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    pid = os.fork()
    if pid == 0:
        connection, _ = listener.accept()
        version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}
        connection.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\n")
        connection.recv(4096)
        connection.sendall(b'{"return": {}, "id": 1}\n')
        time.sleep(5)
        os._exit(0)
    said(path, 78, "is not a QEMU")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@test()
def usage(t):
    """what adopt does not take: 64; no identity: 78"""
    host = make_host(t)
    more = ([VM, "--qmp"], [VM, "--qmp", "x", "--", "y"])
    for words in ([VM], ["--qmp", "x"], [VM, "web2", "--qmp", "x"], ["../x", "--qmp", "x"], *more):
        host.run("adopt", *words, check=64)
    check_in("adopt VM --qmp SOCKET", host.run("adopt", "--help", check=0).stdout, "help")
    nobody = t.host("nobody")
    refused(nobody, Plain(t, cpu="max"), 78, "identity init")


# Programs.


def copy_qemu(t, name, folder=None):
    """A copy of this machine's QEMU below the test's folder, where it finds its modules and firmware as at home."""
    root = (folder or t.dir) / "usr"
    if not root.exists():
        (root / "bin").mkdir(parents=True)
        for name_there in ("lib", "share"):
            (root / name_there).symlink_to(Path(t.qemu_path).parent.parent / name_there)
    return Path(shutil.copy(t.qemu_path, root / "bin" / name))


@test()
def replaced_by_the_like(t):
    """QEMU was replaced on disk by one that makes the same CPU: proven with both, and said"""
    host = make_host(t)
    binary = copy_qemu(t, "qemu-a")
    guest = Plain(t, cpu="qemu64", machine=f"{MACHINE},accel=tcg", binary=binary)
    os.replace(copy_qemu(t, "qemu-b"), binary)
    check_in("was replaced since", adopt(host, guest).stderr, "what adopt says")
    record = json.loads((host.home / "state" / "vms" / f"{VM}.json").read_text())
    check_equal(record["qemu"], str(binary), "QEMU of the record")
    # Another program that is named is another one, too; and one by another name is not.
    check_in("is not the file", adopt(host, guest, "--qemu", t.second_qemu_path, "--renegotiate").stderr, "second QEMU")
    host.run("agreement", "check", VM, check=0)
    other = Plain(t, name="other", cpu="qemu64")
    wrapper = t.dir / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec {t.qemu_path} "$@"\n')
    wrapper.chmod(0o755)
    check_equal(adopt(host, other, "--qemu", wrapper, vm="web2").stderr, "", "a wrapper of the same program")


@test()
def replaced_by_another(t):
    """QEMU was replaced by one that is none, or cannot make the CPU, or was removed: said, and nothing is left"""
    host = make_host(t)
    binary = copy_qemu(t, "qemu-a")
    guest = Plain(t, cpu="max", binary=binary)
    binary.unlink()
    refused(host, guest, 78, str(binary))
    binary.write_text("#!/bin/sh\nexit 3\n")
    binary.chmod(0o755)
    refused(host, guest, 78, "exited with status 3")
    # One that gives every guest another CPU than it is told.
    binary.write_text(f'#!/bin/sh\nexec {t.qemu_path} "$@" -global cpu.smap=off\n')
    refused(host, guest, 10, "smap")
    # One that answers as the old one did, and shows a guest other caches.
    lie = f'case "$*" in *-bios*) exec {t.qemu_path} "$@" -global cpu.l3-cache=off ;; esac'
    binary.write_text(f'#!/bin/sh\n{lie}\nexec {t.qemu_path} "$@"\n')
    refused(host, guest, 10, "leaf 0x80000006")
    newer = Plain(t, name="newer", cpu="max", machine="q35,accel=tcg", binary=t.second_qemu_path)
    refused(host, newer, 78, "through a dynamic linker", "--qemu")
    refused(host, newer, 10, "cannot be proven", more=("--qemu", t.qemu_path))


@test()
def other_users(t):
    """a guest of another user: root may adopt it if that user cannot change its QEMU; others may not"""
    if os.geteuid() != 0:
        t.skip("needs root")
    host = make_host(t)
    folder = Path(tempfile.mkdtemp(prefix="qml-adopt-", dir="/tmp"))
    nobody = 65534
    try:
        os.chown(folder, nobody, nobody)
        path = folder / "qmp"

        def start(binary):
            path.unlink(missing_ok=True)
            words = ["-machine", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S"]
            process = t.start(
                *(binary, *words, "-qmp", f"unix:{path},server=on,wait=off"),
                user=nobody, group=nobody, extra_groups=[], cwd="/",
            )
            QMP(path, alive=process.alive)._socket.close()
            return process

        theirs = start(t.qemu_path)
        host.run("adopt", VM, "--qmp", path, check=0)
        host.run("verify", VM, check=0)
        theirs.kill()
        own = copy_qemu(t, "qemu", folder)
        os.chown(own, nobody, nobody)
        theirs = start(own)
        said = host.run("adopt", "web2", "--qmp", path, check=77).stderr
        check_in("can be changed by other users", said, "what adopt says")
        theirs.kill()
        # The other way round.
        program = Path(shutil.copy(t.program, folder / "program"))
        mine = t.start(
            *(t.qemu_path, "-machine", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S"),
            *("-qmp", f"unix:{folder}/root,server=on,wait=off"), name="roots",
        )
        QMP(folder / "root", alive=mine.alive)._socket.close()
        home = folder / "home"

        def as_nobody(*words):
            process = t.start(
                program, *words, "--home", home, name="nobody", user=nobody, group=nobody, extra_groups=[], cwd="/"
            )
            return process.wait(20), process.stderr()

        check_equal(as_nobody("identity", "init")[0], 0, "identity init")
        status, said = as_nobody("adopt", VM, "--qmp", folder / "root")
        check_equal(status, 77, f"a socket that is not theirs: {said}")
        check_in("another user's", said, "what adopt says")
        os.chmod(folder / "root", 0o777)
        status, said = as_nobody("adopt", VM, "--qmp", folder / "root")
        check_equal(status, 77, f"a QEMU that is not theirs: {said}")
        check_in("another user's", said, "what adopt says")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@test(timeout=90)
def interrupted(t):
    """ended at any moment: all of it is there, or nothing, and the guest runs on"""
    host = make_host(t)
    guest = Plain(t, cpu="max")
    whole = 60.0
    for more in ((), ("--renegotiate",), ("--renegotiate",)):
        began = time.monotonic()
        adopt(host, guest, *more)
        whole = min(whole, time.monotonic() - began)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for step in range(8):
            for path in (host.home / "state").glob("*/web1.*"):
                path.unlink()
            process = host.start("adopt", VM, "--qmp", guest.socket)
            time.sleep(whole * (step + 0.5) / 8)
            process.signal(number)
            status = process.wait(10)
            files = left(host)
            if status == 0 and step > 3:  # it may be quicker than the first time, but not twice as quick
                check_equal(len(files), 2, f"left by one that was done: {files}")
                host.run("verify", VM, check=0)
            elif number == signal.SIGKILL:
                record = host.home / "state" / "vms" / f"{VM}.json"
                check(len(files) != 1 or not record.exists(), "a record alone")
            else:
                check_in(status, (130, -number), "status")  # before it knows of signals it is ended by one
                check_equal(files, [], "what is left")
            check_equal(guest.qmp.command("query-status")["status"], "running", "the guest")
    adopt(host, guest, *(["--renegotiate"] if left(host) else []))
