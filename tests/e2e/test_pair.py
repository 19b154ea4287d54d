# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path: two hosts that differ agree, become QEMU, and move the guest; its CPU stays the same."""
from lib.harness import check, check_equal, check_in, free_port, migrate_bare, test, wait_until
from lib.pair import VM, Launched, Pair, end_of_word, said
from lib.proxy import Proxy

BENIGN = {"ht", "cmp-legacy"}  # told only by QEMU 10.0, and harmless
SMAP = 1 << 20  # leaf 7 EBX
AES = 1 << 25  # leaf 1 ECX
SYSCALL = 1 << 11  # leaf 0x80000001 EDX


def feature_names(qmp):
    """Every feature that this QEMU has a name for, by its own static expansion."""
    props = qmp.command("query-cpu-model-expansion", type="static", model={"name": "base"})["model"]["props"]
    return {name for name, value in props.items() if isinstance(value, bool)} - BENIGN


def check_same_features(one, other, off=(), on=()):
    """Both vCPUs have the same features; a name that only one QEMU knows is off there; those of `off` are off."""
    first, second = one.features(), other.features()
    names = (feature_names(one.qmp) & first.keys()) | (feature_names(other.qmp) & second.keys())
    check(len(names) > 300, f"only {len(names)} features")
    different = {name for name in names if first.get(name, False) != second.get(name, False)}
    check_equal(different, set(), "features that only one vCPU has")
    # Aliases too: nothing that both have as a property differs.
    shared = {name for name in first.keys() & second.keys() - BENIGN if first[name] != second[name]}
    check_equal(shared - {"hotplugged"}, set(), "properties of the vCPU that differ")
    check_equal([name for name in off if first[name]], [], "features that should be off")
    check_equal([name for name in ("lm", "sse2", "avx2", *on) if not first[name]], [], "features that should be on")


def check_quiet(launched):
    """Nothing on standard error but what the program says of the agreement: no QEMU warning."""
    check_equal(said(launched.process), [], f"warnings of {launched.host.name}")


def leaves(line, without_syscall=False):
    """The guest's leaves; without_syscall: the bit that TCG of 10.0 shows on an Intel CPU only in long mode, as the
    hardware does, and TCG of 7.2 always. The counter guest is in protected mode."""
    result = dict(line.leaves)
    if without_syscall:
        result["80000001"] = result["80000001"]._replace(edx=result["80000001"].edx & ~SYSCALL)
    return result


def migrate(source, destination, *options, without_syscall=False):
    """Moves the running guest with the program; it goes on there, unbroken, with the same CPU."""
    source.serial.wait_lines(3)
    result = source.host.run("migrate", VM, *options, check=0)
    check_in("has moved to", result.stderr, "what migrate said")
    wait_until(lambda: destination.status() == "running", 10, "running destination")
    destination.serial.wait_lines(4)
    destination.serial.check_continues(source.serial)
    before, after = source.serial.last(), destination.serial.last()
    check_equal(leaves(after, without_syscall), leaves(before, without_syscall), "CPU after the move")
    check_equal(after.xcr0, before.xcr0, "XCR0 after the move")
    return before


def check_moved_on(pair, host, source):
    """The source's QEMU is gone, its record says where to, and nothing starts or moves the guest there again."""
    other = pair.b if host is pair.a else pair.a
    source.process.expect_status(0, 10)
    record = pair.record(host)
    check_equal((record["place"], record["peer"]), ("moved", other.name), "record of the source")
    option = ("--peer", "b") if host is pair.a else ("--listen", f"127.0.0.1:{pair.port}")
    again = host.run("--vm", VM, *option, "--", *pair.guest(host.name), check=14)
    check_equal(len(said(again)), 1, "lines about the second launch")
    check_in(f"has moved to {other.name}", again.stderr, "second launch after the move")
    again = host.run("migrate", VM, check=14)
    check_in(f"has moved to {other.name}", again.stderr, "second migrate")


