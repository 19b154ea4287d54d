# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's arguments: understood as QEMU understands them, and told as they will be (--dry-run)."""
import json
import re
import shlex
import struct

from lib.harness import QMP, QMPClosed, check, check_equal, check_in, test, vcpu_features, wait_until
from lib.pair import VM, Pair, end_of_word, said

QUIET = ["-nodefaults", "-display", "none", "-m", "16"]


def running(qmp):
    """What runs, as QEMU itself tells it: machine type, accelerator, number of vCPUs, their features."""
    return {
        "machine": qmp.command("qom-get", path="/machine", property="type"),
        "kvm": qmp.command("query-kvm")["enabled"],
        "cpus": len(qmp.command("query-cpus-fast")),
        "features": vcpu_features(qmp),
        "name": qmp.command("query-name").get("name"),
        "blocks": [block["device"] for block in qmp.command("query-block")],
        "devices": sorted(
            entry["type"] for entry in qmp.command("qom-list", path="/machine/peripheral-anon") if "child<" in entry["type"]
        ),
    }


def understood(t, *words, options=(), cpu_type="max-x86_64-cpu"):
    """The same guest under bare QEMU and through the program, on two hosts that can do the same: what runs is the same.

    Words may hold {dir}, the test's folder.
    """
    words = [word.replace("{dir}", str(t.dir)) for word in words]
    socket = t.dir / "bare.qmp"
    bare_process = t.start(t.qemu_path, *QUIET, *words, "-S", "-qmp", f"unix:{socket},server=on,wait=off", name="bare")
    bare = QMP(socket, alive=bare_process.alive)
    expected = running(bare)
    check_equal(bare.command("qom-get", path=vcpu(bare), property="type"), cpu_type, "CPU of bare QEMU")
    bare.command("quit")
    bare_process.wait(10)
    pair = Pair(t)
    guest = [t.qemu_path, *QUIET, *words]
    a, b = pair.launch("--cpu-form", "host", *options, guest_a=[*guest, "-S"], guest_b=guest)
    for launched in (a, b):
        found = running(launched.qmp)
        check_equal({**found, "features": None}, {**expected, "features": None}, f"what runs on {launched.host.name}")
        different = {
            name: (value, found["features"].get(name))
            for name, value in expected["features"].items()
            if found["features"].get(name) != value
        }
        # What stands in the properties of a vCPU and is not its features.
        for name in ("enforce", "check", "pmu", "migratable", "hotpluggable", "legacy-cache", "fill-mtrr-mask"):
            different.pop(name, None)
        check_equal(different, {}, f"bare QEMU and {launched.host.name}")
    return a, b


def vcpu(qmp):
    """The path of the first vCPU."""
    return qmp.command("query-cpus-fast")[0]["qom-path"]


def kernel(t):
    """The smallest multiboot kernel (Multiboot specification 0.6.96, 3.1): QEMU wants one behind -append."""
    magic, flags, address = 0x1BADB002, 0x10000, 0x100000
    header = struct.pack(
        "<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, address, address, address + 64, address + 64, address + 32
    )
    path = t.dir / "kernel"
    path.write_bytes(header + b"\xf4\xeb\xfd" + bytes(100))
    return path


@test()
def append_with_an_option_in_it(t):
    """-append "-cpu foo -machine none": the kernel's words, not QEMU's"""
    kernel(t)
    a, _ = understood(
        t, "-machine", "q35,accel=tcg", "-kernel", "{dir}/kernel", "-append", "-cpu foo -machine none", "-cpu", "max,-smap"
    )
    check_equal(a.features()["smap"], False, "smap")
    check_equal(end_of_word("-append", a.argv), "-cpu foo -machine none", "-append")


@test()
def name_that_looks_like_an_option(t):
    """-name -cpu: a name, so the next word is an option again; --vm names the VM"""
    understood(t, "-name", "-cpu", "-machine", "q35,accel=tcg", "-cpu", "max,-smap")


@test()
def name_that_cannot_name_a_vm(t):
    """-name -cpu without --vm: 64 with what to do"""
    pair = Pair(t)
    refused = pair.a.run("--peer", "b", "--", *pair.guest("a"), "-name", "-cpu", check=64)
    check_equal(len(said(refused)), 1, "lines")
    check_in("--vm", refused.stderr, "what to do")


