# SPDX-License-Identifier: GPL-3.0-or-later
"""Two emulated hosts with different AMD CPUs and nested KVM, where KVM's masks, `-cpu host` and XSAVE are real.

The emulator is not part of the project: QML_TWO_HOSTS names a folder with `build-hosts` and `two-hosts`, without it
these tests are skipped. tests/two-hosts/on-host is what runs on both hosts; here it is started and its files judged.
"""
import os
import re
import shutil
import signal
import time
from pathlib import Path

from lib.harness import MACHINE, Failure, Serial, Skip, check, check_equal, check_in, test, wait_until

BUILD_TIMEOUT = 900
RUN_TIMEOUT = 300
SCRIPT = Path(__file__).resolve().parent.parent / "two-hosts" / "on-host"
VERSION = {"bookworm": "7.2", "trixie": "10.0"}
XSAVE = 1 << 26  # leaf 1 ECX
AVX = 1 << 28


def emulator(t):
    """The folder of the emulator's scripts, with everything built, or the test is skipped."""
    folder = os.environ.get("QML_TWO_HOSTS")
    if not folder:
        raise Skip("QML_TWO_HOSTS does not name the folder of the two hosts' emulator")
    if os.environ.get("QML_SANITIZED"):
        raise Skip("the hosts have no sanitizers' libraries")
    if os.geteuid() != 0:
        raise Skip("the two hosts are built by root only")
    built = t.run(Path(folder) / "build-hosts", timeout=BUILD_TIMEOUT)
    if built.returncode != 0:
        raise Skip(f"the two hosts cannot be built: {built.stderr.strip().splitlines()[-1:]}")
    return Path(folder)


def tree(t):
    """The folder that both hosts see: the program, the guest, and the library whose soname differs between them."""
    folder = t.dir / "tree"
    (folder / "lib").mkdir(parents=True)
    shutil.copy(t.program, folder / "qemu-migrate-launch")
    shutil.copy(t.counter, folder / "counter.bin")
    found = re.search(r"(libcpuid\.so\.\d+) => (/\S+)", t.run("ldd", t.program, check=0).stdout)
    check(found, "the program needs no libcpuid")
    shutil.copy(found[2], folder / "lib" / found[1])
    return folder


class Case:
    """What the two hosts left of one guest that started on `source` and moved."""

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
        return after

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


def clocks_run_right(t, run, began):
    """Whether neither host's clock runs fast. An emulated kernel that measures its TSC on a busy machine can get it
    wrong, and then all deadlines in that host are over in a fraction of their time."""

    def ups():
        found = {name: float(up) for name, up in re.findall(r"@@ host-([ab]) up at ([0-9.]+)s", run.stdout())}
        return found if len(found) == 2 or not run.alive() else None

    found = wait_until(ups, 120, "start of the two hosts")
    return all(up <= time.monotonic() - began for up in found.values())


def boot(t, cpus, suites, cases):
    """Boots hosts a and b, moves all the guests of `cases`, {name: (from, kind)}, and returns {name: Case}."""
    folder = emulator(t)
    shared = tree(t)
    (t.dir / "cases").write_text("".join(f"{name}|{source}|{kind}\n" for name, (source, kind) in cases.items()))
    for attempt in range(3):
        out = t.dir / f"out{attempt}"
        began = time.monotonic()
        run = t.start(
            *(folder / "two-hosts", "--cpu-a", cpus[0], "--cpu-b", cpus[1]),
            *("--qemu-a", suites[0], "--qemu-b", suites[1], "--script-a", SCRIPT, "--script-b", SCRIPT),
            *("--tree", shared, "--file", t.dir / "cases", "--out", out, "--limit", RUN_TIMEOUT),
        )
        if clocks_run_right(t, run, began):
            break
        run.signal(signal.SIGTERM)
        run.wait(20)
    check_equal(run.wait(RUN_TIMEOUT + 30), 0, f"status of the two hosts, which said {run.stdout()[-1500:]!r}")
    for name, suite in zip("ab", suites):
        check_in(f"version {VERSION[suite]}.", (out / name / "log").read_text(), f"QEMU of host {name}")
    return {name: Case(out, name, source) for name, (source, kind) in cases.items()}


