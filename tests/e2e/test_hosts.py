# SPDX-License-Identifier: GPL-3.0-or-later
"""Two emulated hosts with different AMD CPUs and nested KVM, where KVM's masks, `-cpu host` and XSAVE are real.

tests/hosts/scripts/cases is what runs on both hosts; here it is started and its files judged.

A case is (host that starts or asks, kind, words of QEMU's, what a proof on a does to -cpu, what one on b does): see
there. The last three may be left out.
"""
import base64
import hashlib
import json
import re
from pathlib import Path

from lib.harness import MACHINE, Failure, Serial, check, check_equal, check_in, test
from lib.hosts import HOSTS_TIMEOUT, Hosts, print_guest

XSAVE = 1 << 26  # leaf 1 ECX
AVX = 1 << 28
FORMS = ("named", "base", "host")
# The feature MSRs of an AMD CPU: microcode revision, PLATFORM_INFO, CORE_, ARCH_ and PERF_CAPABILITIES, DE_CFG.
MSRS = {0x8B, 0xCE, 0xCF, 0x10A, 0x345, 0xC0011029}
# What print-guest says of rich and mid; the names of the two come in.
MID_LACKS = (
    "host {1}: leaf 1 ECX bit 28 (avx) is 0, elsewhere 1 [avx]",
    "host {1}: leaf 7 EBX bit 19 (adx) is 0, elsewhere 1 [adx]",
    "leaf 0xd.2 (XSAVE component AVX) is 256 bytes at 576 on {0}; nothing on {1} [avx]",
    '(part of the model\'s name) is "Rich AMD host" on {0}; "Mid AMD host" on {1}',
)