@test()
def vm_by_qemus_name(t):
    """without --vm the VM is called as -name says, guest= or not"""
    pair = Pair(t)
    for words in (["-name", "web1"], ["-name", "guest=web1,debug-threads=off"]):
        listener = pair.listen("--dry-run", "--timeout", "20")
        connector = pair.a.start("--peer", "b", "--dry-run", "--", *pair.guest("a"), *words)
        connector.expect_status(0)
        listener.expect_status(0)


@test()
def the_last_cpu_counts(t):
    """two -cpu: the last one counts"""
    a, _ = understood(t, "-cpu", "qemu64", "-machine", "q35,accel=tcg", "-cpu", "max,-smap,+adx")
    check_equal(a.argv.count("-cpu"), 1, "-cpu on the command line")


@test()
def minus_beats_on(t):
    """smap=on,-smap and +adx,adx=off: as QEMU resolves it"""
    understood(t, "-machine", "q35,accel=tcg", "-cpu", "max,-smap,smap=on,+adx,adx=off,sse4_2=off,xd=on")


@test()
def three_spellings_of_machine(t):
    """-M, -machine and --machine go into one: the type of the last that has one, all the others' options"""
    a, _ = understood(t, "-M", "pc", "--machine", "type=q35,usb=on", "-machine", "accel=tcg", "-cpu", "max")
    check_equal(a.qmp.command("qom-get", path="/machine", property="usb"), True, "-machine usb=")


@test()
def no_machine_at_all(t):
    """neither -machine nor -cpu: QEMU's default type; the CPU is the best that both can give, not qemu64"""
    pair = Pair(t)
    guest = [t.qemu_path, *QUIET, "-accel", "tcg"]
    a, b = pair.launch(guest_a=[*guest, "-S"], guest_b=guest)
    bare = t.qemu("bare", paused=True)
    kinds = bare.qmp.command("query-machines")
    default = next(kind["name"] for kind in kinds if kind.get("is-default"))
    for launched in (a, b):
        check_equal(launched.qmp.command("qom-get", path="/machine", property="type"), f"{default}-machine", "type")
        check(launched.features()["avx2"], "not the best CPU")


@test()
def accel_option(t):
    """-accel with options of its own stays as it is"""
    a, _ = understood(t, "-accel", "tcg,thread=single", "-M", "q35", "-cpu", "max")
    check_equal(end_of_word("-accel", a.argv), "tcg,thread=single", "-accel")


@test()
def accel_that_is_not_there(t):
    """-accel xyz -accel tcg: QEMU takes the second, and so it is understood"""
    understood(t, "-accel", "xyz", "-accel", "tcg", "-M", "q35", "-cpu", "max")


@test()
def json_device(t):
    """-device with JSON, and with a driver's option that looks like one of QEMU's"""
    understood(
        t, "-machine", "q35,accel=tcg", "-cpu", "max", "-device", '{"driver":"isa-debug-exit","iobase":244}', "-fw_cfg",
        "name=opt/x,string=-cpu",
    )


@test()
def positional_image(t):
    """a disk image without an option before it, behind and before options"""
    with open(t.dir / "disk.img", "wb") as disk:
        disk.truncate(1 << 20)
    understood(t, "-snapshot", "{dir}/disk.img", "-machine", "pc,accel=tcg", "-cpu", "max")


@test()
def smp(t):
    """-smp and -machine smp.: as many vCPUs"""
    a, _ = understood(t, "-smp", "2,sockets=1,cores=2", "-machine", "q35,accel=tcg", "-cpu", "max")
    check_equal(len(a.qmp.command("query-cpus-fast")), 2, "vCPUs")


def accelerator_of_bare(t, *words):
    """Whether bare QEMU runs KVM with these words; None if it does not start."""
    socket = t.dir / "bare.qmp"
    process = t.start(t.qemu_path, *QUIET, *words, "-S", "-qmp", f"unix:{socket},server=on,wait=off", name="bare")
    wait_until(lambda: socket.exists() or not process.alive(), 10, "bare QEMU")
    if not process.alive():
        return None
    try:
        with QMP(socket, alive=process.alive) as qmp:
            return qmp.command("query-kvm")["enabled"]
    except QMPClosed:  # it is about to end
        process.wait(10)
        return None
    finally:
        process.kill()
        socket.unlink(missing_ok=True)