def whole_path(t, form, qemu_a, qemu_b, reverse=False):
    """Launch, compare, migrate, refuse."""
    pair = Pair(t, deny_a="aes", deny_b="smap", qemu_a=qemu_a, qemu_b=qemu_b, reverse=reverse)
    a, b = pair.launch("--cpu-form", form)
    check_equal(a.qmp.version()[:2] == b.qmp.version()[:2], qemu_a == qemu_b, "equal versions")
    check_same_features(a, b, off=("aes", "smap"), on=("smep",))
    for launched in (a, b):
        check_quiet(launched)
        cpu = end_of_word("-cpu", launched.argv)
        check(cpu.startswith("base," if form == "base" else "max,"), f"form of {cpu}")
        check(launched.argv.count("-cpu") == 1, "-cpu is there more than once")
        machine = end_of_word("-machine", launched.argv)
        check(machine.startswith("pc-q35-") and "," in machine, f"machine type of {machine}")
    check_equal(end_of_word("-machine", a.argv), end_of_word("-machine", b.argv), "machine types")
    source, destination = (b, a) if reverse else (a, b)
    for launched, word in ((source, "runs here already"), (destination, "waits here already")):
        host = launched.host
        option = ("--peer", "b") if host is pair.a else ("--listen", f"127.0.0.1:{pair.port}")
        refused = host.run("--vm", VM, *option, "--", *pair.guest(host.name), check=14)
        check_in(word, refused.stderr, "second launch while it runs")
        check_equal(len(said(refused)), 1, "lines about the second launch")
    line = migrate(source, destination)
    check_equal((line.leaves["7"].ebx & SMAP, line.leaves["1"].ecx & AES), (0, 0), "denied bits that the guest reads")
    check_moved_on(pair, source.host, source)
    check(destination.process.alive(), "the destination's QEMU is gone")
    wait_until(lambda: pair.record(destination.host)["place"] == "here", 5, "record of the destination")


def register(form, first, second):
    """One test of the whole path for QEMU versions, as words: own or other."""

    def function(t):
        paths = {"own": lambda: t.qemu_path, "other": lambda: t.second_qemu_path}
        whole_path(t, form, paths[first](), paths[second]())

    function.__name__ = f"test_moves_{form}_{first}_to_{second}"
    function.__module__ = __name__
    function.__doc__ = (
        f"--cpu-form {form}, {first} QEMU -> {second}: same pid, equal vCPUs, the guest's CPU stays; no second life"
    )
    test(timeout=90)(function)


for chosen_form in ("base", "host"):
    for pair_of in (("own", "own"), ("own", "other"), ("other", "own")):
        register(chosen_form, *pair_of)


@test(timeout=90)
def moves_the_other_way(t):
    """the guest starts on the side that listens and moves to the side that connected"""
    whole_path(t, "base", t.qemu_path, t.qemu_path, reverse=True)


@test(timeout=90)
def moves_the_other_way_to_the_other_qemu(t):
    """the same from the second QEMU to this one"""
    whole_path(t, "host", t.qemu_path, t.second_qemu_path, reverse=True)


def bare_difference(t, qemu_a, qemu_b, cpu_a="max", cpu_b="max"):
    """What happens without the program: completed, and another CPU."""
    source = t.qemu("source", binary=qemu_a, cpu=cpu_a)
    destination = t.qemu("destination", binary=qemu_b, cpu=cpu_b, incoming=True)
    source.serial.wait_lines(3)
    migrate_bare(source, destination, f"unix:{t.dir}/migration")
    destination.serial.wait_lines(3)
    check_equal(source.migration(), "completed", "what the source says of it")
    destination.serial.check_continues(source.serial)
    check(source.serial.last().leaves != destination.serial.last().leaves, "the CPU stays the same without the program")


@test()
def bare_same_qemu_changes_the_cpu(t):
    """bare QEMU, the hosts' policies as their CPUs: completed, and the guest reads other leaves"""
    bare_difference(t, t.qemu_path, t.qemu_path, "max,aes=off", "max,smap=off")


@test()
def bare_own_to_other_changes_the_cpu(t):
    """bare -cpu max from this QEMU to the second: completed, and the guest reads other leaves"""
    bare_difference(t, t.qemu_path, t.second_qemu_path)


@test()
def bare_other_to_own_changes_the_cpu(t):
    """bare -cpu max from the second QEMU to this one: completed, and the guest reads other leaves"""
    bare_difference(t, t.second_qemu_path, t.qemu_path)