class Case:
    """What the two hosts left of one case; `source` is the host that started the guest, or asked."""

    def __init__(self, out, name, source):
        self.name = name
        self.paths = [out / source / name, out / ("b" if source == "a" else "a") / name]
        self.source, self.destination = (Serial(f"{path}.serial") for path in self.paths)

    def read(self, side, suffix):
        """The text of one of its files; side 0 is the source."""
        path = Path(f"{self.paths[side]}.{suffix}")
        return path.read_text(errors="replace").strip() if path.exists() else ""

    def last(self):
        """The last lines at the source and at the destination."""
        ends = self.source.last(), self.destination.last()
        said = f"{self.read(0, 'err')[-600:]} | {self.read(0, 'migrate')} | {self.read(1, 'err')[-600:]}"
        check(all(ends), f"{self.name}: the guest did not print on both hosts: {said}")
        return ends

    def check_moved_by_program(self, form):
        """Same CPU, unbroken count, the machine type that both have, -cpu in this form; returns the last line."""
        before, after = self.last()
        self.destination.check_continues(self.source)
        check_equal(after.leaves, before.leaves, f"{self.name}: CPUID after the move")
        check_equal(after.xcr0, before.xcr0, f"{self.name}: XCR0 after the move")
        check_equal(self.read(0, "migrate").splitlines()[-1], "status 0", f"{self.name}: migrate")
        check_equal(self.read(1, "state"), "running", f"{self.name}: state at the destination")
        check_equal(self.read(0, "state"), "postmigrate", f"{self.name}: state at the source")
        check_in('"enabled": true', self.read(0, "kvm"), f"{self.name}: query-kvm")
        for side in (0, 1):
            argv = self.read(side, "argv").splitlines()
            check_in(MACHINE, argv[argv.index("-machine") + 1], f"{self.name}: machine")
            start = argv[argv.index("-cpu") + 1].split(",")[0]
            expected = start == form if form != "named" else re.fullmatch(r".+-v\d+", start)
            check(expected, f"{self.name}: -cpu {start} is not of the form {form}")
            said = [line for line in self.read(side, "err").splitlines() if line.startswith("qemu-system")]
            check(all("terminating on signal" in line for line in said), f"{self.name}: QEMU says {said}")
        self.check_proven()
        verified = self.read(1, "verify").splitlines()
        check_equal(verified[-1], "status 0", f"{self.name}: verify says {verified}")
        check_in("1 vCPU as agreed", verified[-2], f"{self.name}: verify")
        return after

    def check_proven(self):
        """Both hosts keep one agreement, and the built-in guest saw the same on both; returns the agreement."""
        kept = [self.read(side, "agreement") for side in (0, 1)]
        check(kept[0], f"{self.name}: no agreement is kept: {self.read(0, 'err')[-600:]}")
        check_equal(kept[1], kept[0], f"{self.name}: the agreement that the other host keeps")
        payload = json.loads(kept[0])["agreement"]["payload"]
        agreement = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)))
        table = agreement["proof"]["table"]
        digest = hashlib.sha256(json.dumps(table, separators=(",", ":"), sort_keys=True).encode()).hexdigest()
        # The one CPU that looks has the same APIC id on both: not even the rows that differ by nature do.
        for party in agreement["parties"]:
            check_equal(party["table"], digest, f"{self.name}: digest of {party['host']}'s table")
        msrs = dict(table["msr"])
        check_equal(set(msrs), MSRS, f"{self.name}: MSRs that the guest looked at")
        readable = not msrs[0x10A].startswith("#")
        announced = "arch-capabilities" in agreement["baseline"]["features"]
        check_equal(readable, announced, f"{self.name}: whether ARCH_CAPABILITIES can be read: {msrs[0x10A]}")
        check_equal(agreement["proof"]["accepted"], [], f"{self.name}: accepted rows")
        return agreement

    def check_agreed(self, masked=(), doubts=()):
        """They agreed, and say the same of the proof; doubts: words of each warning on either side."""
        for side in (0, 1):
            said = self.read(side, "err")
            check_equal(self.read(side, "status"), "0", f"{self.name}: status of side {side}, which says {said[-600:]}")
        agreement = self.check_proven()
        check_equal(agreement["proof"]["masked"], list(masked), f"{self.name}: masked")
        reports = [json.loads(self.read(side, "json")) for side in (0, 1)]
        check_equal(reports[1]["features"], reports[0]["features"], f"{self.name}: features")
        for report in reports:
            proof = report["proof"]
            check_equal(proof["table"], agreement["parties"][0]["table"], f"{self.name}: table in the report")
            check_equal(proof["masked"], list(masked), f"{self.name}: masked in the report")
            check_equal(len(proof["doubts"]), len(doubts), f"{self.name}: doubts {proof['doubts']}")
            for words, doubt in zip(doubts, proof["doubts"]):
                check_in(words, doubt, f"{self.name}: doubt")
        return agreement

    def check_refused(self, status, *words):
        """The side that asked ends with this status, says all the words, and the other one does not agree either."""
        said = self.read(0, "err")
        check_equal(self.read(0, "status"), str(status), f"{self.name}: status, with {said[-600:]}")
        for one in words:
            check_in(one, said, f"{self.name}: what it says")
        check(self.read(1, "status") != "0", f"{self.name}: the other side agreed")
        check_equal([self.read(side, "agreement") for side in (0, 1)], ["", ""], f"{self.name}: agreements")

    def check_tables_differ(self, t, *words):
        """What print-guest says of the two hosts' tables has all the words."""
        tables = [f"{path}.{path.parent.name}" for path in sorted(self.paths)]
        compared = t.run(print_guest(t), "compare", *tables, check=0)
        for one in words:
            check_in(one.format(f"{self.name}.a", f"{self.name}.b"), compared.stdout, f"{self.name}: differences")
        advice = [line for line in compared.stdout.splitlines() if line.startswith("(advice)")]
        # Not announced on a host without leaf 7, and that says it.
        check(all("(ARCH_CAPABILITIES)" in line for line in advice), f"{self.name}: advisory differences {advice}")

    def check_bare_says_completed(self):
        """Bare QEMU called it a success."""
        check_equal(self.read(0, "migrate"), "completed", f"{self.name}: bare migration")

    def check_bare_changed(self):
        """The guest runs on, and its CPU is another one."""
        before, after = self.last()
        self.check_bare_says_completed()
        self.destination.check_continues(self.source)
        check(before.leaves != after.leaves, f"{self.name}: the bare guest kept its CPU")

    def check_bare_restarted(self):
        """The guest that used XSAVE began again: it has lost all it knew."""
        before, _ = self.last()
        self.check_bare_says_completed()
        check(before.xcr0, f"{self.name}: the guest did not use XSAVE")
        check_in(1, [line.number for line in self.destination.lines()], f"{self.name}: its count at the destination")
        try:
            self.destination.check_continues(self.source)
        except Failure:
            return
        raise Failure(f"{self.name}: the bare guest went on, as if nothing were")

    def check_bare_lost(self):
        """The source says completed, the destination's QEMU ended: the guest runs nowhere."""
        check(self.source.last().xcr0, f"{self.name}: the guest did not use XSAVE")
        self.check_bare_says_completed()
        check_equal(self.read(1, "state"), "gone", f"{self.name}: destination")
        check_in("Failed to set", self.read(1, "err"), f"{self.name}: what the destination said")
        check_equal(self.destination.lines(), [], f"{self.name}: lines at the destination")
        check_equal(self.read(0, "state"), "postmigrate", f"{self.name}: source")


