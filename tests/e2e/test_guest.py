# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in guest under real QEMUs: the guest CPU table, what it agrees with, and how QEMU's failures are told."""
import json
import os
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path

from lib.harness import MACHINE, check, check_equal, check_in, test

MACHINES = (MACHINE, "pc-i440fx-7.2", "microvm", "isapc")
# Named models of which TCG gives a part only: both vendors, old and new. (Opteron_G4: XSAVE that cannot be turned on.)
IN_PART = """Nehalem-v2 Haswell-v4 Skylake-Client-v1 Cascadelake-Server-v2 Snowridge-v1 Opteron_G3 Opteron_G4 EPYC-v3
EPYC-Milan-v1""".split()
REGISTERS = ("EAX", "EBX", "ECX", "EDX")
MSRS = [0x8B, 0xCE, 0xCF, 0x10A, 0x345, 0xC0011029]  # without vmx
# Bits that a guest sees otherwise than the vCPU's properties say, and why.
BY_NATURE = {
    (1, 0, "ECX"): 1 << 27,  # osxsave: the guest turned it on
    # TCG shows nothing of KVM's leaves, whatever kvm-* says.
    (0x40000001, 0, "EAX"): 0xFFFFFFFF,
    (0x40000001, 0, "EDX"): 0xFFFFFFFF,
}
SOURCE = Path(__file__).resolve().parents[2] / "src" / "guest"


def helper(t):
    """tests/print-guest.c, built beside the program, or where bad-peer is."""
    places = [t.program.parent, Path(os.environ.get("QML_BAD_PEER") or t.program).parent]
    found = [place / "print-guest" for place in places if os.access(place / "print-guest", os.X_OK)]
    if not found:
        t.skip("print-guest is neither beside the program nor beside QML_BAD_PEER")
    return found[0]


def table(t, qemu, accel, machine, cpu, *more):
    result = t.run(helper(t), "json", qemu, accel, machine, cpu, *more, check=0)
    return json.loads(result.stdout)


def cpuid(found):
    """{(leaf, sub-leaf, register): value}"""
    return {(row[0], row[1], name): value for row in found["cpuid"] for name, value in zip(REGISTERS, row[2:])}


def qemus(t):
    """Both, or the one that is here."""
    second = os.environ.get("QML_SECOND_QEMU")
    return [t.qemu_path, *([second] if second else [])]


def kvm_cpu(t, qemu):
    """A -cpu that this machine's KVM takes at all, or the test is skipped."""
    t.need_kvm()
    said = ""
    for cpu in ("host", "host,arch-capabilities=off"):
        result = t.run(helper(t), "json", qemu, "kvm", MACHINE, cpu)
        if result.returncode == 0:
            return cpu
        said = result.stderr.strip()
    t.skip(f"the guest does not run under this KVM: {said}")
    return None


@test(timeout=120)
def every_machine_type(t):
    "q35, pc, microvm and isapc give the same table, on both QEMUs, with and without long mode"
    for qemu in qemus(t):
        for cpu, mode, xcr0 in (("Haswell-v4", 64, "0x0000000000000007"), ("486", 32, None), ("qemu32", 32, None)):
            found = [table(t, qemu, "tcg", machine, cpu) for machine in MACHINES]
            check_equal(found[0]["mode"], mode, f"{cpu}'s mode")
            check_equal(found[0].get("xcr0"), xcr0, f"{cpu}'s XCR0")
            check_equal([row[0] for row in found[0]["msr"]], MSRS, f"{cpu}'s MSRs")
            for machine, other in zip(MACHINES, found):
                check(other == found[0], f"{cpu} on {machine} differs from {MACHINES[0]}")


@test(timeout=120)
def under_kvm(t):
    "the guest runs under KVM on every machine type, and twice gives the same table"
    for qemu in qemus(t):
        cpu = kvm_cpu(t, qemu)
        for machine in MACHINES:
            one, other = (table(t, qemu, "kvm", machine, cpu) for _ in range(2))
            check(one == other, f"two runs on {machine} differ")
            names = {row[0] for row in one["cpuid"]}
            check(0x40000000 in names, "no leaf of the hypervisor's")
        check_equal(one["mode"], 64, "the mode")


