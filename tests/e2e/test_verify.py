# SPDX-License-Identifier: GPL-3.0-or-later
"""verify: the CPU of a running guest against its agreement; and what agreement list and show tell."""
import fcntl
import json
import re
import time

from lib.harness import QMP, check, check_equal, check_in, in_turn, test, wait_until
from lib.pair import VM, Launched, Pair, end_of_word
from test_pair import migrate


def commands_socket(launched):
    """The path of the QMP socket for commands, which verify uses."""
    chardev = end_of_word("-chardev", launched.argv, "socket,id=qml-command,")
    return chardev.split("path=")[1].split(",server=")[0]


def verify(host, status=0):
    """What verify --json says: its document, after the words for people were seen to go with it."""
    result = host.run("verify", VM, "--json", check=status)
    document = json.loads(result.stdout)
    check_equal((document["vm"], document["status"]), (VM, "differs" if status else "agreed"), "document of verify")
    check_equal(bool(document["differences"]), bool(status), f"differences: {document['differences'][:5]}")
    return document


def check_agreed(*launched, vcpus=1):
    """Each of them runs with the CPU that was agreed on."""
    for one in launched:
        check_equal(verify(one.host)["vcpus"], vcpus, "vCPUs")


def check_refused(host, status, *words):
    """verify ends with this status and one line that has these words, and prints no result."""
    result = host.run("verify", VM, check=status)
    check_equal((result.stdout, result.stderr.count("\n")), ("", 1), f"output: {result.stderr}")
    for word in words:
        check_in(word, result.stderr, "what verify says")


def agreed(t, form, second, smp="1", cpu_a="max", cpu_b="max", machine="q35", more=(), accel="tcg"):
    """A pair with this form and these -cpu; each side is as agreed before the guest has moved and after."""
    pair = Pair(t, deny_b="smap", qemu_b=t.second_qemu_path if second else None)

    def guest(name, cpu):
        words = [*pair.guest(name, cpu=cpu, machine=machine), "-smp", smp, *more]
        return [word.replace("accel=tcg", f"accel={accel}") for word in words]

    a, b = pair.launch("--cpu-form", form, guest_a=guest("a", cpu_a), guest_b=guest("b", cpu_b))
    vcpus = int(smp.split(",")[0])
    check_agreed(a, b, vcpus=vcpus)
    check_equal(b.status(), "inmigrate", "state of the destination")
    for one, place in ((a, "here"), (b, "incoming")):
        document = verify(one.host)
        check_equal((document["place"], document["pid"]), (place, one.process.pid), "where it is")
    if accel == "tcg":
        migrate(a, b, without_syscall=second)
        check_agreed(b, vcpus=vcpus)
        check_equal(verify(b.host)["place"], "here", "where it is")
        check_refused(pair.a, 14, f"{VM} has moved to b")


def register(name, form, second, **guest):
    """One test of a CPU that is as agreed."""

    def function(t):
        if guest.get("accel") == "kvm":
            t.need_kvm()
        agreed(t, form, second, **guest)

    function.__name__ = f"test_agreed_{name}"
    function.__module__ = __name__
    function.__doc__ = f"--cpu-form {form}, the {'second' if second else 'same'} QEMU on b, {guest}: no false alarm"
    test(timeout=90)(function)


for row, chosen_form in enumerate(("named", "base", "host")):
    for other in (False, True):
        for number in in_turn(row + other, ("1", "4")):
            register(f"{chosen_form}_{'second' if other else 'own'}_smp_{number}", chosen_form, other, smp=number)

# What users write in -cpu, each in the form and on the QEMU where it is most likely to disturb.
REQUESTS = {
    "hyperv": ("named", True, "max,+smep,-aes,hv-relaxed=on"),
    "hidden_kvm": ("base", True, "max,kvm=off,phys-bits=38,hv-vendor-id=abc,hv-spinlocks=8191"),
    "two_names": ("named", False, "max,hv-apicv=on,hv-no-nonarch-coresharing=on,l3-cache=off,x-vendor-cpuid-only=off"),
    "numbers": ("named", True, "max,family=6,model=42,stepping=7,vendor=GenuineIntel,model-id=mine,ucode-rev=7"),
    "tsc": ("host", True, "max,tsc-frequency=2000000000,cpuid-0xb=off"),
    "more_than_model": ("host", True, "Haswell,+avx512f"),
    "old_amd": ("base", True, "Opteron_G1"),
    "no_long_mode": ("host", False, "486"),
}
for word, (chosen_form, other, words) in REQUESTS.items():
    register(word, chosen_form, other, cpu_a=words, cpu_b=words)