def boot(t, cpus, cases, more=None, dies=False):
    """Boots hosts a and b, goes through the cases, {name: (from, kind, ...)}, and returns {name: Case}.

    cpus: see Hosts. more: a function that adds to what the hosts share. dies: a host is to die, and does not leave
    its own files."""
    hosts = Hosts(t, *cpus)
    if more:
        more(hosts)
    lines = ["|".join([name, *case, *[""] * (5 - len(case))]) for name, case in cases.items()]
    (hosts.share / "list").write_text("\n".join(lines) + "\n")
    out = hosts.run("cases", status=125 if dies else 0)
    for name, version in hosts.versions.items():
        if not dies or (out / name / "log").exists():
            check_in(f"version {version}.", (out / name / "log").read_text(), f"QEMU of host {name}")
    return {name: Case(out, name, source) for name, (source, *_) in cases.items()}


def check_all_moved(done, cases):
    """Every guest that the program moved has kept its CPU, and all have the same one."""
    moved = {name: kind for name, (_, kind, *_) in cases.items() if kind in FORMS}
    lines = [done[name].check_moved_by_program(kind) for name, kind in moved.items()]
    check(all(line.leaves == lines[0].leaves for line in lines), "the CPU depends on the form or the direction")
    return lines


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def rich_and_poor(t):
    """KVM, -cpu host, QEMU 7.2 on both: rich <-> poor keeps its CPU in both forms; bare QEMU restarts or changes it"""
    cases = {
        **{"rp-base": ("a", "base"), "pr-host": ("b", "host"), "rp-host": ("a", "host"), "pr-base": ("b", "base")},
        **{"rp-bare": ("a", "bare"), "pr-bare": ("b", "bare")},
        "smp": ("b", "agree-base", "-cpu max,+x2apic -smp 2"),
        "raw": ("a", "table", "host"),
    }
    done = boot(t, ("rich", "poor"), cases)
    check_all_moved(done, cases)
    done["rp-bare"].check_bare_restarted()
    done["pr-bare"].check_bare_changed()
    check_in("x2apic", done["smp"].check_agreed()["baseline"]["features"], "smp: features")
    done["raw"].check_tables_differ(
        t,
        "leaf 0 (highest basic leaf) is 0xd on {}; 0x6 on {}",
        "family 23 model 49 stepping 0 on {}; family 16 model 2 stepping 3 on {}",
        "(avx) is 0, elsewhere 1 [avx]",
        "(XSAVE component AVX) is 256 bytes at 576 on {}; nothing on {} [avx]",
        "(XSAVE bytes for all) is",
        "leaf 7 EBX bit 20 (smap) is 0, elsewhere 1 [smap]",
    )