def satisfied_models(t, qemu, name):
    """The named models that TCG gives whole, each once: an alias is one of the others."""
    asked = t.qemu(name, binary=qemu, paused=True)
    models = asked.qmp.command("query-cpu-definitions")
    asked.quit()
    return sorted(each["name"] for each in models if not each["unavailable-features"] and "alias-of" not in each)


def check_words(seen, words, cpu):
    """Bit by bit, what QEMU says of the words of features, named or not."""
    highest = {0: seen[0, 0, "EAX"], 0x80000000: seen.get((0x80000000, 0, "EAX"), 0)}
    for word in words:
        leaf, sub, register = word["cpuid-input-eax"], word.get("cpuid-input-ecx", 0), word["cpuid-register"]
        if leaf > highest.get(leaf & 0xC0000000, 0xFFFFFFFF):
            continue  # what the model has there does not show
        there, value = seen.get((leaf, sub, register), 0), word["features"]
        different = (there ^ value) & ~BY_NATURE.get((leaf, sub, register), 0)
        where = f"{cpu}: leaf {leaf:#x}.{sub} {register}"
        check(different == 0, f"{where} is {there:#x} in the guest, {value:#x} in QEMU ({different:#x})")


def shown(t, found):
    """{feature: bool} of a table; it stays in the file `table`."""
    (t.dir / "table").write_text(json.dumps(found))
    result = subprocess.run([helper(t), "shows", t.dir / "table"], stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def contradictions(t, features):
    """What print-guest says of the table in the file `table` against these features."""
    (t.dir / "features").write_text(json.dumps({"features": sorted(features)}))
    return t.run(helper(t), "contradictions", t.dir / "table", t.dir / "features", check=0).stdout


def check_model(t, qemu, cpu, name, whole):
    """The table of one model against the properties of its vCPU in a QEMU that does not run."""
    found = table(t, qemu, "tcg", MACHINE, cpu)
    shows = shown(t, found)
    vcpu = t.qemu(name, binary=qemu, cpu=cpu, paused=True)
    path = vcpu.qmp.command("query-cpus-fast")[0]["qom-path"]
    names = ["feature-words", "vendor", *shows]
    replies = vcpu.qmp.pipeline([("qom-get", {"path": path, "property": each}) for each in names])
    vcpu.quit()
    # A feature that this QEMU does not know is off.
    words, vendor, *values = (reply.get("return", False) for reply in replies)
    name_there = struct.pack("<3I", *(cpuid(found)[0, 0, each] for each in ("EBX", "EDX", "ECX")))
    check_equal(name_there.decode().rstrip("\0"), vendor, f"{cpu}'s vendor")
    check_words(cpuid(found), words, f"{name}: {cpu}")
    if whole:
        wrong = {each for each, value in zip(shows, values) if shows[each] != value}
        check(not wrong, f"{name}: {cpu}: the guest sees otherwise than the vCPU's properties say: {sorted(wrong)}")
    return len(shows)


@test(timeout=300)
def agrees_with_the_vcpu(t):
    "bit by bit, the table is what the vCPU's properties say, for all named models that TCG gives whole, and some others"
    for number, qemu in enumerate(qemus(t)):
        whole = satisfied_models(t, qemu, f"q{number}")
        check(len(whole) >= 15, f"only {whole} are given whole")
        compared = [check_model(t, qemu, cpu, f"q{number}-{cpu}", whole=True) for cpu in whole]
        check(min(compared) > 250, f"only {min(compared)} features are compared")
        for cpu in IN_PART:
            check_model(t, qemu, cpu, f"q{number}-{cpu}", whole=False)


@test(timeout=60)
def contradicts_the_features(t):
    "what is shown against the agreed features is told by name, what QEMU does by itself is not"
    shows = shown(t, table(t, t.qemu_path, "tcg", MACHINE, "max,-kvm-pv-eoi", "2"))
    seen = {each for each in shows if shows[each]}
    check("ht" in seen, "two CPUs, and no ht")
    for features, told in (
        (seen - {"ht"}, ""),
        (seen | {"kvm-pv-eoi", "a-new-feature"}, ""),
        (seen - {"avx2", "smap"}, "extra avx2\nextra smap\n"),
        (seen - {"lm"} | {"avx512f", "rdctl-no"}, "missing avx512f\nmissing rdctl-no\nextra lm\n"),
    ):
        check_equal(contradictions(t, features), told, "what is told")


@test(timeout=60)
def masks_under_kvm(t):
    "a KVM that does not honour a mask is found out, one that does has nothing against it"
    for qemu in qemus(t):
        cpu = kvm_cpu(t, qemu)
        one, other = (table(t, qemu, "kvm", MACHINE, cpu + more) for more in ("", ",sse4.2=off"))
        shows = shown(t, one)
        if not shows["sse4.2"]:
            t.skip("this CPU has no sse4.2")
        (t.dir / "table").write_text(json.dumps(other))
        told = contradictions(t, {each for each in shows if shows[each]} - {"sse4.2"})
        honoured = not cpuid(other)[1, 0, "ECX"] >> 20 & 1
        check_equal(told, "" if honoured else "extra sse4.2\n", "what is told")


@test(timeout=120)
def masks_show(t):
    "a feature switched off is off in the table, and the comparison names it"
    for name, cpu in (("a", "Haswell-v4,+smap"), ("b", "Haswell-v4,-smap,-avx2"), ("c", "Haswell-v4,+smap,phys-bits=36")):
        (t.dir / name).write_text(json.dumps(table(t, t.qemu_path, "tcg", MACHINE, cpu)))
    result = t.run(helper(t), "compare", t.dir / "a", t.dir / "b", t.dir / "c", check=0)
    check_in("host b: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1 [smap]", result.stdout, "smap")
    check_in("host b: leaf 7 EBX bit 5 (avx2) is 0, elsewhere 1 [avx2]", result.stdout, "avx2")
    check_in("(physical address bits) is 40 on a, b; 36 on c", result.stdout, "phys-bits")
    check_equal(len(result.stdout.splitlines()), 3, "lines")


@test(timeout=120)
def real_trouble(t):
    "cases of real trouble, each told by name"
    second = t.second_qemu_path
    cases = (
        ("Haswell-v1", "Haswell-v4", t.qemu_path, "family 6 model 60 stepping"),
        ("max", "max", second, "(x2apic) is 0, elsewhere 1"),
        ("EPYC-v1", "EPYC-v1,vendor=GenuineIntel", t.qemu_path, '"AuthenticAMD" on a; "GenuineIntel" on b'),
        ("EPYC-v1", "Haswell-v4", t.qemu_path, "leaf 0x8000001d (cache) is L1 data 32 KiB"),
        ("qemu64", "qemu64,level=5", t.qemu_path, "leaf 0 (highest basic leaf) is 0xd on a; 0x5 on b"),
        ("qemu64", "qemu64,ucode-rev=0x77", t.qemu_path, "(microcode revision) is 0x1000065 on a; 0x77 on b"),
    )
    for one, other, qemu, words in cases:
        (t.dir / "a").write_text(json.dumps(table(t, t.qemu_path, "tcg", MACHINE, one)))
        (t.dir / "b").write_text(json.dumps(table(t, qemu, "tcg", MACHINE, other)))
        result = t.run(helper(t), "compare", t.dir / "a", t.dir / "b", check=0)
        check_in(words, result.stdout, f"{one} against {other}")
    # The two versions lay out dies differently; no -cpu changes that.
    for name, qemu in (("a", t.qemu_path), ("b", second)):
        (t.dir / name).write_text(json.dumps(table(t, qemu, "tcg", MACHINE, "EPYC-v3", "8,dies=2")))
    result = t.run(helper(t), "compare", t.dir / "a", t.dir / "b", check=0)
    check_in("leaf 1 (logical processors in the package)", result.stdout, "-smp dies=")


def fake(t, name, text):
    path = t.dir / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@test(timeout=120)
def wrappers(t):
    "QEMU may be a script, one that becomes QEMU or one that waits for it"
    wanted = table(t, t.qemu_path, "tcg", MACHINE, "Haswell-v4")
    for name, word in (("becomes", "exec "), ("waits", "")):
        script = fake(t, name, f'{word}"{t.qemu_path}" "$@"')
        check(table(t, script, "tcg", MACHINE, "Haswell-v4") == wanted, f"a script that {name} has another table")


# For a script that is given QEMU's arguments: writes its standard input where the guest would.
LEAVE = """leave() { for word in "$@"; do case $word in memory-backend-file,*) ram=${word#*mem-path=}; esac; done
    dd of="${ram%%,*}" seek=65536 oflag=seek_bytes conv=notrunc bs=1M status=none; }
"""


@test(timeout=120)
def broken_qemus(t):
    "a QEMU that refuses, aborts, hangs, lies or talks nonsense gives one clear line"
    rows = b"\2" + struct.pack("<6I", 0, 0, 1, 2, 3, 4)
    head = struct.pack("<4sIII", b"QMLG", 1, 1, 16 + 25 + 4)
    (t.dir / "good-sum.bin").write_bytes(head + rows + struct.pack("<I", zlib.crc32(head + rows)))
    (t.dir / "bad-sum.bin").write_bytes(head + rows + b"1234")
    (t.dir / "many.bin").write_bytes(struct.pack("<4sIII", b"QMLG", 1, 4097, 16 + 25 * 4097 + 4))
    (t.dir / "long.bin").write_bytes(struct.pack("<4sIII", b"QMLG", 1, 1, 1 << 31) + rows)
    (t.dir / "version.bin").write_bytes(struct.pack("<4sIII", b"QMLG", 2, 1, 16 + 25 + 4) + rows)

    def leaves(name, what, end="exit 33"):
        return fake(t, name, f'{LEAVE}{what} | leave "$@"\n{end}')

    cases = (
        (t.qemu_path, "qemu64,+vmx,+pcid,enforce", "", "refuses this CPU, since it cannot give vmx, pcid"),
        (t.qemu_path, "nosuch", "", "unable to find CPU model 'nosuch'"),
        (fake(t, "msr", "echo 'failed to set MSR 0x48e' >&2; echo 'x: Assertion x failed.' >&2; kill -6 $$"), "x", "",
         "refuses this CPU, since it cannot give vmx: failed to set MSR 0x48e"),
        (fake(t, "aborts", "echo 'no such thing' >&2; echo 'x: Assertion x failed.' >&2; kill -6 $$"), "x", "",
         "killed by signal 6 (Aborted) when it ran the built-in guest: no such thing"),
        (fake(t, "hangs", "echo waiting >&2; sleep 100"), "x", "300", "did not come to its end in time: waiting"),
        (fake(t, "kvm", "echo 'KVM internal error. Suberror: 1' >&2; echo emulation failure >&2; sleep 100"), "x", "",
         "does not run: KVM internal error. Suberror: 1"),
        (fake(t, "quiet", "exit 0"), "x", "", "did not come to its end"),
        (fake(t, "broken", "exit 35"), "x", "", "an exception that it does not expect"),
        (fake(t, "status", "exit 33"), "x", "", "gave no CPU table: the guest left nothing"),
        (leaves("words", "echo hello"), "x", "", "something else in its memory than its CPU table"),
        (leaves("begun", f"head -c 12 {t.dir}/good-sum.bin"), "x", "", "says it has 1 rows in 0 bytes"),
        (leaves("cut", f"head -c 40 {t.dir}/good-sum.bin"), "x", "", "checksum is wrong"),
        (leaves("dies", f"head -c 40 {t.dir}/good-sum.bin", "echo oh >&2; kill -9 $$"), "x", "", "signal 9 (Killed) when it ran"),
        (leaves("sum", f"cat {t.dir}/bad-sum.bin"), "x", "", "checksum is wrong"),
        (leaves("rows", f"cat {t.dir}/good-sum.bin"), "x", "", "does not begin with its mode"),
        (leaves("many", f"cat {t.dir}/many.bin"), "x", "", "says it has 4097 rows"),
        (leaves("long", f"cat {t.dir}/long.bin"), "x", "", "says it has 1 rows in 2147483648 bytes"),
        (leaves("version", f"cat {t.dir}/version.bin"), "x", "", "has version 2, not 1"),
        (leaves("fills", "yes QMLG 2>/dev/null", "exit 33"), "x", "", "has version"),
        (fake(t, "shrinks", f'{LEAVE}echo | leave "$@"; truncate -s 0 "${{ram%%,*}}"; exit 33'), "x", "",
         "gave no CPU table: "),
        (fake(t, "noisy", "yes noise >&2"), "x", "500", "in time: "),
        (t.dir / "missing", "x", "", "cannot run"),
    )
    for qemu, cpu, limit, words in cases:
        began = time.monotonic()
        more = ("", limit) if limit else ()
        result = t.run(helper(t), "json", qemu, "tcg", MACHINE, cpu, *more)
        check_equal(result.returncode, 10 if "cannot give" in words else 78, f"the status of {Path(qemu).name}")
        check_in(words, result.stderr, Path(qemu).name)
        check_equal(len(result.stderr.splitlines()), 1, f"lines from {Path(qemu).name}")
        check(time.monotonic() - began < 20, f"{Path(qemu).name} took too long")


@test(timeout=60)
def finished_later(t):
    "QEMU does not wait for the caller, who may come when its time is over, or not at all"
    wanted = t.run(helper(t), "digest", t.qemu_path, "tcg", MACHINE, "Haswell-v4", check=0).stdout
    noisy = fake(t, "noisy", f'yes a warning for each vCPU | head -c 500000 >&2; exec "{t.qemu_path}" "$@"')
    for qemu in (t.qemu_path, noisy):
        late = t.run(helper(t), "late", "3000", qemu, "tcg", MACHINE, "Haswell-v4", "", "2500", check=0)
        check_equal(late.stdout, wanted, f"the digest with {Path(qemu).name}")
    # One that does not end is ended: at its own time, and when it is forgotten.
    hangs = fake(t, "hangs", f"echo $$ >{t.dir}/pid; exec sleep 100")
    late = t.run(helper(t), "late", "300", hangs, "tcg", MACHINE, "x", "", "200")
    check_in("did not come to its end in time", late.stderr, "what is said when the time is over")
    for mode in ("late", "drop"):
        began = time.monotonic()
        t.run(helper(t), mode, "300", hangs, "tcg", MACHINE, "x", "", "600")
        check(time.monotonic() - began < 20, f"{mode} took too long")
        pid = (t.dir / "pid").read_text(encoding="ascii").strip()
        check(not os.path.exists(f"/proc/{pid}"), f"{mode} left a QEMU behind")


@test(timeout=60)
def both_assemblers(t):
    "GNU as and LLVM's assembler make a guest that finds the same"
    clang = shutil.which("clang")
    if not clang or not shutil.which("objcopy"):
        t.skip("no clang or no objcopy")
    subprocess.run([clang, "-c", "-o", t.dir / "rom.o", SOURCE / "rom.S"], check=True)
    subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".rodata.guest_rom", t.dir / "rom.o", t.dir / "rom.bin"], check=True
    )
    check_equal((t.dir / "rom.bin").stat().st_size, 65536, "the image's size")
    script = fake(
        t,
        "other-rom",
        f'for w in "$@"; do shift; [ "$last" = -bios ] && w={t.dir}/rom.bin; last=$w; set -- "$@" "$w"; done\n'
        f'exec "{t.qemu_path}" "$@"',
    )
    for cpu in ("max", "486"):
        one, other = table(t, t.qemu_path, "tcg", MACHINE, cpu), table(t, script, "tcg", MACHINE, cpu)
        check(one == other, f"-cpu {cpu}: the assemblers' guests differ")