def named(t, cpu_a, cpu_b, qemu_b=None, off=(), on=()):
    """A pair with these -cpu; the guest moves."""
    pair = Pair(t, qemu_b=qemu_b)
    a, b = pair.launch(guest_a=pair.guest("a", cpu=cpu_a), guest_b=pair.guest("b", cpu=cpu_b))
    names = feature_names(a.qmp) & feature_names(b.qmp)
    first, second = a.features(), b.features()
    check_equal({name for name in names if first[name] != second[name]}, set(), "features that only one vCPU has")
    check_equal([name for name in off if first[name]], [], "features that should be off")
    check_equal([name for name in on if not first[name]], [], "features that should be on")
    line = migrate(a, b, without_syscall=qemu_b is not None)
    check_quiet_cpu(a)
    check_quiet_cpu(b)
    return line, pair, a, b


def check_quiet_cpu(launched):
    """QEMU itself says nothing (the program may warn of what the model lacks here)."""
    lines = [line for line in said(launched.process) if not line.startswith("qemu-migrate-launch: ")]
    check_equal(lines, [], f"what QEMU says on {launched.host.name}")


@test()
def named_model_on_both(t):
    """-cpu Haswell on both: that model's signature, what TCG lacks is off on both and said"""
    line, _, a, _ = named(t, "Haswell", "Haswell", on=("avx2", "smep"), off=("adx", "tsc-deadline"))
    # Haswell-v1: family 6, model 60, stepping 4 (QEMU target/i386/cpu.c)
    check_equal(line.leaves["1"].eax, 0x306C4, "signature")
    check_in("tsc-deadline", a.process.stderr(), "what the program says of features that Haswell has and TCG has not")


@test()
def named_model_across_versions(t):
    """-cpu Haswell on both QEMU versions: equal vCPUs, though TCG of 10.0 can do more of it"""
    line, *_ = named(t, "Haswell", "Haswell", qemu_b=t.second_qemu_path)
    check_equal(line.leaves["1"].eax, 0x306C4, "signature")


@test()
def named_model_on_one(t):
    """-cpu Westmere on one and max on the other: Westmere on both"""
    line, *_ = named(t, "max", "Westmere", off=("avx2", "smap"), on=("aes",))
    check_equal(line.leaves["1"].eax, 0x206C1, "signature")


@test()
def words_of_one_side_count_on_both(t):
    """-cpu max,-f and max,f=off: off on both sides; +f of what is there: on"""
    named(t, "max,-smap,+adx", "max,rdrand=off", off=("smap", "rdrand"), on=("adx",))


@test()
def several_cpu_options(t):
    """of two -cpu the last counts, and -f beats +f, as in QEMU"""
    pair = Pair(t)
    guest = [*pair.guest("a", cpu="Westmere"), "-cpu", "max,+smap,-smap,adx=on,-adx"]
    a, b = pair.launch(guest_a=guest)
    check_same_features(a, b, off=("smap", "adx"))
    check_equal(a.argv.count("-cpu"), 1, "-cpu on the command line")


@test()
def require_of_a_denied_feature(t):
    """--require of what the other host denies: 10 on the initiator, who and what is named; nobody becomes QEMU"""
    pair = Pair(t, deny_b="smap")
    listener = pair.listen("--timeout", "9")
    line = pair.refused(pair.connect("--require", "smap,sse2"), 10, "smap", "b")
    check("sse2" not in line, f"what is there is named as missing: {line}")
    listener.wait(20)
    check(listener.poll() != 0, "the listener succeeded")
    check_equal(t.alive(), [], "processes afterwards")


@test()
def require_on_the_side_that_listens(t):
    """--require on the listening side: 10 there and at the initiator, too, by name; nobody becomes QEMU"""
    pair = Pair(t, deny_a="aes")
    listener = pair.listen("--timeout", "9", "--require", "aes")
    pair.refused(pair.connect("--timeout", "20"), 10, "aes")
    listener.expect_status(10, 20)
    check_in("aes", listener.stderr(), "what the listener says")
    check_equal(t.alive(), [], "processes afterwards")