@test(timeout=HOSTS_TIMEOUT, lane="hosts")
def rich_older_and_poor_newer(t):
    """KVM, -cpu host, rich with QEMU 7.2 <-> poor with 10.0: the CPU stays; bare QEMU loses the guest or changes it"""
    cases = {
        **{"rp": ("a", "base"), "pr": ("b", "host"), "rp-named": ("a", "named"), "pr-named": ("b", "named")},
        **{"rp-bare": ("a", "bare"), "pr-bare": ("b", "bare")},
        "epyc": ("b", "agree-named", "-cpu EPYC -machine kernel-irqchip=split"),
        "dies": ("a", "agree-base", "-cpu host -smp 4,sockets=1,dies=2,cores=1,threads=2"),
    }
    done = boot(t, ("rich", "poor@trixie"), cases)
    check_all_moved(done, cases)
    done["rp-bare"].check_bare_lost()
    done["pr-bare"].check_bare_changed()
    check_equal(done["epyc"].check_agreed()["kernel_irqchip"], "split", "epyc: kernel-irqchip")
    # No -cpu can change how 7.2 and 10.0 lay out dies.
    words = ("(logical processors in the package) is 2 on host-a; 4 on host-b", "-smp in different ways")
    done["dies"].check_refused(11, *words)


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def rich_newer_and_poor_older(t):
    """KVM, -cpu host, rich with QEMU 10.0 <-> poor with 7.2: the CPU stays; bare QEMU restarts the guest or changes it"""
    cases = {
        **{"rp": ("a", "host"), "pr": ("b", "base"), "rp-bare": ("a", "bare"), "pr-bare": ("b", "bare")},
        "pm-base": ("a", "agree-base", "-cpu host -m 16 -overcommit cpu-pm=on"),
        "pm-host": ("a", "agree-host", "-cpu host -overcommit cpu-pm=on"),
        "g3": ("b", "agree-named", "-cpu Opteron_G3"),
    }
    done = boot(t, ("rich@trixie", "poor"), cases)
    check_all_moved(done, cases)
    done["rp-bare"].check_bare_restarted()
    done["pr-bare"].check_bare_changed()
    # With cpu-pm=on the one host's KVM hides a feature that it says it has, for HLT does not exit there.
    masked = done["pm-base"].check_agreed(masked=["kvm-pv-unhalt"])
    check(masked["cpu_pm"], "pm-base: the agreement does not know of cpu-pm")
    # `-cpu host` of QEMU 7.2 shows MWAIT with cpu-pm=on, even where KVM cannot have it and whatever else -cpu says.
    done["pm-host"].check_refused(11, "host host-a: leaf 1 ECX bit 3 (monitor) is 0, elsewhere 1")
    check_equal(done["g3"].check_agreed()["baseline"]["model"], "Opteron_G3-v1", "g3: model")


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def rich_and_mid(t):
    """KVM, -cpu host, rich (7.2) <-> one without AVX (10.0): the guest keeps XSAVE, uses it, and has no AVX anywhere"""
    cases = {
        **{"rm": ("a", "base"), "mr": ("b", "host"), "rm-host": ("a", "host"), "rm-bare": ("a", "bare")},
        "named": ("b", "agree-named", "-cpu host"),
        "odd": ("a", "agree-host", "-cpu host,-sse4.2,hv-relaxed,hv-vapic -smp 2"),
        "rome": ("b", "agree-base", "-cpu EPYC-Rome -machine kernel-irqchip=split"),
        "raw": ("a", "table", "host"),
    }
    done = boot(t, ("rich", "mid@trixie"), cases)
    for line in check_all_moved(done, cases):
        check_equal(line.leaves["1"].ecx & (XSAVE | AVX), XSAVE, "XSAVE and AVX of the guest")
        check(line.xcr0 and line.xcr0 & 3 == 3, f"the guest does not use XSAVE: XCR0 is {line.xcr0}")
    done["rm-bare"].check_bare_lost()
    for name in ("named", "odd", "rome"):
        features = done[name].check_agreed()["baseline"]["features"]
        check_equal("sse4.2" in features, name != "odd", f"{name}: sse4.2")
        check("avx" not in features, f"{name}: avx is agreed on")
    done["raw"].check_tables_differ(t, *MID_LACKS)