@test()
def kvm_in_every_spelling(t):
    """-enable-kvm, -accel kvm, -accel kvm -accel tcg, accel=kvm:tcg: KVM, as bare QEMU runs it"""
    t.need_kvm()
    for words in (["-enable-kvm"], ["--enable-kvm"], ["-accel", "kvm", "-accel", "tcg"], ["-machine", "accel=kvm:tcg"]):
        check_equal(accelerator_of_bare(t, "-M", "q35", *words), True, f"bare QEMU with {words}")
        pair = Pair.__new__(Pair)
        folder = t.dir / words[-1].replace(":", "-").replace("=", "-")
        folder.mkdir()
        kept, t.dir = t.dir, folder
        try:
            pair.__init__(t)
            guest = [t.qemu_path, *QUIET, "-M", "q35", *words]
            connector, listener = pair.dry_run("--json", guest_a=guest, guest_b=guest)
            for process in (connector, listener):
                process.expect_status(0)
                argv = json.loads(process.stdout())["argv"]
                ways = [value for word, value in zip(argv, argv[1:]) if word in ("-M", "-machine", "-accel")]
                check(any(re.search(r"(^|accel=)kvm", way) for way in ways), f"no KVM in {argv}")
        finally:
            t.dir = kept


@test()
def enable_kvm_and_accel(t):
    """-enable-kvm with -accel tcg: an error of QEMU's, and 64 here"""
    words = ["-M", "q35", "-enable-kvm", "-accel", "tcg"]
    check_equal(accelerator_of_bare(t, *words), None, "bare QEMU")
    pair = Pair(t)
    refused = pair.a.run("--vm", VM, "--peer", "b", "--", t.qemu_path, *QUIET, *words, check=64)
    check_equal(len(said(refused)), 1, "lines")
    check_in("-accel", refused.stderr, "what is wrong")


@test()
def what_escapes_cpu_is_refused(t):
    """-global of a CPU's class or an ancestor of it, in either syntax: 64 by name"""
    pair = Pair(t)
    for words in (["-global", "cpu.smap=off"], ["-global", "driver=max-x86_64-cpu,property=smap,value=off"],
                  ["-global", "device.hotplugged=on"]):
        refused = pair.a.run("--vm", VM, "--peer", "b", "--", *pair.guest("a"), *words, check=64)
        check_equal(len(said(refused)), 1, "lines")
        check_in("-global", refused.stderr, "what is wrong")


@test()
def global_of_another_class(t):
    """-global of a device that is no CPU stays"""
    understood(t, "-machine", "q35,accel=tcg", "-cpu", "max", "-global", "ICH9-LPC.disable_s3=1")


@test()
def questions_need_no_agreement(t):
    """-version, -cpu help and -machine help are QEMU's own output, byte for byte, without peer or identity"""
    host = t.host("a")
    for words in (["-version"], ["-cpu", "help"], ["-machine", "help"], ["-device", "help"]):
        bare = t.run(t.qemu_path, *words)
        result = host.run("--", t.qemu_path, *words)
        check_equal((result.returncode, result.stdout, result.stderr), (bare.returncode, bare.stdout, bare.stderr), words)


# --dry-run