# Under KVM the guest need not run for this: some KVMs cannot run every one of these CPUs.
for word, chosen_form, words in (
    ("model", "named", "qemu64"),
    ("hyperv", "base", "qemu64,hv-relaxed=on"),
    ("hidden", "named", "max,-arch-capabilities,kvm=off"),
    ("best", "host", "max,-arch-capabilities"),
):
    register(f"kvm_{word}", chosen_form, True, cpu_a=words, cpu_b=words, accel="kvm", smp="2")
register("machine_pc", "base", True, machine="pc")
register("machine_microvm", "base", False, machine="microvm")
register("kernel_irqchip_split", "named", True, machine="q35,kernel-irqchip=split", accel="kvm", cpu_a="qemu64")
register("cpu_pm", "named", True, more=("-overcommit", "cpu-pm=on"))


def lines_of(result):
    """What verify printed, a line each."""
    return result.stdout.splitlines()


@test()
def words_for_people(t):
    """verify says in one line on standard output what is as agreed, and nothing else"""
    pair = Pair(t)
    guest = [*pair.guest("a", cpu="Westmere"), "-smp", "2"]
    pair.launch("--cpu-form", "named", guest_a=guest, guest_b=[*pair.guest("b", cpu="Westmere"), "-smp", "2"])
    result = pair.a.run("verify", VM, check=0)
    check_equal(result.stderr, "", "standard error of verify")
    check(re.fullmatch(rf"{VM}: 2 vCPUs as agreed \(Westmere-v1, pc-q35-[0-9.]+\)\n", result.stdout), result.stdout)


def replace_qemu(t, pair, launched, *more, binary=None, machine=None, cpu=None):
    """Ends a launched QEMU and starts another one, without the program, at the socket where verify asks."""
    socket = commands_socket(launched)
    launched.process.kill()
    machine = machine or end_of_word("-machine", launched.argv)
    words = ["-machine", machine, "-cpu", cpu or end_of_word("-cpu", launched.argv), "-m", "16", *more]
    path = binary or pair.qemu[launched.host.name]
    process = t.start(
        *(path, *words, "-nodefaults", "-display", "none", "-S", "-qmp", f"unix:{socket},server=on,wait=off"),
        name="impostor",
    )
    with QMP(socket, alive=process.alive):
        pass
    return process


def differs(t, second):
    """A QEMU with another CPU, machine type and number of vCPUs stands where the agreed one stood."""
    pair = Pair(t, qemu_a=t.second_qemu_path if second else None)
    a, _ = pair.launch("--cpu-form", "base")
    cpu = end_of_word("-cpu", a.argv)
    machine = end_of_word("-machine", a.argv).split(",")[0]
    # Nothing but another process: the same CPU is as agreed.
    process = replace_qemu(t, pair, a)
    check_agreed(a)
    process.kill()
    changed = cpu.replace(",smap=on", "").replace(",pmu=off", ",pmu=on,ht=on") + ",avx512f=on,hv-relaxed=on"
    changed = re.sub(",stepping=[0-9]+", ",stepping=9", re.sub(",xlevel=[0-9]+", ",xlevel=2147483656", changed))
    changed = changed.replace(",enforce=on", "").replace(",model-id=", ",model-id=Other ")
    process = replace_qemu(t, pair, a, "-smp", "2", machine="pc-q35-7.1,accel=tcg", cpu=changed)
    document = verify(pair.a, 12)
    found = {(one["vcpu"], one["what"]): (one["agreed"], one["found"]) for one in document["differences"]}
    model = found.pop((0, "model-id"))
    check_equal(model[1], f"Other {model[0]}", "model-id")
    check_equal(found.pop((1, "model-id")), model, "model-id of the second vCPU")
    expected = {(None, "machine type"): (machine, "pc-q35-7.1")}
    for index in (0, 1):
        steppings, levels = found.pop((index, "stepping")), found.pop((index, "xlevel"))
        check_equal((steppings[1], levels[1]), ("9", "0x80000008"), "numbers that differ")
        expected |= {(index, what): ("on", "off") for what in ("smap",)}
        expected |= {(index, what): ("off", "on") for what in ("pmu", "hv-relaxed")}
    check_equal(found, expected, "differences")
    check_equal(document["vcpus"], 2, "vCPUs")
    result = pair.a.run("verify", VM, check=12)
    for line in (
        f"machine type is pc-q35-7.1, the agreement has {machine}",
        "vCPUs 0-1: smap is off, the agreement has it on",
        "vCPUs 0-1: hv-relaxed is on, the agreement has it off",
        f"vCPUs 0-1: stepping is 9, the agreement has {steppings[0]}",
    ):
        check_in(line, lines_of(result), "lines of verify")
    check_equal(len(lines_of(result)), 1 + 6, f"lines of verify: {lines_of(result)}")
    check_in("launch it again", result.stderr, "what to do")
    check_equal(result.stderr.count("\n"), 1, f"lines on standard error: {result.stderr}")
    process.kill()


