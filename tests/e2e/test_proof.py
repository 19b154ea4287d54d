# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: what guests really see decides. Equal tables, what is masked, what is refused, what a broken QEMU does to
it, and what is remembered of it.

The program says -cpu in the same words on both hosts, so a host whose guests see something else is made with a script
that becomes the real QEMU with another -cpu: a stand-in for a KVM that does not do as it is told."""
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from lib.harness import check, check_equal, check_in, in_turn, test, wait_until
from lib.pair import VM, Launched, Pair, end_of_word, said

TABLE_AT = 65536  # where rom.S leaves its table in the guest's memory
# For a script that is given QEMU's arguments: $kind is proof, memory or other (a probe, or the guest itself).
SCRIPT = """#!/bin/sh
kind=other qemu={qemu}
for word in "$@"; do
    case $word in isa-debug-exit*) kind=proof ;; -preconfig) kind=memory ;; esac
    case $word in memory-backend-file,*) ram=${{word#*mem-path=}} ram=${{ram%%,*}} ;; esac
done
echo $kind >>{log}
last=
for word in "$@"; do
    shift
    if [ "$last" = -cpu ]; then
        cpu=$word
        case $cpu in *enforce=on*) {agreed} ;; esac
        word=$cpu
    fi
    last=$word
    case $word in memory-backend-file,*)
        [ -z "{own}" ] || word="${{word%%mem-path=*}}mem-path={own},${{word#*mem-path=*,}}" ;;
    esac
    set -- "$@" "$word"
done
if [ $kind = proof ]; then
    :; {proof}