# Pairs of odd hosts: nothing is moved here, only agreed on.


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def masks_that_do_not_hold(t):
    """KVM, odd hosts (7.2, 10.0): what one's guests lack is masked, what they see in spite of it is named"""
    cases = {
        "agreed": ("a", "agree-named", "-cpu host"),
        # What all of one host's guests lack is masked, what they have in spite of it is not, unless all have it.
        "hidden": ("b", "agree-base", "-cpu host", "", "s/$/,sse4.2=off/"),
        "shown": ("a", "agree-host", "-cpu host,-smep", "s/smep=off/smep=on/"),
        "both": ("b", "agree-host", "-cpu host,-smep", "s/smep=off/smep=on/", "s/smep=off/smep=on/"),
        "none": ("a", "agree-base", "-cpu host", "s/.*/host/", "s/.*/host/"),
    }
    cpus = ("rich,smap=off,xsaveopt=off", "mid,phys-bits=38,abm=off@trixie")
    done = boot(t, cpus, cases)
    check_equal(done["agreed"].check_agreed()["baseline"]["phys_bits"], 38, "agreed: physical address bits")
    hidden = done["hidden"].check_agreed(masked=["sse4.2"])
    check("sse4.2" not in hidden["baseline"]["features"], "hidden: sse4.2 is agreed on")
    check_in("lost (host-b: kvm): sse4.2", done["hidden"].read(0, "err"), "hidden: what is lost")
    done["shown"].check_refused(11, "host host-b: leaf 7 EBX bit 7 (smep) is 0, elsewhere 1", "--accept-row 7.0")
    doubt = "a guest sees features that are switched off, which this KVM does not honour: smep"
    done["both"].check_agreed(doubts=[doubt])
    lacks = [words.format("host-a", "host-b").split(" [")[0] for words in MID_LACKS]
    told = ("(abm) is 0", "(xsaveopt) is 0", "and 5 differences more")  # no rows to accept: XCR0 is none
    done["none"].check_refused(11, *lacks, *told)


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def without_xsave(t):
    """KVM, odd hosts (10.0, 7.2): one without XSAVE, one with holes elsewhere: nothing is left of what one lacks"""
    cases = {
        "host": ("b", "agree-host", "-cpu host"),
        "named": ("a", "agree-named", "-cpu host,-svm -smp 4,sockets=2,cores=2,threads=1"),
        "raw": ("a", "table", "host"),
    }
    cpus = ("rich,xsave=off,pdpe1gb=off@trixie", "rich,sse4a=off,smep=off,rdrand=off,phys-bits=36")
    done = boot(t, cpus, cases)
    for name in ("host", "named"):
        baseline = done[name].check_agreed()["baseline"]
        left = {"xsave", "avx", "pdpe1gb", "sse4a", "smep", "rdrand"} & set(baseline["features"])
        check_equal((left, baseline["phys_bits"]), (set(), 36), f"{name}: features that one lacks, address bits")
    done["raw"].check_tables_differ(
        t,
        "host {}: leaf 1 ECX bit 26 (xsave) is 0, elsewhere 1 [xsave]",
        "host {}: leaf 0x80000001 EDX bit 26 (pdpe1gb) is 0, elsewhere 1 [pdpe1gb]",
        "leaf 0x80000008 (physical address bits) is 40 on {}; 36 on {}",
    )


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def lookalikes(t):
    """KVM, lookalikes of EPYC-Milan (10.0) and of a Phenom (7.2): the forms agree, and so do the tables"""
    cases = {
        "host": ("b", "agree-host", "-cpu host"),
        "named": ("a", "agree-named", "-cpu host"),
        "raw": ("a", "table", "host"),
    }
    done = boot(t, ("EPYC-Milan,svm=on,npt=on@trixie", "phenom,svm=on,npt=on"), cases)
    tables = [done[name].check_agreed()["proof"]["table"] for name in ("host", "named")]
    check_equal(tables[1], tables[0], "the table of the other form")
    identity = "family 25 model 1 stepping 1 on {}; family 16 model 2 stepping 3 on {}"
    done["raw"].check_tables_differ(t, identity, "(fma) is 0, elsewhere 1 [fma]")