@test()
def dry_run_is_what_is_started(t):
    """--dry-run's line has the words of the launch that follows, and starts the same QEMU when pasted into sh"""
    pair = Pair(t, deny_a="aes", deny_b="smap")
    odd = ["-name", "it's a \"guest\",, $HOME `x` \\ * ,,;#", "-fw_cfg", "name=opt/x,string=a\nb\tc"]
    guests = {"a": [*pair.guest("a"), *odd], "b": [*pair.guest("b"), *odd]}
    told = {}
    for process in pair.dry_run(guest_a=guests["a"], guest_b=guests["b"]):
        process.expect_status(0)
        line = process.stdout()
        check(line.endswith("\n"), "no end of line")
        told[process.name[0]] = line
    check(not (pair.a.home / "state" / "vms" / f"{VM}.json").exists(), "--dry-run left a record")
    # As a shell reads it, word for word.
    words = {}
    for name, line in told.items():
        read = t.run("sh", "-c", "set -- " + line + '\nfor word; do printf "%s\\0" "$word"; done', check=0)
        words[name] = read.stdout.split("\0")[:-1]
        check_equal(words[name], shlex.split(line), f"two readings of the line of {name}")
    # Pasted.
    pasted = t.start("sh", "-c", "exec " + told["a"], name="pasted")
    path = end_of_word("-chardev", words["a"], "socket,id=qml-guardian,").split("path=")[1].split(",server=")[0]
    with QMP(path, alive=pasted.alive) as qmp:
        first = vcpu_features(qmp)
        check_equal(qmp.command("query-name")["name"], odd[1].replace(",,", ","), "name of the pasted one")
        qmp.command("quit")
    pasted.wait(10)
    # Launched.
    a, b = pair.launch(guest_a=guests["a"], guest_b=guests["b"])
    check_equal(a.argv, words["a"], "argv of a")
    check_equal(b.argv, words["b"], "argv of b")
    check_equal(a.features(), first, "features of the launched and the pasted QEMU")


@test()
def dry_run_json(t):
    """--dry-run --json: one document with features, dropped, model, machine, hosts and argv, the same on both sides"""
    pair = Pair(t, deny_a="aes", deny_b="smap")
    documents = {}
    for process in pair.dry_run("--json"):
        process.expect_status(0)
        documents[process.name[0]] = json.loads(process.stdout())
    document, other = documents["a"], documents["b"]
    features = document["features"]
    check_equal(features, sorted(set(features)), "features, sorted")
    check("avx2" in features and "smap" not in features and "aes" not in features, "features")
    dropped = {loss["feature"]: loss for loss in document["dropped"]}
    check_equal(dropped["smap"], {"feature": "smap", "missing_on": [{"host": "b", "why": "policy"}], "security": True}, "smap")
    check_equal(dropped["aes"], {"feature": "aes", "missing_on": [{"host": "a", "why": "policy"}], "security": False}, "aes")
    check_equal(sorted(host["name"] for host in document["hosts"]), ["a", "b"], "hosts")
    check_equal(document["machine"][:7], "pc-q35-", "machine")
    check(isinstance(document["model"], str), "model")
    mine = next(host["cpu"] for host in document["hosts"] if host["name"] == "a")
    check_equal(end_of_word("-cpu", document["argv"]), mine, "-cpu in argv and in hosts")
    check_equal(document["argv"][0], t.qemu_path, "argv[0]")
    for key in ("features", "machine", "model", "agreement"):
        check_equal(document[key], other[key], f"{key} on both sides")
    by_feature = lambda losses: sorted(losses, key=lambda loss: loss["feature"])  # noqa: E731
    check_equal(by_feature(document["dropped"]), by_feature(other["dropped"]), "dropped on both sides")
    check_equal(sorted(document["hosts"], key=str), sorted(other["hosts"], key=str), "hosts on both sides")


@test()
def dry_run_json_between_versions(t):
    """what only the newer QEMU has is dropped for the older one's sake, and each host's -cpu suits its QEMU"""
    pair = Pair(t, qemu_b=t.second_qemu_path)
    connector, _ = pair.dry_run("--json")
    document = json.loads(connector.stdout())
    lost = {loss["feature"]: loss["missing_on"] for loss in document["dropped"]}
    check(lost, "nothing is dropped between versions")
    check_equal(lost.get("sha-ni"), [{"host": "a", "why": "qemu"}], "sha-ni, which is newer than this QEMU's TCG")
    check_equal(lost.get("pcommit"), [{"host": "b", "why": "qemu"}], "pcommit, which newer QEMUs no longer have")
    for host in document["hosts"]:
        binary = pair.qemu[host["name"]]
        guest = t.qemu(f"bare-{host['name']}", binary=binary, machine=document["machine"], cpu=host["cpu"], paused=True)
        check_equal(guest.process.stderr(), "", f"what the QEMU of {host['name']} says")