@test()
def require_by_policy(t):
    """[policy] require of a feature that the other host denies: 10"""
    pair = Pair(t, deny_a="aes")
    pair.config(pair.b, more="[policy]\nrequire = aes\n")
    listener = pair.listen("--timeout", "9")
    pair.refused(pair.connect(), 10, "aes")
    listener.expect_status(10, 20)
    check_in("a gave up", listener.stderr(), "what the listener says")
    check_equal(t.alive(), [], "processes afterwards")


def mismatch(t, words, guest_a=None, guest_b=None):
    """Both ask for something that does not go together: 10 on both sides, whoever finds out, and they say what."""
    pair = Pair(t)
    listener = pair.listen("--timeout", "9", guest=guest_b and guest_b(pair))
    connector = pair.connect(guest=guest_a and guest_a(pair))
    pair.refused(connector, 10, *words)
    listener.expect_status(10, 20)
    for word in words:
        check_in(word, listener.stderr(), "what the listener says")
    check_equal(t.alive(), [], "processes afterwards")


@test()
def other_vendor(t):
    """vendors that differ: 10"""
    mismatch(
        t,
        ["vendor"],
        guest_a=lambda pair: pair.guest("a", cpu="max,vendor=GenuineIntel"),
        guest_b=lambda pair: pair.guest("b", cpu="max,vendor=AuthenticAMD"),
    )


@test()
def other_model(t):
    """two different named models: 10"""
    mismatch(
        t,
        ["Haswell", "Westmere"],
        guest_a=lambda pair: pair.guest("a", cpu="Haswell"),
        guest_b=lambda pair: pair.guest("b", cpu="Westmere"),
    )


@test()
def other_machine_family(t):
    """q35 here and pc there: 10"""
    mismatch(t, ["q35"], guest_b=lambda pair: pair.guest("b", machine="pc"))


@test()
def other_machine_version(t):
    """pc-q35-7.1 here and pc-q35-7.2 there: 10"""
    mismatch(
        t,
        ["pc-q35-7.1", "pc-q35-7.2"],
        guest_a=lambda pair: pair.guest("a", machine="pc-q35-7.1"),
        guest_b=lambda pair: pair.guest("b", machine="pc-q35-7.2"),
    )


@test()
def other_accelerator(t):
    """kvm here and tcg there: 10"""
    t.need_kvm()
    mismatch(t, ["kvm", "tcg"], guest_a=lambda pair: [w.replace("accel=tcg", "accel=kvm") for w in pair.guest("a")])


@test()
def other_kernel_irqchip_or_cpu_pm(t):
    """-overcommit cpu-pm=on on one only: 10"""
    mismatch(t, ["cpu-pm"], guest_a=lambda pair: [*pair.guest("a"), "-overcommit", "cpu-pm=on"])


@test()
def both_would_start_the_guest(t):
    """no --incoming on either: 10, since two guests would run"""
    pair = Pair(t)
    pair.roles["b"] = []
    listener = pair.listen("--timeout", "9")
    pair.refused(pair.connect(), 10, "--incoming")
    listener.expect_status(10, 20)
    check_equal(t.alive(), [], "processes afterwards")


@test()
def another_vm(t):
    """the two talk of different VMs: 10"""
    pair = Pair(t)
    listener = pair.listen("--timeout", "9")
    other = pair.a.start("--vm", "web2", "--peer", "b", "--", *pair.guest("a"))
    pair.refused(other, 10, "web1", "web2")
    listener.expect_status(10, 20)
    check_equal(t.alive(), [], "processes afterwards")


@test()
def plain_incoming(t):
    """--plain-incoming: QEMU gets exactly that -incoming; migrate leaves the rest to who wanted it so: 13"""
    pair = Pair(t)
    pair.roles["b"] = []
    uri = f"tcp:127.0.0.1:{free_port()}"
    listener = pair.listen("--plain-incoming", uri)
    connector = pair.connect()
    a, b = Launched(pair.a, connector, "a"), Launched(pair.b, listener, "b")
    check_equal(end_of_word("-incoming", b.argv), uri, "-incoming")
    a.serial.wait_lines(3)
    refused = a.host.run("migrate", VM, check=13)
    check_in("--plain-incoming", refused.stderr, "what migrate says")
    check_equal((a.status(), pair.record(pair.a)["place"]), ("running", "here"), "state of the guest")
    a.qmp.command("migrate", uri=uri)
    wait_until(lambda: b.status() == "running", 20, "running destination")
    b.serial.wait_lines(4)
    b.serial.check_continues(a.serial)