@test()
def differs_own(t):
    """another CPU than agreed: 12, every difference by name, none beside them"""
    differs(t, False)


@test()
def differs_second(t):
    """the same with the second QEMU"""
    differs(t, True)


@test()
def vendor_family_model(t):
    """what bare QEMU would have made of the guest: other numbers, 12"""
    pair = Pair(t)
    a, _ = pair.launch()
    replace_qemu(t, pair, a, cpu="Haswell-v1,-pcid", binary=pair.qemu["a"])
    found = {one["what"]: one["found"] for one in verify(pair.a, 12)["differences"]}
    numbers = {name: found.get(name) for name in ("vendor", "family", "model")}
    check_equal(numbers, {"vendor": "GenuineIntel", "family": "6", "model": "60"}, "numbers that differ")


@test()
def accelerator_differs(t):
    """KVM where TCG was agreed on: 12"""
    t.need_kvm()
    pair = Pair(t)
    a, _ = pair.launch(guest_a=pair.guest("a", cpu="qemu64"), guest_b=pair.guest("b", cpu="qemu64"))
    replace_qemu(t, pair, a, cpu="qemu64", machine=end_of_word("-machine", a.argv).replace("tcg", "kvm"))
    found = [one for one in verify(pair.a, 12)["differences"] if one["what"] == "accelerator"]
    check_equal(found, [{"vcpu": None, "what": "accelerator", "agreed": "tcg", "found": "kvm"}], "accelerator")


@test()
def msr_bits(t):
    """a bit of an MSR is read too, though no CPUID word has it"""
    pair = Pair(t)
    a, _ = pair.launch()
    # TCG has none of these MSRs, so they are forced upon it.
    cpu = end_of_word("-cpu", a.argv).replace(",enforce=on", ",x-force-features=on,arch-capabilities=on,rdctl-no=on")
    replace_qemu(t, pair, a, cpu=cpu)
    found = [(one["what"], one["found"]) for one in verify(pair.a, 12)["differences"]]
    check_equal(found, [(name, "on") for name in ("arch-capabilities", "rdctl-no", "x-force-features")], "differences")


@test()
def plugged_in_later(t):
    """a vCPU that was plugged in counts: as agreed by itself, and told when it is another one"""
    pair = Pair(t)
    guests = {name: [*pair.guest(name), "-smp", "1,maxcpus=3,sockets=3"] for name in "ab"}
    a, _ = pair.launch("--cpu-form", "base", guest_a=guests["a"], guest_b=guests["b"])

    def plug(number, **more):
        where = {"socket-id": number, "core-id": 0, "thread-id": 0}
        a.qmp.command("device_add", {"driver": "base-x86_64-cpu", "id": f"c{number}", **where, **more})

    plug(1)
    check_agreed(a, vcpus=2)
    plug(2, smep=False)
    found = verify(pair.a, 12)["differences"]
    check_equal(found, [{"vcpu": 2, "what": "smep", "agreed": "on", "found": "off"}], "differences")
    check_in("vCPU 2: smep is off, the agreement has it on", lines_of(pair.a.run("verify", VM)), "lines of verify")


@test()
def paused_and_kept(t):
    """a paused guest can be verified; a source that is kept after the move has moved: 14"""
    pair = Pair(t)
    a, b = pair.launch()
    a.qmp.command("stop")
    check_agreed(a)
    a.qmp.command("cont")
    migrate(a, b, "--keep-source")
    check_refused(pair.a, 14, "has moved to b", "verify it there")
    b.qmp.command("stop")
    check_agreed(b)


@test()
def no_such_vm(t):
    """names that are no VM of this host's, and wrong command lines: 64"""
    host = t.host("a")
    check_refused(host, 64, f"no VM {VM} was launched here")
    for words in (["verify"], ["verify", "a", "b"], ["verify", "../a"], ["verify", "a", "--", "b"], ["verify", "--x"]):
        host.run(*words, check=64)