fi
exec "$qemu" "$@"
"""


def host_with(t, pair, name, agreed="", proof="", qemu=None, own=None):
    """The QEMU of host `name` becomes a script: `agreed` are shell words that change $cpu when it is one that was
    agreed on (a probe's is not), `proof` is what it does before it becomes QEMU for the proof. `own`: shell words for
    what happens to the guest's memory, a file $own, before the program sees it, which reads a table when it is whole."""
    path = t.dir / f"qemu-{name}"
    memory = ""
    if own:
        memory = t.dir / f"ram-{name}"
        with memory.open("wb") as file:
            file.truncate(16 << 20)
        copy = "dd if=$own of=$ram bs=16M conv=notrunc status=none"
        proof = f'own={memory}; "$qemu" "$@"; status=$?; {own}; {copy}; exit $status'
    words = {"log": t.dir / f"starts-{name}", "agreed": agreed, "proof": proof, "qemu": qemu or pair.qemu[name]}
    path.write_text(SCRIPT.format(own=memory, **words))
    path.chmod(0o755)
    pair.qemu[name] = str(path)
    return path


@contextmanager
def subfolder(t, name):
    """The test's folder is one of that name in it, for a pair of hosts among several."""
    kept, t.dir = t.dir, t.dir / name
    t.dir.mkdir()
    try:
        yield
    finally:
        t.dir = kept


def proofs_of(t, name):
    """How often the QEMU of host `name` (host_with) was started for a proof."""
    path = t.dir / f"starts-{name}"
    return path.read_text().split().count("proof") if path.exists() else 0


def add(words, only="*"):
    """Shell words for host_with: more properties behind a -cpu."""
    return f"case $cpu in {only}) cpu=$cpu,{words} ;; esac"


def document(host):
    """The text of the agreement that is in force on a host; None: there is none."""
    path = host.home / "state" / "agreements" / f"{VM}.json"
    return path.read_text() if path.exists() else None


def agreement(host):
    """The payload of the agreement on a host."""
    text = json.loads(document(host))["agreement"]["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def digest(table):
    """As FORMATS has it: of the compact JSON with sorted keys."""
    return hashlib.sha256(json.dumps(table, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def print_guest(t):
    """tests/print-guest.c, built beside the program, or where bad-peer is."""
    places = [t.program.parent, Path(os.environ.get("QML_BAD_PEER") or t.program).parent]
    found = [place / "print-guest" for place in places if os.access(place / "print-guest", os.X_OK)]
    if not found:
        t.skip("print-guest is neither beside the program nor beside QML_BAD_PEER")
    return found[0]


def digest_seen(t, qemu, accel, machine, cpu, *more):
    """The digest of what a guest sees under this QEMU, without the program."""
    return t.run(print_guest(t), "digest", qemu, accel, machine, cpu, *more, check=0).stdout.strip()


def kvm(words):
    """A guest's words, under KVM."""
    return [word.replace("accel=tcg", "accel=kvm") for word in words]


def agree(pair, *options, a_options=(), b_options=(), guest_a=None, guest_b=None):
    """Both with --dry-run --json to a good end, an exchange each time; returns (a's document, b's, a's standard error,
    b's)."""
    options = ("--renegotiate", "--dry-run", "--json", "--timeout", "40", *options)
    listener = pair.listen(*options, *b_options, guest=guest_b)
    connector = pair.connect(*options, *a_options, guest=guest_a)
    for process in (connector, listener):
        process.expect_status(0, 60)
    return json.loads(connector.stdout()), json.loads(listener.stdout()), connector.stderr(), listener.stderr()


def differ(pair, *options, guest_a=None, guest_b=None):
    """A launch that ends with 11 on the initiator, and the listener tells why; nothing has begun. Returns the lines of
    a that tell differences."""
    listener = pair.listen("--renegotiate", *options, guest=guest_b)
    connector = pair.connect("--renegotiate", "--timeout", "40", *options, guest=guest_a)
    connector.expect_status(11, 60)
    listener.wait_output("a gave up: a guest would not see the same CPU on a and b: ")
    check_nothing(pair, listener)
    lines = [line for line in said(connector) if ": accepted: " not in line]
    check_in("a guest would not see the same CPU on a and b: ", lines[-1], "the last line")
    check_in("--accept-row ", lines[-2], "the line before it")
    count = re.search(r" \(and ([0-9]+) more\)$", lines[-1])
    check_equal(len(lines) - 2, int(count.group(1)) + 1 if count else 1, f"differences told: {lines}")
    told = [line.removeprefix("qemu-migrate-launch: ") for line in lines[:-2]]
    first = re.sub(r" \(and [0-9]+ more\)$", "", lines[-1].split("the same CPU on a and b: ")[1])
    check(told[0].startswith(first), f"the last line has {first!r}, the first {told[0]!r}")
    check_in(first, listener.stderr(), "what the listener says")
    rows = re.findall(r"--accept-row (\S+)", lines[-2])
    check_equal(rows, sorted(set(rows)), "rows to accept, sorted, each once")
    return told, rows


def check_nothing(pair, *but):
    """No agreement in force, none pending, no QEMU, nothing that runs but these Processes, which are ended."""
    for host in (pair.a, pair.b):
        folder = host.home / "state" / "agreements"
        check_equal(sorted(path.name for path in folder.glob("*")), [], f"agreements on {host.name}")
        check(not (host.home / "state" / "vms" / f"{VM}.json").exists(), f"a record on {host.name}")
    known = [process.pid for process in but]
    wait_until(lambda: not [pid for pid, _ in pair.t.alive() if pid not in known], 10, f"end of {pair.t.alive()}")
    for process in but:
        process.kill()


# Equal.


@test()
def agreement_holds_the_table(t):
    """a pair's agreement, the same bytes on both, has the table that a guest sees under that -cpu, and its digests"""
    pair = Pair(t)
    a, b = pair.launch()
    check_equal(document(pair.a), document(pair.b), "the agreement on both")
    found = agreement(pair.a)
    check_equal((found["proof"]["accepted"], found["proof"]["masked"]), ([], []), "exceptions")
    mine = digest(found["proof"]["table"])
    check_equal([party["table"] for party in found["parties"]], [mine, mine], "digests of the parties' tables")
    check(len(found["proof"]["table"]["cpuid"]) > 30, "a table of few rows")
    for launched in (a, b):
        cpu = end_of_word("-cpu", launched.argv)
        bare = digest_seen(t, t.qemu_path, "tcg", found["machine"], cpu)
        check_equal(bare, mine, f"what {cpu} is without the program")
        check_equal(said(launched.process), [], f"what {launched.host.name} has to say")
        record = pair.record(launched.host)
        wanted = {"machine": found["machine"], "accel": "tcg", "cpu_pm": False, "memory": "size=16"}
        check_equal((record["qemu"], record["arguments"]), (t.qemu_path, wanted), "the record")


def table_between_versions(t, form):
    pair = Pair(t, qemu_b=t.second_qemu_path)
    for cpu in ("max", "Haswell", "EPYC-v3", "qemu64", "486"):
        guests = {"guest_a": pair.guest("a", cpu=cpu), "guest_b": pair.guest("b", cpu=cpu)}
        one, other, *_ = agree(pair, "--cpu-form", form, **guests)
        found = agreement(pair.a)
        mine = digest(found["proof"]["table"])
        check_equal((one["proof"]["table"], other["proof"]["table"]), (mine, mine), f"{cpu}: digests in the documents")
        check_equal([party["table"] for party in found["parties"]], [mine, mine], f"{cpu}: the parties' digests")
        check_equal((found["proof"]["accepted"], found["proof"]["masked"]), ([], []), f"{cpu}: exceptions")
        for name, seen in ((host["name"], host["cpu"]) for host in one["hosts"]):
            bare = digest_seen(t, pair.qemu[name], "tcg", one["machine"], seen)
            check_equal(bare, mine, f"{cpu}: what {seen} is on {name} without the program")
        check_equal(found["proof"]["table"]["mode"], 32 if cpu == "486" else 64, f"{cpu}: mode")


for chosen_form in ("named", "base", "host"):

    def function(t, form=chosen_form):
        table_between_versions(t, form)

    function.__name__ = f"test_equal_between_versions_{chosen_form}"
    function.__module__ = __name__
    function.__doc__ = f"--cpu-form {chosen_form}: both QEMU versions' guests see the same, for max and named models"
    test(timeout=120)(function)


@test()
def member_of_the_document(t):
    """--dry-run --json: proof has the table's digest, what was accepted and masked, and doubts; null without one"""
    pair = Pair(t, deny_b="smap")
    one, other, *_ = agree(pair)
    check_equal(sorted(one["proof"]), ["accepted", "doubts", "masked", "table"], "members")
    check_equal(one["proof"], other["proof"], "proof on both")
    check_equal(one["proof"], {"accepted": [], "doubts": [], "masked": [], "table": one["proof"]["table"]}, "proof")
    one, other, *_ = agree(pair, "--no-proof")
    check_equal((one["proof"], other["proof"]), (None, None), "proof that was left out")


# What is masked.


@test(timeout=90)
def smap_on_one_side_is_masked(t):
    """smap that the guest does not see on one side is off on both, told as lost there, and both boot equal"""
    pair = Pair(t)
    host_with(t, pair, "b", add("smap=off"))
    a, b = pair.launch()
    for launched in (a, b):
        check_equal(launched.features()["smap"], False, f"smap on {launched.host.name}")
        check_in("smap=off", end_of_word("-cpu", launched.argv), f"-cpu on {launched.host.name}")
        check_in("SECURITY feature smap is lost (b: qemu)", launched.process.stderr(), launched.host.name)
    check_equal(document(pair.a), document(pair.b), "the agreement on both")
    found = agreement(pair.b)
    check_equal(found["proof"]["masked"], ["smap"], "masked in the agreement")
    check("smap" not in found["baseline"]["features"], "smap was agreed on")
    check_equal({party["table"] for party in found["parties"]}, {digest(found["proof"]["table"])}, "digests")
    row = next(row for row in found["proof"]["table"]["cpuid"] if row[:2] == [7, 0])
    check_equal(row[3] >> 20 & 1, 0, "smap in the table")
    first, second = a.features(), b.features()
    check_equal({name for name in first if first[name] != second.get(name)}, set(), "properties that differ")


@test(timeout=90)
def masked_in_every_form(t):
    """features of several leaves that one side's guest lacks: dropped says who and why, proof.masked lists them"""
    lost = {"smap": True, "rdrand": False, "avx2": False, "syscall": False, "xgetbv1": False}
    for form, side in (("named", "a"), ("base", "b"), ("host", "a")):
        with subfolder(t, form):
            pair = Pair(t)
            host_with(t, pair, side, add(",".join(f"{name}=off" for name in lost)))
            one, other, *_ = agree(pair, "--cpu-form", form)
        check_equal((one["proof"], one["features"]), (other["proof"], other["features"]), f"{form}: on both")
        check(set(lost) <= set(one["proof"]["masked"]), f"{form}: masked {one['proof']['masked']}")
        dropped = {loss["feature"]: loss for loss in one["dropped"]}
        for name, security in lost.items():
            wanted = {"feature": name, "missing_on": [{"host": side, "why": "qemu"}], "security": security}
            check_equal(dropped[name], wanted, f"{form}: {name} in dropped")
            check(name not in one["features"], f"{form}: the guest gets {name}")
        for host in one["hosts"]:
            for name in lost:
                on = re.search(rf"(^|,){re.escape(name)}=on", host["cpu"])
                check(not on, f"{form}: {name} in {host['cpu']}")


@test()
def refused_by_name_is_masked(t):
    """a feature that QEMU itself refuses by name when the CPU is to be proven is off on both, too"""
    pair = Pair(t)
    words = "warning: TCG doesn't support requested feature: CPUID.07H:EBX.smap [bit 20]"
    host_with(
        t, pair, "b", proof=f"""case $cpu in *smap=off*) ;; *) echo "qemu: {words}" >&2
        echo "qemu: TCG doesn't support requested features" >&2; exit 1 ;; esac"""
    )
    one, other, a_says, b_says = agree(pair)
    check_equal((one["proof"]["masked"], other["proof"]["masked"]), (["smap"], ["smap"]), "masked")
    for text in (a_says, b_says):
        check_in("SECURITY feature smap is lost (b: qemu)", text, "what is said")


def loses_one_each_time(names):
    """A guest that lacks another of these features each time the one before is switched off."""
    text = ""
    for name in names:
        text += f"case ,$cpu, in *,{name}=off,*) ;; *) cpu=$cpu,{name}=off; break ;; esac; "
    return f"while :; do {text} break; done"


@test()
def three_rounds_of_masking(t):
    """another feature is missing after each masking: three times that is masked, and no fourth time (11)"""
    pair = Pair(t)
    host_with(t, pair, "b", loses_one_each_time(["adx", "smap", "rdrand"]))
    one, *_ = agree(pair, "--cpu-form", "host")
    check_equal(one["proof"]["masked"], ["adx", "rdrand", "smap"], "masked")
    check_equal(proofs_of(t, "b"), 4, "proofs")
    for host in (pair.a, pair.b):
        shutil.rmtree(host.home / "state")
    host_with(t, pair, "b", loses_one_each_time(["adx", "smap", "rdrand", "avx2"]), qemu=t.qemu_path)
    lines, rows = differ(pair, "--cpu-form", "host")
    check_in("host b: leaf 7 EBX bit 5 (avx2) is 0, elsewhere 1", lines, "what differs")
    check_equal(rows, ["7.0"], "rows")


@test()
def kvm_bit_on_one_side_is_masked(t):
    """under KVM a kvm-* bit that only one guest sees is off on both"""
    t.need_kvm()
    pair = Pair(t)
    host_with(t, pair, "b", add("kvm-pv-eoi=off"))
    guests = {f"guest_{name}": kvm(pair.guest(name, cpu="host,arch-capabilities=off")) for name in "ab"}
    one, other, *_ = agree(pair, **guests)
    check_equal((one["proof"]["masked"], other["proof"]["masked"]), (["kvm-pv-eoi"], ["kvm-pv-eoi"]), "masked")
    dropped = {loss["feature"]: loss["missing_on"] for loss in one["dropped"]}
    check_equal(dropped["kvm-pv-eoi"], [{"host": "b", "why": "kvm"}], "dropped")


# What cannot be masked.


def trouble(name, agreed, words, rows, cpu="max", options=(), doc=""):
    """A test: b's guest sees something else, and masking cannot mend it: 11 with the words; or accepted."""

    def function(t):
        pair = Pair(t)
        host_with(t, pair, "b", agreed)
        guests = {f"guest_{side}": pair.guest(side, cpu=cpu) for side in "ab"}
        lines, told = differ(pair, *options, **guests)
        for text in words:
            check(any(text in line for line in lines), f"no {text!r} in {lines}")
        check_equal(told, rows, "rows to accept")
        accept(t, pair, rows, options, guests)

    function.__name__ = f"test_{name}"
    function.__module__ = __name__
    function.__doc__ = doc
    test(timeout=90)(function)


def accept(t, pair, rows, options, guests):
    """With these rows and one that does not differ: agreed, recorded and said aloud on both; with one less: 11."""
    words = [word for row in rows for word in ("--accept-row", row)]
    half = len(rows) // 2 * 2  # some of them by the one who listens, the others by the one who connects
    one, other, a_says, b_says = agree(
        pair, *options, a_options=[*words[:half], "--accept-row", "0x80000007.0"], b_options=words[half:], **guests
    )
    found = agreement(pair.a)
    check_equal(document(pair.a), document(pair.b), "the agreement on both")
    for what in (found, one, other):
        check_equal(sorted(set(what["proof"]["accepted"])), rows, "accepted")
        check_equal(what["proof"]["accepted"], rows, "accepted, each row once")
    by_host = {party["host"]: party["table"] for party in found["parties"]}
    check(by_host["a"] != by_host["b"], "the parties' tables are the same")
    check_equal(digest(found["proof"]["table"]), by_host["a"], "the table is the signer's")
    digests = one["proof"]["table"], other["proof"]["table"]
    check_equal(digests, (by_host["a"], by_host["b"]), "digests in the documents")
    for text in (a_says, b_says):
        check(re.search(r"warning: accepted (here|by the other side, not here): ", text), f"what is said: {text}")
        check("0x80000007" not in text, "a row that does not differ is told")


trouble(
    "phys_bits", add("phys-bits=36"), ["leaf 0x80000008 (physical address bits) is 40 on a; 36 on b: -cpu phys-bits="],
    ["0x80000008.0"], doc="other physical address bits on one side: 11 with both numbers, or accepted by its row",
)
trouble(
    "stepping", add("stepping=7"), ["leaf 1 is family 23 model 1 stepping 2 on a; family 23 model 1 stepping 7 on b"],
    ["0x80000001.0", "1.0"], doc="another stepping on one side: 11 with both, or accepted by its rows",
)
trouble(
    "vendor", add("vendor=GenuineIntel"), ['leaf 0 (vendor) is "AuthenticAMD" on a; "GenuineIntel" on b: '],
    ["0.0", "0x80000000.0", "2.0", "4.0", "4.1", "4.2", "4.3"],
    doc="another vendor on one side, behind the profile's back: 11 with both, or accepted by its rows",
)
trouble(
    "legacy_cache", add("legacy-cache=on"), ["leaf 0x80000006 (L3 cache) is 8192 KiB", "legacy-cache=on"],
    ["0x80000005.0", "0x80000006.0"], cpu="EPYC",
    doc="legacy-cache on one side: 11 with the caches, or accepted by their rows",
)
trouble(
    "highest_leaf", add("level=10"), ["leaf 0 (highest basic leaf) is 0xd on a; 0xa on b: -cpu level="],
    ["0.0", "0xb.0", "0xb.1", "0xb.2"],
    doc="a lower CPUID level on one side: 11, and the rows that it cuts off but for XSAVE's, which go with masking",
)
trouble(
    "microcode", add("ucode-rev=0x77"), ["MSR 0x8b (microcode revision) is 0x1000065 on a; 0x77 on b: -cpu ucode-rev="],
    ["msr.0x8b"], doc="another microcode revision on one side: 11 with both, or accepted by its row",
)
trouble(
    "mask_that_is_ignored", add("smap=on", "*smap=off*"),
    ["host a: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1"], ["7.0"], cpu="max,smap=off",
    doc="a host that shows what is switched off, only one: 11, or accepted by its row",
)


@test(timeout=90)
def smp_that_differs(t):
    """-smp 2 here and 4 there, which is accepted where it is compared: 11, by the number of processors, and what to do"""
    pair = Pair(t)
    guests = {f"guest_{side}": [*pair.guest(side, cpu="EPYC"), "-smp", "2" if side == "a" else "4"] for side in "ab"}
    accepting = ["--accept-difference=-smp"]
    lines, rows = differ(pair, *accepting, **guests)
    words = "leaf 1 (logical processors in the package) is 2 on a; 4 on b: give both the same -smp"
    check_in(words, lines[0], "what is said")
    accept(t, pair, rows, accepting, guests)


@test(timeout=90)
def smp_with_dies_between_versions(t):
    """-smp 8,dies=2, which the QEMU versions lay out in different ways: 11, or accepted by its rows; -smp 8 is equal"""
    pair = Pair(t, qemu_b=t.second_qemu_path)
    guests = {f"guest_{name}": [*pair.guest(name, cpu="EPYC-v3"), "-smp", "8,dies=2"] for name in "ab"}
    lines, rows = differ(pair, **guests)
    for text in (
        "leaf 1 (logical processors in the package) is 4 on a; 8 on b: ",
        "leaf 0xb.1 (topology) is level core with 4 logical processors, ",
        "leaf 0x80000008 (threads, less 1) is 3 on a; 7 on b: ",
    ):
        told = [line for line in lines if text in line and "lay out one -smp in different ways" in line]
        check_equal(len(told), 1, f"lines with {text!r} in {lines}")
    check_equal(rows, ["0x80000008.0", "0xb.1", "1.0"], "rows to accept")
    accept(t, pair, rows, (), guests)
    for name in "ab":
        guests[f"guest_{name}"][-1] = "8"
    check_equal(agree(pair, **guests)[0]["proof"]["accepted"], [], "rows accepted for -smp 8")


@test()
def max_between_versions_when_not_told(t):
    """-cpu max of 7.2 and 10.0, when the second takes no other: 11 with the bits that only one of them shows"""
    pair = Pair(t, qemu_b=t.second_qemu_path)
    host_with(t, pair, "b", "cpu=max")
    lines, _ = differ(pair)
    for text in ("leaf 1 ECX bit 21 (x2apic)", "leaf 7 EBX bit 29 (sha-ni)", "leaf 7 EDX bit 4 (fsrm)"):
        check_in(f"host a: {text} is 0, elsewhere 1", lines, "what differs")
    check(len(lines) <= 25, f"{len(lines)} lines")


@test()
def some_rows_are_not_all(t):
    """--accept-row of one of two rows: 11, and only the other is told"""
    pair = Pair(t)
    host_with(t, pair, "b", add("phys-bits=36,ucode-rev=0x77"))
    lines, rows = differ(pair, "--accept-row", "msr.0x8b")
    check_equal((len(lines), rows), (1, ["0x80000008.0"]), "what is told")
    check_in("physical address bits", lines[0], "what is told")


DOCTOR = """\
import os, struct, sys, zlib
ram, leaf, sub, *values = sys.argv[1], *(int(word, 0) for word in sys.argv[2:])
with open(ram, "r+b") as file:
    file.seek({at})
    head = file.read(16)
    magic, version, count, size = struct.unpack("<4sIII", head)
    rows = bytearray(file.read(size - 20))
    for start in range(0, len(rows), 25):
        kind, *fields = struct.unpack_from("<B6I", rows, start)
        if (kind, *fields[:2]) == (2, leaf, sub):
            struct.pack_into("<B6I", rows, start, 2, leaf, sub, *values)
    file.seek({at} + 16)
    file.write(bytes(rows) + struct.pack("<I", zlib.crc32(head + rows)))
"""


def doctored(t, *words):
    """Shell words for host_with's `own`: this row of the guest's table gets these values."""
    (t.dir / "doctor.py").write_text(DOCTOR.format(at=TABLE_AT))
    return f"{sys.executable} {t.dir}/doctor.py $own {' '.join(words)}"


@test()
def pmu_on_one_side(t):
    """performance counters that only one guest sees (as of another KVM: nothing here has them): 11, with pmu=off"""
    pair = Pair(t)
    host_with(t, pair, "b", own=doctored(t, "0xa", "0", "0x08300802", "0", "0", "0x603"))
    lines, rows = differ(pair, guest_a=pair.guest("a", cpu="Haswell"), guest_b=pair.guest("b", cpu="Haswell"))
    check_equal((len(lines), rows), (1, ["0xa.0"]), "what is told")
    check_in("(performance counters) is none (", lines[0], "what is told")
    check_in("version 2, 8 counters of 48 bits, 3 fixed of 48 bits", lines[0], "what is told")
    check_in("-cpu pmu=off hides it", lines[0], "what would help")


@test()
def masks_that_nobody_honours(t):
    """guests that see what is switched off, alike on both: agreed, and a warning says what; without it, none"""
    pair = Pair(t)
    for name in "ab":
        host_with(t, pair, name, add("smap=on"))
    one, other, a_says, b_says = agree(pair, guest_a=pair.guest("a", cpu="max,-smap"), guest_b=pair.guest("b"))
    for name, said_there, found in (("a", a_says, one), ("b", b_says, other)):
        doubt = f"on {name} a guest sees features that are switched off, which this QEMU does not honour: smap"
        check_in(f"warning: {doubt}\n", said_there, f"what {name} says")
        check_equal(found["proof"]["doubts"], [doubt], f"doubts of {name}")
    check("smap" not in one["features"], "smap was agreed on")


# --require, --no-proof, --accept-row.


@test()
def required_feature_that_is_not_seen(t):
    """--require of a feature that b's guest does not see: 10 on both, whoever requires it, naming it and b"""
    for words in ({"a_options": ["--require", "smap"]}, {"b_options": ["--require", "smap"]}):
        with subfolder(t, next(iter(words))):
            pair = Pair(t)
            host_with(t, pair, "b", add("smap=off"))
            listener = pair.listen("--timeout", "9", *words.get("b_options", []))
            line = pair.refused(pair.connect(*words.get("a_options", [])), 10, "smap")
            check(re.search(r"\bb\b.*qemu", line), f"who lacks it: {line}")
            listener.expect_status(10, 30)
            check_in("smap", listener.stderr(), "what the listener says")
            check_nothing(pair, listener)


@test()
def no_proof_on_both(t):
    """--no-proof on both: nobody starts a guest, the agreement and a warning say so"""
    pair = Pair(t)
    for name in "ab":
        host_with(t, pair, name)
    one, _, a_says, b_says = agree(pair, "--no-proof")
    check_equal((proofs_of(t, "a"), proofs_of(t, "b")), (0, 0), "proofs")
    found = agreement(pair.b)
    check_equal(found["proof"], None, "proof in the agreement")
    check_equal([party["table"] for party in found["parties"]], ["", ""], "digests")
    for text in (a_says, b_says):
        words = "warning: nobody has looked whether a guest sees the same CPU on both (--no-proof)"
        check_in(words, text, "what is said")
    check(one["features"], "no features")
    a, b = pair.launch("--no-proof")
    check_equal(a.features()["smap"], b.features()["smap"], "smap")
    check_equal(pair.record(pair.a)["arguments"], None, "arguments of a proof in the record")


@test()
def no_proof_on_one_side(t):
    """--no-proof on one side only: 10 on both, naming the side"""
    for name, words in (("a", {"a": ["--no-proof"], "b": []}), ("b", {"a": [], "b": ["--no-proof"]})):
        with subfolder(t, f"on-{name}"):
            pair = Pair(t)
            listener = pair.listen("--timeout", "9", *words["b"])
            text = f"--no-proof was given only on {name}: give it on both or none"
            pair.refused(pair.connect(*words["a"]), 10, text)
            listener.expect_status(10, 20)
            check_in(text, listener.stderr(), "what the listener says")
            check_nothing(pair)


@test()
def rows_that_are_none(t):
    """--accept-row of what is no row: 64 with one line; so is --accept-row with --no-proof"""
    pair = Pair(t)
    for row in (
        *("", "7", "7.", ".0", "x.0", "10.0", "7.10", "7.0.0", "msr", "msr.", "msr.8b", "msr.7.0", "0x.0"),
        *("0x123456789.0", "-1.0", "+1.0", " 7.0", "7.0 ", "7.-0", "0x7g.0", "smap", "7.0,8.0"),
    ):
        refused = pair.a.run("--vm", VM, "--peer", "b", "--accept-row", row, "--", *pair.guest("a"), check=64)
        check_equal(len(said(refused)), 1, f"lines about {row!r}")
        check_in("--accept-row", refused.stderr, f"what is said of {row!r}")
    both = ("--no-proof", "--accept-row", "7.0")
    refused = pair.a.run("--vm", VM, "--peer", "b", *both, "--", *pair.guest("a"), check=64)
    check_equal(len(said(refused)), 1, "lines")
    check_in("--no-proof", refused.stderr, "what is said")


# A QEMU that is of no use for it.


def failing(name, status, words, proof="", agreed="", timeout=60, cpu="max", own=None):
    """Tests, one for each side whose turn it is: the QEMU there fails in the proof. That status on both, one line each with the cause,
    the listener's or the initiator's with the host; nothing begins."""
    for side in in_turn(sum(name.encode()), "ab"):

        def function(t, side=side):
            pair = Pair(t)
            host_with(t, pair, side, agreed=agreed, proof=proof, own=own)
            guests = {f"guest_{one}": pair.guest(one, cpu=cpu) for one in "ab"}
            listener = pair.listen(guest=guests["guest_b"])
            connector = pair.connect("--timeout", "40", guest=guests["guest_a"])
            pair.refused(connector, status, *words, *(["b: "] if side == "b" else []))
            if side == "b" and status == 78:
                pair.refused(listener, status, *words)
            else:
                listener.wait_output("a gave up: " if side == "a" else "with a: ")
                for text in words:
                    check_in(text, listener.stderr(), "what the listener says")
                check_equal(len(said(listener)), 1, f"lines of the listener: {said(listener)}")
            check_nothing(pair, listener)
            kept = list(((pair.a if side == "a" else pair.b).home / "state" / "proofs").glob("*"))
            check(not kept or "hv-" in cpu, f"{side} keeps {kept}")

        function.__name__ = f"test_{name}_on_{side}"
        function.__module__ = __name__
        what = name.replace("_", " ")
        function.__doc__ = f"a QEMU that {what} in the proof, on {side}: {status} on both, the cause in a line"
        test(timeout=timeout)(function)


OVER = "oflag=seek_bytes conv=notrunc status=none"  # for dd to write into the guest's memory

failing("refuses_by_name", 10, ["QEMU refuses this CPU, since it cannot give avx512f"], agreed=add("avx512f=on"))
failing(
    "refuses", 78, ["exited with status 1 when it ran the built-in guest: no such thing"],
    proof="echo no such thing >&2; exit 1",
)
failing(
    "aborts", 78, ["was killed by signal 6 (Aborted) when it ran the built-in guest: oh dear"],
    proof="echo oh dear >&2; kill -6 $$",
)
failing("hangs", 78, ["did not come to its end in time: still here"], proof="echo still here >&2; exec sleep 100")
failing(
    "leaves_garbage", 78, ["gave no CPU table: the guest left something else in its memory than its CPU table"],
    proof=f"yes garbage | dd of=$ram seek={TABLE_AT} bs=1M count=1 iflag=fullblock {OVER}; exit 33",
)
failing("leaves_nothing", 78, ["gave no CPU table: the guest left nothing"], proof="exit 33")
failing(
    "leaves_half_a_table", 78, ["checksum is wrong"],
    own=f"dd if=/dev/zero of=$own seek={TABLE_AT + 500} bs=100 count=1 {OVER}",
)
failing(
    "does_not_know_hv", 10, ["hv-relaxed=on of -cpu cannot be had on ", "no such thing as hv"],
    proof="case $cpu in *hv-relaxed*) echo no such thing as hv >&2; exit 1 ;; esac",
    cpu="max,hv-relaxed=on,hv-vapic=on",
)
failing(
    "aborts_at_hv", 10, ["hv-time=on of -cpu cannot be had on ", "hv_time is not there"],
    proof="case $cpu in *hv-time*) echo hv_time is not there >&2; kill -6 $$ ;; esac",
    cpu="max,hv-relaxed=on,hv-time=on",
)


@test()
def hv_that_tcg_refuses(t):
    """hv-vpindex, which TCG really refuses: 10 on both, by that name, though others stand beside it"""
    pair = Pair(t)
    guests = {side: pair.guest(side, cpu="max,hv-relaxed=on,hv-vpindex=on,hv-time=on") for side in "ab"}
    listener = pair.listen(guest=guests["b"])
    pair.refused(pair.connect(guest=guests["a"]), 10, "b: hv-vpindex=on of -cpu cannot be had on b: ", "VP_INDEX")
    listener.wait_output("with a: hv-vpindex=on of -cpu cannot be had on b: ")
    check_nothing(pair, listener)


@test()
def hv_that_kvm_refuses(t):
    """hv-time where this KVM aborts at it: 10 on both, by that name; where it does not, an agreement"""
    t.need_kvm()
    pair = Pair(t)
    guests = {side: kvm(pair.guest(side, cpu="host,arch-capabilities=off,hv-relaxed=on,hv-time=on")) for side in "ab"}
    listener = pair.listen("--dry-run", guest=guests["b"])
    connector = pair.connect("--dry-run", "--timeout", "40", guest=guests["a"])
    if connector.wait(60) == 0:
        listener.expect_status(0)
        return
    pair.refused(connector, 10, "b: hv-time=on of -cpu cannot be had on b: ")
    listener.wait_output("with a: hv-time=on of -cpu cannot be had on b: ")
    check_nothing(pair, listener)


@test()
def listener_ends_with_11_at_its_deadline(t):
    """the listener that heard of differing tables goes on waiting, and ends with 11 when its time is over"""
    pair = Pair(t)
    host_with(t, pair, "b", add("phys-bits=36"))
    listener = pair.listen("--timeout", "9")
    pair.connect().expect_status(11, 40)
    check(listener.alive(), "the listener did not go on")
    listener.expect_status(11, 20)
    check_nothing(pair)


@test(timeout=90)
def listener_takes_the_next_try(t):
    """after differing tables the initiator is mended, and the same listener agrees with it"""
    pair = Pair(t)
    mend = host_with(t, pair, "a", add("phys-bits=36"))
    listener = pair.listen("--dry-run")
    pair.connect("--dry-run").expect_status(11, 40)
    mend.write_text(mend.read_text().replace("phys-bits=36", "phys-bits=40"))
    pair.connect("--dry-run").expect_status(0, 40)
    listener.expect_status(0, 20)


@test()
def memory_beyond_the_address_bits(t):
    """-m with more than the agreed address bits hold: 10 on both, naming the host that sets them; nobody proves"""
    pair = Pair(t)
    memory = "1G,maxmem=100G,slots=4"
    guests = {"a": pair.guest("a", memory=memory), "b": pair.guest("b", memory=memory, cpu="max,phys-bits=36")}
    for side in "ab":
        host_with(t, pair, side)
    guests = {side: [pair.qemu[side], *words[1:]] for side, words in guests.items()}
    listener = pair.listen("--timeout", "9", guest=guests["b"])
    pair.refused(pair.connect(guest=guests["a"]), 10, "(-m)", "physical address bits", "only 36")
    listener.expect_status(10, 20)
    check_equal((proofs_of(t, "a"), proofs_of(t, "b")), (0, 0), "proofs")
    check_nothing(pair)


@test()
def memory_that_qemu_does_not_take(t):
    """-m that only b's QEMU does not take for that CPU: 10 on both, with the words of -m and QEMU's reason"""
    pair = Pair(t)
    host_with(t, pair, "b", add("phys-bits=36"))
    guests = {side: pair.guest(side, memory="1G,maxmem=100G,slots=4") for side in "ab"}
    listener = pair.listen(guest=guests["b"])
    words = "QEMU does not take -m size=1G,maxmem=100G,slots=4: "
    pair.refused(pair.connect(guest=guests["a"]), 10, f"b: {words}", "phys-bits too low (36)")
    listener.wait_output(f"with a: {words}")
    check_nothing(pair, listener)


# What is remembered.


def proofs_made(t, pair, *options, guest_a=None, guest_b=None):
    """How many proofs QEMU is started for on (a, b) in one agreement, as -v tells."""
    *_, a_says, b_says = agree(pair, "-v", *options, guest_a=guest_a, guest_b=guest_b)
    return tuple(0 if "proven before" in text else 1 for text in (a_says, b_says))


def entries(host):
    """The files of the proofs that a host remembers."""
    return sorted((host.home / "state" / "proofs").glob("*"))


@test(timeout=120)
def second_launch_starts_no_guest(t):
    """the same launch again proves nothing anew, and says so with -v; another -cpu, -smp, machine or -m option does"""
    pair = Pair(t)
    check_equal(proofs_made(t, pair), (1, 1), "proofs of the first launch")
    first = agreement(pair.a)["proof"]
    one, other, a_says, b_says = agree(pair, "-v")
    for text in (a_says, b_says):
        check_in("proven before", text, "what -v says")
    check_equal(agreement(pair.a)["proof"], first, "the proof in the second agreement")
    check_equal(one["proof"], other["proof"], "proof on both")

    def guest(name, *more, **how):
        return [*pair.guest(name, **how), *more]

    for number, (more, how) in enumerate((
        ((), {"cpu": "max,-smap"}), (("-smp", "2"), {}), ((), {"machine": "q35,kernel-irqchip=on"}),
        ((), {"machine": "pc"}), ((), {"memory": 32}), (("-accel", "tcg,thread=single"), {"machine": "q35"}),
    )):
        guests = {f"guest_{name}": guest(name, *more, **how) for name in "ab"}
        if "-accel" in more:
            guests = {key: [word.replace(",accel=tcg", "") for word in words] for key, words in guests.items()}
        check_equal(proofs_made(t, pair, **guests), (1, 1), f"proofs with {more} {how}")
        if number < 2:
            check_equal(proofs_made(t, pair, **guests), (0, 0), f"proofs with {more} {how} again")
    check_equal(proofs_made(t, pair, "--cpu-form", "base"), (1, 1), "proofs of another form")
    check_equal(proofs_made(t, pair), (0, 0), "proofs of the first launch again")


@test(timeout=90)
def another_binary_is_proven_again(t):
    """a QEMU binary that was touched, and one that was replaced, is proven again"""
    (t.dir / "usr" / "bin").mkdir(parents=True)
    for name in ("share", "lib"):
        (t.dir / "usr" / name).symlink_to(f"/usr/{name}")
    copy = t.dir / "usr" / "bin" / "qemu-system-x86_64"
    shutil.copy(os.path.realpath(t.qemu_path), copy)
    pair = Pair(t)
    pair.qemu["b"] = str(copy)
    check_equal(proofs_made(t, pair), (1, 1), "proofs of the first launch")
    check_equal(proofs_made(t, pair), (0, 0), "proofs of the second launch")
    os.utime(copy, (1, 1))
    check_equal(proofs_made(t, pair), (0, 1), "proofs with a touched binary")
    check_equal(proofs_made(t, pair), (0, 0), "proofs after that")
    shutil.copy(os.path.realpath(t.qemu_path), f"{copy}.new")
    os.rename(f"{copy}.new", copy)
    check_equal(proofs_made(t, pair), (0, 1), "proofs with a replaced binary")


@test(timeout=90)
def script_is_proven_each_time(t):
    """a QEMU behind a script, whether it becomes QEMU or waits for it, may be another each time: proven anew"""
    for word in ("", "exec "):
        with subfolder(t, word.strip() or "waits"):
            script = t.dir / "script"
            script.write_text(f'#!/bin/sh\n{word}{t.qemu_path} "$@"\n')
            script.chmod(0o755)
            pair = Pair(t)
            pair.qemu["b"] = str(script)
            check_equal(proofs_made(t, pair), (1, 1), "proofs of the first launch")
            check_equal(proofs_made(t, pair), (0, 1), "proofs of the second launch")
            check_equal(entries(pair.b), [], "proofs that b keeps")


@test(timeout=120)
def remembered_proof_that_is_damaged(t):
    """a proof's file that is cut, empty, nonsense, another key's, writable for others, a link, a folder: made again"""
    pair = Pair(t)
    check_equal(proofs_made(t, pair), (1, 1), "proofs of the first launch")
    (path,) = entries(pair.b)
    check_equal(path.stat().st_mode & 0o777, 0o600, "mode")
    check_equal(path.parent.stat().st_mode & 0o777, 0o700, "mode of the folder")
    good = path.read_text()
    parsed = json.loads(good)
    check_equal((parsed["key"], sorted(parsed)), (path.stem, ["key", "table"]), "key in the file")

    def other_key():
        path.write_text(json.dumps({**parsed, "key": "0" * 64}))

    def linked():
        path.symlink_to(t.dir / "nowhere")

    def folder():
        path.mkdir()

    def writable():
        path.write_text(good)
        path.chmod(0o666)

    for damage in (
        lambda: path.write_text(good[: len(good) // 2]),
        lambda: path.write_text(""),
        lambda: path.write_text("garbage"),
        lambda: path.write_text(json.dumps({**parsed, "table": {**parsed["table"], "mode": 16}})),
        lambda: path.write_text(" " * 600000),
        *(other_key, writable, linked, folder),
    ):
        path.unlink()
        damage()
        check_equal(proofs_made(t, pair), (0, 1), "proofs after the damage")
    path.rmdir()
    check_equal(proofs_made(t, pair), (0, 1), "proofs after the folder is gone")
    check_equal(proofs_made(t, pair), (0, 0), "proofs when all is well again")
    check_equal(json.loads(path.read_text()), parsed, "what is kept")


@test()
def at_most_64_are_remembered(t):
    """at most 64 proofs are kept, the oldest go; another file in the folder stays"""
    pair = Pair(t)
    folder = pair.b.home / "state" / "proofs"
    folder.mkdir(parents=True, mode=0o700)
    (pair.b.home / "state").chmod(0o700)
    for number in range(64):
        path = folder / f"{number:064x}.json"
        path.write_text("{}")
        os.utime(path, (1000 + number, 1000 + number))
    (folder / "README").write_text("mine")
    os.utime(folder / "README", (1, 1))
    agree(pair)
    names = [path.name for path in entries(pair.b)]
    check_equal(len(names), 65, "files, with the one that is not the program's")
    check_in("README", names, "files")
    check(f"{0:064x}.json" not in names, "the oldest is still there")
    check(f"{1:064x}.json" in names, "the second oldest is gone")


@test()
def state_that_cannot_hold_proofs(t):
    """where no proof can be kept, the launch goes on, and nothing is said of it"""
    pair = Pair(t)
    (pair.b.home / "state").mkdir(mode=0o700, exist_ok=True)
    (pair.b.home / "state" / "proofs").write_text("not a folder")
    *_, b_says = agree(pair)
    check("proofs" not in b_says, f"b says {b_says}")


# Signals.


def hung(t, pair, name):
    """The QEMU of host `name` boots another guest than the proof's, which never ends, while the file `hang` exists."""
    (t.dir / "hang").touch()
    return host_with(t, pair, name, proof=f"""if [ -e {t.dir}/hang ]; then
    for word in "$@"; do shift; case $word in /proc/*/fd/*) word={t.counter} ;; esac; set -- "$@" "$word"; done
    fi""")


def hanging(t):
    """The pids of QEMUs that hang in a proof (hung) and have their memory already."""
    found = []
    for pid, command in t.alive():
        if "isa-debug-exit" in command and str(t.counter) in command:
            try:
                maps = Path(f"/proc/{pid}/maps").read_text()
            except OSError:  # it ended meanwhile
                continue
            found += [pid] if "/memfd:" in maps else []
    return found


def signalled(name, who, where, number, status, limit):
    """A test: `number` to the program on `who` while the proof hangs on `where`."""

    def function(t):
        pair = Pair(t)
        hung(t, pair, where)
        listener = pair.listen("--timeout", "30")
        connector = pair.connect("--timeout", "12")
        wait_until(lambda: hanging(t), 15, "hanging proof")
        hit, other = (connector, listener) if who == "a" else (listener, connector)
        began = time.monotonic()
        hit.signal(number)
        hit.expect_status(status, limit)
        if who == where:  # the other hears of it at once
            wait_until(lambda: not hanging(t), 3, f"end of {t.alive()}")
        check(time.monotonic() - began < limit, "it took too long")
        if who == "b":
            other.wait(15)  # when b has shown its table already, only when its own proof's 10 s are over
            check(other.poll() not in (0, None), "the initiator's status")
            check_equal(len(said(other)), 1, f"lines of the initiator: {said(other)}")
        elif where == "a":
            check(other.alive(), "the listener does not wait on")
        hit.kill()
        other.kill()
        check_nothing(pair)
        (t.dir / "hang").unlink()
        agree(pair)

    function.__name__ = f"test_{name}_{who}_while_{where}_hangs"
    function.__module__ = __name__
    what = "it ends, no QEMU stays, the next launch agrees"
    function.__doc__ = f"{name} to {who} while the proof on {where} hangs: {what}"
    test(timeout=90)(function)


for row, chosen_who in enumerate("ab"):
    for chosen_where in in_turn(row + 1, "ab"):
        signalled("interrupt", chosen_who, chosen_where, signal.SIGINT, 130, 6)
    signalled("kill", chosen_who, chosen_who, signal.SIGKILL, -9, 14)


# What a fresh pair of eyes found.


@test()
def memory_and_properties(t):
    """-m that QEMU does not take beside a property of -cpu: 10 with the memory's reason, on both"""
    pair = Pair(t)
    guests = {f"guest_{name}": pair.guest(name, cpu="max,l3-cache=on") for name in "ab"}
    for words in guests.values():
        words[words.index("-m") + 1] = "64,slots=2"
    listener = pair.listen("--timeout", "9", guest=guests["guest_b"])
    pair.refused(pair.connect(guest=guests["guest_a"]), 10, "QEMU does not take -m")
    listener.expect_status(10, 30)


@test(timeout=90)
def required_feature_that_nobody_sees(t):
    """--require of a feature that both profiles have and no guest sees: 10, though the tables are equal"""
    pair = Pair(t)
    for name in "ab":
        host_with(t, pair, name, add("smap=off"))
    listener = pair.listen("--timeout", "9", "--require", "smap")
    pair.refused(pair.connect("--require", "smap"), 10, "smap is required and cannot be had on ", "does not see it")
    listener.expect_status(10, 30)
    check_nothing(pair)


@test(timeout=90)
def accepted_row_keeps_no_feature(t):
    """a feature that can be left out is left out, whatever rows are accepted; security features aloud"""
    pair = Pair(t)
    host_with(t, pair, "b", add("smap=off", "*smap=on*|*EPYC*"))
    one, other, a_says, b_says = agree(pair, a_options=["--accept-row", "7.0"])
    for told, text in ((one, a_says), (other, b_says)):
        check_equal((told["proof"]["masked"], told["proof"]["accepted"]), (["smap"], []), "masked and accepted")
        check_in("SECURITY feature smap is lost (b: qemu)", text, "what is said")


@test(timeout=90)
def both_prove_at_once(t):
    """the two sides' proofs run at the same time, while the exchange goes on"""
    pair = Pair(t)
    spans = {}
    for name in "ab":
        note = f'date +%s.%N >>"{t.dir}/span-{name}"'
        host_with(t, pair, name, proof=f"{note}; sleep 1.5; {note}")
    agree(pair)
    for name in "ab":
        spans[name] = [float(line) for line in (t.dir / f"span-{name}").read_text().split()]
        check_equal(len(spans[name]), 2, f"proofs on {name}, twice as many times")
    check(max(span[0] for span in spans.values()) < min(span[1] for span in spans.values()), f"not at once: {spans}")


@test(timeout=90)
def qemu_that_is_slow_to_end(t):
    """nobody waits for the end of a QEMU whose guest is done, nor is it left: neither the proof's nor the memory's"""
    pair = Pair(t)
    done = t.dir / "done"
    for name in "ab":
        host_with(t, pair, name, proof=f'"$qemu" "$@"; sleep 100; echo {name} >>{done}; exit 33')
    agree(pair)
    check(not done.exists(), "it was waited for")


@test()
def table_in_the_form_of_cpuid(t):
    """agreement show --cpuid: every row of the agreement's table as cpuid -r prints it; --json: the table; no proof: 65"""
    pair = Pair(t)
    agree(pair)
    table = agreement(pair.a)["proof"]["table"]
    lines = pair.a.run("agreement", "show", VM, "--cpuid", check=0).stdout.splitlines()
    check_equal(lines[0], "CPU 0:", "the first line")
    form = r"   0x([0-9a-f]{8}) 0x([0-9a-f]{2}): eax=0x([0-9a-f]{8}) ebx=0x([0-9a-f]{8}) ecx=0x([0-9a-f]{8}) edx=0x([0-9a-f]{8})"
    rows = [[int(number, 16) for number in found.groups()] for found in (re.fullmatch(form, line) for line in lines) if found]
    check_equal(rows, table["cpuid"], "rows")
    msrs = [line.split() for line in lines if line.startswith("   msr ")]
    check_equal([[int(word[1].rstrip(":"), 16), word[2]] for word in msrs], table["msr"], "MSRs")
    check_equal(len(lines), 1 + len(rows) + len(msrs) + ("xcr0" in table), "lines")
    check_equal(json.loads(pair.b.run("agreement", "show", VM, "--cpuid", "--json", check=0).stdout), table, "with --json")
    agree(pair, "--no-proof")
    check_in("without a proof", pair.a.run("agreement", "show", VM, "--cpuid", check=65).stderr, "without a proof")


# agreement check.


def checked(host, status, *words):
    """What agreement check --json says with this status, words in its reasons or its error."""
    result = host.run("agreement", "check", VM, "--json", check=status)
    told = json.loads(result.stdout)["reasons"] if status in (0, 12) else [result.stderr]
    check_equal(bool(told), status != 0, f"reasons: {told}")
    for word in words:
        check(any(word in line for line in told), f"{word!r} is not among {told}")
    return told


@test(timeout=120)
def check_of_an_agreement(t):
    """agreement check: 0 while the host is as it was; 12 with what is gone, or seen differently; it needs a record"""
    pair = Pair(t)
    path = host_with(t, pair, "a")
    text = path.read_text()
    a, b = pair.launch()
    result = pair.a.run("agreement", "check", VM, check=0)
    check_equal(result.stdout, f"{VM}: a guest sees here what was agreed\n", "output")
    checked(pair.b, 0)
    host_with(t, pair, "a", add("smap=off"), qemu=t.qemu_path)
    checked(pair.a, 12, "host a: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1")
    result = pair.a.run("agreement", "check", VM, check=12)
    check_in("smap", result.stdout, "reasons, a line each")
    check_in(f"a no longer gives {VM} what was agreed on", result.stderr, "what is said")
    host_with(t, pair, "a", add("phys-bits=36"), qemu=t.qemu_path)
    checked(pair.a, 12, "(physical address bits) is 40 on (agreed); 36 on a")
    path.write_text(text)
    checked(pair.a, 0)
    pair.config(pair.a, deny="smep")
    checked(pair.a, 12, "smep is gone on a (policy)")
    pair.config(pair.a)
    path.write_text("#!/bin/sh\nexit 3\n")
    checked(pair.a, 78, "QEMU exited with status 3")
    path.write_text(text)
    a.process.kill()
    b.process.kill()
    wait_until(lambda: not t.alive(), 10, "end of both, and of the guardian")
    pair.dry_run("--renegotiate", "--here", b_options=["--renegotiate", "--here"])
    checked(pair.a, 65, "under another agreement")


@test(timeout=90)
def check_after_qemu_was_replaced(t):
    """agreement check with the second QEMU in the first one's place: what is gone by name, 12"""
    pair = Pair(t)
    path = host_with(t, pair, "a")
    pair.launch()
    path.write_text(f'#!/bin/sh\nexec {t.second_qemu_path} "$@"\n')
    told = checked(pair.a, 12, "pcommit is gone on a (qemu)")
    line = next(line for line in told if "pcommit" in line)
    check(line.startswith("QEMU 7.2.") and " -> 10.0." in line, f"not with its cause: {line}")


@test()
def check_without_a_proof_or_a_launch(t):
    """agreement check of one that was never launched here, of one without a proof, of none"""
    pair = Pair(t)
    agree(pair)
    checked(pair.a, 0)
    agree(pair, "--no-proof")
    checked(pair.a, 65, "without a proof")
    check_in("no agreement for other", pair.a.run("agreement", "check", "other", check=64).stderr, "an unknown VM")


# The real KVM here.


@test(timeout=90)
def kvm_agrees_with_equal_tables(t):
    """-cpu host under this KVM: equal tables, and where it ignores masks a warning on both with the features"""
    t.need_kvm()
    pair = Pair(t)
    guests = {f"guest_{name}": kvm(pair.guest(name, cpu="host,arch-capabilities=off")) for name in "ab"}
    for form in ("named", "host"):
        one, other, a_says, b_says = agree(pair, "--cpu-form", form, **guests)
        found = agreement(pair.a)
        check_equal({party["table"] for party in found["parties"]}, {digest(found["proof"]["table"])}, "digests")
        check_equal((found["proof"]["accepted"], found["proof"]["masked"]), ([], []), "exceptions")
        cpu = next(host["cpu"] for host in one["hosts"] if host["name"] == "a")
        bare = digest_seen(t, t.qemu_path, "kvm", one["machine"], cpu)
        check_equal(bare, one["proof"]["table"], "what a guest sees without the program")
        seen = {(row[0], row[1]): row[2:] for row in found["proof"]["table"]["cpuid"]}
        ignored = "avx2" not in found["baseline"]["features"] and seen.get((7, 0), [0] * 4)[1] & 1 << 5
        for name, text, told in (("a", a_says, one), ("b", b_says, other)):
            doubts = told["proof"]["doubts"]
            for doubt in doubts:
                check_in(f"warning: {doubt}", text, f"what {name} says")
            if ignored:
                words = f"on {name} a guest sees features that are switched off, which this KVM does not honour: "
                check(doubts and doubts[-1].startswith(words) and " avx2 " in doubts[-1], f"doubts of {name}: {doubts}")
                # Such a KVM may keep to itself what it said that it has, too (la57 on some).
                missing = f"on {name} a guest does not see what was agreed: "
                check(all(doubt.startswith(missing) for doubt in doubts[:-1]) and len(doubts) <= 2, f"of {name}: {doubts}")
                lost = " ".join(doubts[:-1]).removeprefix(missing).split()
                check(set(lost) <= set(found["baseline"]["features"]), f"{name} lost what was not agreed: {lost}")
                keeps_la57 = "la57" in found["baseline"]["features"] and not seen[7, 0][2] & 1 << 16
                check_equal("la57" in lost, keeps_la57, f"whether {name} says that la57 is not there")


@test(timeout=90)
def kvm_that_aborts_at_an_msr(t):
    """-cpu host where this KVM aborts at ARCH_CAPABILITIES: that is off on both, told as lost; the guests start"""
    t.need_kvm()
    bare = t.run(print_guest(t), "digest", t.qemu_path, "kvm", "pc-q35-7.2", "host")
    if "failed to set MSR 0x10a" not in bare.stderr:
        t.skip(f"this KVM does not abort there: {bare.stderr.strip() or 'it starts'}")
    pair = Pair(t)
    guests = {f"guest_{name}": kvm(pair.guest(name, cpu="host")) for name in "ab"}
    one, other, a_says, b_says = agree(pair, **guests)
    for told, text in ((one, a_says), (other, b_says)):
        check_equal(told["proof"]["masked"], ["arch-capabilities"], "masked")
        check("arch-capabilities" not in told["features"], "arch-capabilities was agreed on")
        lost = next(loss for loss in told["dropped"] if loss["feature"] == "arch-capabilities")
        check(lost["security"] and {"host": "b", "why": "kvm"} in lost["missing_on"], f"dropped: {lost}")
        check_in("warning: SECURITY feature arch-capabilities is lost (", text, "what is said")
        check("aborted" not in text.lower() and "MSR 0x10a" not in text, f"the abort is told: {text}")
    a, b = pair.launch(**guests)
    check_equal((a.qmp.command("query-kvm")["enabled"], b.status()), (True, "inmigrate"), "what runs")


@test(timeout=90)
def kvm_that_shows_more_on_one_side(t):
    """under this KVM, a row that differs: 11 by its name, or accepted by it"""
    t.need_kvm()
    pair = Pair(t)
    host_with(t, pair, "b", add("model-id=other"))
    guests = {f"guest_{name}": kvm(pair.guest(name, cpu="host,arch-capabilities=off")) for name in "ab"}
    if agree_or_not(pair, guests):
        t.skip("this KVM shows its own model's name")
    lines, rows = differ(pair, **guests)
    check(all("part of the model's name" in line for line in lines), f"what differs: {lines}")
    accept(t, pair, rows, (), guests)


def agree_or_not(pair, guests):
    """Whether they agree."""
    listener = pair.listen("--dry-run", guest=guests["guest_b"])
    connector = pair.connect("--dry-run", "--timeout", "40", guest=guests["guest_a"])
    status = connector.wait(60)
    listener.kill()
    return status == 0