@test()
def keep_source(t):
    """--keep-source: the source's QEMU stays, paused; nothing starts the guest again beside it"""
    pair = Pair(t)
    a, b = pair.launch()
    migrate(a, b, "--keep-source")
    check(a.process.alive(), "the source's QEMU is gone")
    check_equal(a.status(), "postmigrate", "state of the source")
    check_in("moved", pair.a.run("--vm", VM, "--peer", "b", "--", *pair.guest("a"), check=14).stderr, "second launch")


@test()
def destination_gone(t):
    """the destination's QEMU was ended: 13, that is told, the guest runs on at the source"""
    pair = Pair(t)
    a, b = pair.launch()
    a.serial.wait_lines(2)
    b.process.kill()
    refused = a.host.run("migrate", VM, check=13, timeout=40)
    check_in("runs on here", refused.stderr, "what migrate says")
    # A guardian whom nobody has come to goes with its QEMU: sometimes before it is asked.
    words = ("its QEMU has ended", "nobody listens there", "closed the connection before it answered")
    check(any(word in refused.stderr for word in words), f"what migrate says: {refused.stderr}")
    check_equal((a.status(), pair.record(pair.a)["place"]), ("running", "here"), "state of the guest")
    a.serial.wait_more()
    a.serial.check_monotonic()


@test()
def memory_beyond_the_address_bits(t):
    """-m with more hot-pluggable memory than 40 address bits hold: 10 on both sides, naming the host and the bits"""
    pair = Pair(t)
    memory = "1G,maxmem=1000G,slots=64"
    listener = pair.listen("--timeout", "9", guest=pair.guest("b", memory=memory))
    pair.refused(pair.connect(guest=pair.guest("a", memory=memory)), 10, "physical address bits", "only 40")
    listener.expect_status(10, 20)
    check_equal(t.alive(), [], "processes afterwards")


@test()
def own_mistake_ends_the_listener(t):
    """a feature that the listener's own QEMU does not have: 64 there as soon as a peer comes, not a wait for others"""
    pair = Pair(t)
    listener = pair.listen(guest=pair.guest("b", cpu="max,smapp=off"))
    listener.wait_output("waiting for a peer")
    connector = pair.connect("--timeout", "10")
    listener.expect_status(64, 20)
    check_in("'smapp'", listener.stderr(), "what the listener says")
    connector.expect_status(64, 20)
    check_equal(t.alive(), [], "processes afterwards")


@test()
def two_peers_at_one_address(t):
    """--peer ADDRESS that several trust entries have: 77, and it asks for a name"""
    pair = Pair(t)
    pair.a.trust(t.host("c"), address="127.0.0.1:1")
    refused = pair.a.run("--vm", VM, "--peer", "127.0.0.1", "--", *pair.guest("a"), check=77)
    check_in("several trust entries", refused.stderr, "what it says")


@test()
def behind_a_port_forward(t):
    """a forward takes connections while nobody is behind it: the launch waits, and goes on when b has come"""
    pair = Pair(t)
    with Proxy(pair.port) as forward:
        pair.a.run("trust", "remove", "b", check=0)
        pair.a.trust(pair.b, address=forward.address)
        connector = pair.connect("--dry-run", "--timeout", 20)
        waits = f"waiting for b: nobody answers at 127.0.0.1 port {forward.port} yet"
        wait_until(lambda: waits in connector.stderr(), 10, f"word of waiting: {connector.stderr()}")
        listener = pair.listen("--dry-run", "--timeout", 20)
        for process in (connector, listener):
            check_equal(process.wait(30), 0, f"{process.name}: {process.stderr()}")
        alone = pair.connect("--dry-run", "--timeout", 1)
        check_equal(alone.wait(20), 69, f"nobody comes: {alone.stderr()}")
        check_in("see that what should answer there", alone.stderr(), "what it says then")