@test()
def qemu_gone(t):
    """QEMU has ended: 14; its socket is busy or gone: 69, soon"""
    pair = Pair(t)
    a, b = pair.launch()
    path = commands_socket(a)
    with QMP(path):
        begin = time.monotonic()
        check_refused(pair.a, 69, path, "does not answer", "no other client")
        took = time.monotonic() - begin
        check(1.5 < took < 15, f"{took:.1f} s to tell that the socket is busy")
    check_agreed(a)
    t.run("mv", path, t.dir / "away", check=0)
    moving = pair.a.run("migrate", VM, check=69)
    check_in(f"{path} is gone", moving.stderr, "what migrate says of a socket that is gone")
    t.run("mv", t.dir / "away", path, check=0)
    a.process.kill()
    check_refused(pair.a, 14, "does not run here any more")
    b_path = commands_socket(b)
    wait_until(lambda: not t.run("mv", b_path, t.dir / "moved").returncode, 5, "socket to move")
    check_refused(pair.b, 69, f"{b_path} is gone")
    moving = pair.a.run("migrate", VM, check=14)
    check_in("does not run here any more: launch it again", moving.stderr, "what migrate says of a QEMU that has ended")


@test()
def another_command_at_work(t):
    """while another command has the VM, a migration for one, verify waits for a moment and says so: 14; one that is done meanwhile is none"""
    pair = Pair(t)
    pair.launch()
    with open(pair.a.home / "state" / "vms" / f"{VM}.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_refused(pair.a, 14, f"another command is at work on {VM}")
    with open(pair.a.home / "state" / "vms" / f"{VM}.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waits = pair.a.start("verify", VM, name="verify")
        time.sleep(0.2)
    waits.expect_status(0)
    verify(pair.a)


@test()
def stopped_qemu(t):
    """a QEMU that says nothing is an error, not a wait for ever"""
    pair = Pair(t)
    a, _ = pair.launch()
    t.run("kill", "-STOP", a.process.pid, check=0)
    check_refused(pair.a, 69, "does not answer")


@test()
def agreement_missing_or_damaged(t):
    """no agreement: 78; a damaged one, another's or a changed one: 65; one that others could write: 77"""
    pair = Pair(t)
    pair.launch()
    path = pair.a.home / "state" / "agreements" / f"{VM}.json"
    good = path.read_text()
    path.write_text(good.replace('"payload":"ey', '"payload":"ez'))
    check_refused(pair.a, 65, str(path))
    path.write_text(good[:-5])
    check_refused(pair.a, 65, str(path))
    path.write_text('{"version":1}')
    check_refused(pair.a, 65, str(path))
    path.write_text(good)
    path.chmod(0o666)
    check_refused(pair.a, 77, str(path))
    path.unlink()
    check_refused(pair.a, 78, str(path), "no agreement")
    # One of another launch than that of the QEMU that runs, good in itself.
    record = pair.a.home / "state" / "vms" / f"{VM}.json"
    document = json.loads(record.read_text())
    path.write_text(good)
    path.chmod(0o600)
    record.write_text(json.dumps({**document, "agreement": "0" * 64}))
    check_refused(pair.a, 65, "was started under the agreement 000000000000")
    record.write_text("{}")
    check_refused(pair.a, 65, str(record))


@test(alone=True)
def quick(t):
    """eight vCPUs do not take long, on a machine with other things to do"""
    pair = Pair(t)
    guests = {name: [*pair.guest(name), "-smp", "8"] for name in "ab"}
    a, _ = pair.launch(guest_a=guests["a"], guest_b=guests["b"])
    a.qmp.command("stop")
    begin = time.monotonic()
    check_agreed(a, vcpus=8)
    took = time.monotonic() - begin
    check(took < 3, f"{took:.2f} s for 8 vCPUs")


def agreement_path(host, vm=VM):
    """Where a host keeps the agreement for a VM."""
    return host.home / "state" / "agreements" / f"{vm}.json"


@test(timeout=90)
def agreement_list_and_show(t):
    """agreement list and show tell what was agreed, in lines and as JSON; damage is told and passed by"""
    pair = Pair(t, deny_b="smap")
    check_equal(pair.a.run("agreement", "list", check=0).stdout, "", "list of none")
    check_equal(json.loads(pair.a.run("agreement", "--json", check=0).stdout), [], "list of none as JSON")
    guest = pair.guest("a", cpu="max,+smep,-aes,hv-relaxed=on")
    a, _ = pair.launch("--cpu-form", "base", guest_a=guest, guest_b=[*pair.guest("b", cpu="max,hv-relaxed=on")])
    cpu = end_of_word("-cpu", a.argv)
    machine = end_of_word("-machine", a.argv).split(",")[0]

    shown = pair.a.run("agreement", "show", VM, check=0).stdout
    last = shown.splitlines()[-1]
    check_equal(last, f"-cpu          '{cpu}'", "the CPU")
    words = " ".join(shown.split())
    digest = pair.record(pair.a)["agreement"]
    for part in (f"Machine type {machine} ", "Accelerator tcg", "CPU form base", f"Digest {digest}", "level 13"):
        check_in(part, words, "what show says")
    for party in (
        f"a, source, {pair.a.identity_pin()} asked for the best CPU +smep -aes hv-relaxed=on ",
        f"b, destination, {pair.b.identity_pin()} asked for the best CPU hv-relaxed=on ",
    ):
        check_in(party, words, "what the parties asked for")
    features = [word.removesuffix("=on") for word in cpu.split(",") if word.endswith("=on")]
    features = [name for name in features if name not in ("enforce", "hv-relaxed")]
    check_in(f"{len(features)} features {' '.join(features)} ", words, "features")

    document = json.loads(pair.a.run("agreement", "show", VM, "--json", check=0).stdout)
    check_equal((document["digest"], document["machine"], document["vm"]), (digest, machine, VM), "document of show")
    check_equal(document["baseline"]["features"], features, "features of the document")
    check_equal([party["host"] for party in document["parties"]], re.findall("Party +([ab]),", shown), "parties")

    # Others: damaged, not of this name, and none at all.
    good = agreement_path(pair.a)
    agreement_path(pair.a, "aa").write_text("{}")
    agreement_path(pair.a, "web2").write_text(good.read_text())
    for name in (".x.json", "a b.json", "web3.pending", "web4.json.tmp", ".json"):
        (good.parent / name).write_text("{}")
    result = pair.a.run("agreement", "list", check=65)
    check_in("2 of 3 agreements", result.stderr, "standard error of list")
    title, first, second, third = result.stdout.splitlines()
    check_equal(title.split(), ["VM", "MACHINE", "MODEL", "ISSUED", "PROVEN", "WHERE", "HOSTS"], "titles")
    check_equal([first.split()[0], second.split()[0], third.split()[0]], ["aa", VM, "web2"], "order")
    issued = time.strftime("%Y-%m-%d %H:%M", time.localtime(document["issued"]))
    proven = "yes" if document["proof"] not in ("none", None) else "no"
    hosts = ",".join(party["host"] for party in document["parties"])
    model = document["baseline"]["model"]
    check_equal(second.split(), [VM, machine, model, *issued.split(), proven, "here", hosts], "line of the good one")
    check(len(second) <= 80, f"line too long: {second}")
    check_in(f"the agreement of {VM}", third, "line of another VM's")
    entries = json.loads(pair.a.run("agreement", "list", "--json", check=65).stdout)
    check_equal([sorted(entry) for entry in entries if entry["vm"] != VM], [["error", "vm"]] * 2, "damaged entries")
    found = next(entry for entry in entries if entry["vm"] == VM)
    check_equal((found["digest"], found["issued"]), (digest, document["issued"]), "entry of the good one")
    check_equal((found["place"], found["peer"]), ("here", "b"), "where it is")
    check_in(" a->here ", pair.b.run("agreement", "list", check=0).stdout, "where it is, as the destination knows it")
    pair.a.run("agreement", "show", "aa", check=65)
    check_in("no agreement for web9", pair.a.run("agreement", "show", "web9", check=64).stderr, "show of none")
    for words in (["show"], ["list", "x"], ["show", "../x"], ["x"], ["show", VM, "--", "x"], ["list", "--cpuid"]):
        pair.a.run("agreement", *words, check=64)


@test(timeout=60)
def check_names_the_qemu_that_it_takes(t):
    """agreement check of a VM that no launch here has a QEMU of: 78 when [qemu] binary's cannot do it, and which that is"""
    pair = Pair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path)
    for host in (pair.a, pair.b):
        pair.config(host, more=f"[qemu]\nbinary = {t.qemu_path}\n")
    for process in pair.dry_run():
        process.expect_status(0)
    said = pair.a.run("agreement", "check", VM, check=78).stderr
    check_in(f"{t.qemu_path} was taken", said, "what it says")
    check_in("[qemu] binary", said, "what decides")