@test(timeout=BUILD_TIMEOUT + RUN_TIMEOUT + 120, alone=True)
def rich_and_poor(t):
    """KVM, -cpu host, QEMU 7.2 on both: rich <-> poor keeps its CPU in both forms; bare QEMU restarts or changes it"""
    cases = {
        **{"rp-base": ("a", "base"), "pr-host": ("b", "host"), "rp-host": ("a", "host"), "pr-base": ("b", "base")},
        **{"rp-bare": ("a", "bare"), "pr-bare": ("b", "bare")},
    }
    done = boot(t, ("rich", "poor"), ("bookworm", "bookworm"), cases)
    lines = [done[name].check_moved_by_program(kind) for name, (_, kind) in cases.items() if kind != "bare"]
    check(all(line.leaves == lines[0].leaves for line in lines), "the CPU depends on the form or the direction")
    done["rp-bare"].check_bare_restarted()
    done["pr-bare"].check_bare_changed()


@test(timeout=BUILD_TIMEOUT + RUN_TIMEOUT + 120, alone=True)
def rich_older_and_poor_newer(t):
    """KVM, -cpu host, rich with QEMU 7.2 <-> poor with 10.0: the CPU stays; bare QEMU loses the guest or changes it"""
    cases = {
        **{"rp": ("a", "base"), "pr": ("b", "host"), "rp-named": ("a", "named"), "pr-named": ("b", "named")},
        **{"rp-bare": ("a", "bare"), "pr-bare": ("b", "bare")},
    }
    done = boot(t, ("rich", "poor"), ("bookworm", "trixie"), cases)
    lines = [done[name].check_moved_by_program(kind) for name, (_, kind) in cases.items() if kind != "bare"]
    check(all(line.leaves == lines[0].leaves for line in lines), "the CPU depends on the form or the direction")
    done["rp-bare"].check_bare_lost()
    done["pr-bare"].check_bare_changed()


@test(timeout=BUILD_TIMEOUT + RUN_TIMEOUT + 120, alone=True)
def rich_newer_and_poor_older(t):
    """KVM, -cpu host, rich with QEMU 10.0 <-> poor with 7.2: the CPU stays; bare QEMU restarts the guest or changes it"""
    cases = {"rp": ("a", "host"), "pr": ("b", "base"), "rp-bare": ("a", "bare"), "pr-bare": ("b", "bare")}
    done = boot(t, ("rich", "poor"), ("trixie", "bookworm"), cases)
    done["rp"].check_moved_by_program("host")
    done["pr"].check_moved_by_program("base")
    done["rp-bare"].check_bare_restarted()
    done["pr-bare"].check_bare_changed()


@test(timeout=BUILD_TIMEOUT + RUN_TIMEOUT + 120, alone=True)
def rich_and_mid(t):
    """KVM, -cpu host, rich (7.2) <-> one without AVX (10.0): the guest keeps XSAVE, uses it, and has no AVX anywhere"""
    cases = {"rm": ("a", "base"), "mr": ("b", "host"), "rm-host": ("a", "host"), "rm-bare": ("a", "bare")}
    done = boot(t, ("rich", "mid"), ("bookworm", "trixie"), cases)
    for name in ("rm", "mr", "rm-host"):
        line = done[name].check_moved_by_program(cases[name][1])
        check_equal(line.leaves["1"].ecx & (XSAVE | AVX), XSAVE, f"{name}: XSAVE and AVX of the guest")
        check(line.xcr0 and line.xcr0 & 3 == 3, f"{name}: the guest does not use XSAVE: XCR0 is {line.xcr0}")
    done["rm-bare"].check_bare_lost()
