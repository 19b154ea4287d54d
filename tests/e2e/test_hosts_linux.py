# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with Linux in it on the two emulated hosts of test_hosts.py: it moves there and back, in all the ways that
there are, and outlives what can happen to a network and to a host while it is copied.

What runs on the hosts is tests/hosts/scripts/linux-guest. QML_FIGURES may name a file that gets a line for every move.
"""
import json
import os
import re
import shutil
import stat
from pathlib import Path

from lib.harness import Failure, check, check_equal, check_in, test
from lib.hosts import HOSTS_TIMEOUT, keep_figures
from test_hosts import boot

NAME = "lx"
SLOW = "--bandwidth 6M"  # so that there is time to pull a plug
GIVEN_UP = 20  # seconds from a disaster to the end of `migrate`
LEASE_OVER = 13  # and to the end of a destination that nobody comes for
SLACK = 3  # a busy machine's, and what the looking costs


def cpio(entries):
    """An initramfs of (name, mode, content)."""
    result = b""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 5 if stat.S_ISCHR(mode) else 0)
        fields += (1 if stat.S_ISCHR(mode) else 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        for part in (head, content):
            result += part + bytes(-len(part) % 4)
    return result


def add_linux(hosts):
    """The guest's kernel, and an initramfs with linux-init in it, both from what the hosts are made of."""
    made = hosts.work / "bookworm"
    shutil.copy(made / "kernel", hosts.share / "vmlinuz")
    program = stat.S_IFREG | 0o755
    entries = [
        *((name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev")),
        ("dev/console", stat.S_IFCHR | 0o600, b""),
        ("bin/busybox", program, (made / "tree" / "bin" / "busybox").read_bytes()),
        ("init", program, (hosts.share / "linux-init").read_bytes()),
    ]
    (hosts.share / "initrd").write_bytes(cpio(entries))


class Moves:
    """What the hosts left of the guest; it began on `source`, and the moves are numbered from 1 on."""

    def __init__(self, out, source, steps):
        self.folders = [out / source / NAME, out / ("b" if source == "a" else "a") / NAME]
        self.steps = [step.split() for step in steps]
        self.began_as = 0  # the number of the move whose QEMU has the guest
        self.at = 0  # and which of the folders is that host's

    def read(self, side, number, suffix):
        """The text of a file there; side 0 has the guest before this move, side 1 not."""
        path = Path(f"{self.folders[self.at ^ side]}.{number}.{suffix}")
        return path.read_text(errors="replace").strip() if path.exists() else ""

    def serial(self, side, number):
        """What the guest printed there, byte for byte."""
        path = Path(f"{self.folders[self.at ^ side]}.{number}.serial")
        return path.read_bytes().decode("ascii", "replace") if path.exists() else ""

    def logs(self, number):
        """What all said, for a failure."""
        files = [(0, "result"), (0, "migrate.err"), (0, "watcher"), (1, "guardian"), (1, "err"), (1, "ended")]
        said = [f"{suffix}: {text[-900:]}" for side, suffix in files if (text := self.read(side, number, suffix))]
        return "\n".join([f"begin: {self.read(0, 0, 'err')[-900:]}", *said])

    def check_count(self, text, what):
        """The guest counted by one from 1 on, its memory as it was, with the CPU it had; the last number."""
        numbers = []
        for line in text.split("\r\n")[:-1]:
            found = re.fullmatch(r"n=(\d+) xsave=0 lost=0\.", line)
            check(found, f"{what}: not a line of a guest that is well: {line!r}")
            numbers.append(int(found[1]))
        check_equal(numbers, list(range(1, len(numbers) + 1)), f"{what}: the guest's count")
        check(numbers, f"{what}: the guest has said nothing")
        return numbers[-1]

    def check_all(self):
        """Every move came to what it was to come to; returns the figures of those that moved it, a line each."""
        before = self.serial(0, 0)
        figures = []
        for number, (kind, *options) in enumerate(self.steps, 1):
            try:
                if kind == "move":
                    before += self.serial(1, number)
                    figures.append(self.check_moved(number, options, before))
                    self.at ^= 1
                    self.began_as = number
                else:
                    if kind != "lose-source":
                        self.check_stayed(number, before)
                    if kind != "lose-destination":
                        self.check_fenced(number)
            except Failure as failure:
                raise Failure(f"move {number}, {kind}: {failure}\n{self.logs(number)}") from None
        return figures

    def check_moved(self, number, options, text):
        """0 at the source, whose QEMU is gone; running at the destination, with the CPU that was agreed on."""
        status = self.read(0, number, "result").split()
        check_equal(status[:1], ["0"], "status of migrate")
        check_equal(self.read(0, number, "source-state"), "gone", "state at the source")
        check_equal(self.read(1, number, "state"), "running", "state at the destination")
        check(len(re.findall("lost=", self.serial(1, number))) >= 4, "the guest does not run at the destination")
        self.check_count(text, "all that it printed")
        check_in(f"{NAME}: 1 vCPU as agreed", self.read(1, number, "verify"), "verify")
        argv = self.read(1, number, "argv").splitlines()
        check_in("pc-q35-", argv[argv.index("-machine") + 1], "machine")
        check_in("defer", argv[argv.index("-incoming") + 1], "incoming")
        last = json.loads(self.read(0, number, "migrate").splitlines()[-1])
        check_equal((last["status"], last["vm"]), ("completed", NAME), "last line of migrate")
        check(last["transferred"] > 48 << 20 or "--postcopy" in options, f"only {last['transferred']} bytes")
        hosts = [self.folders[self.at ^ side].parent.name for side in (0, 1)]
        how = " ".join(options) or "plain"
        return (
            f"{hosts[0]} -> {hosts[1]}, {how}: {last['transferred'] / (1 << 20):.0f} MiB, downtime "
            f"{last['downtime_ms']} ms, in all {last['elapsed_ms'] / 1000:.1f} s, migrate's own end {status[1]} s"
        )

    def check_stayed(self, number, text):
        """13 in time, and the guest runs on at the source; text: all that it printed there and before."""
        status, seconds = self.read(0, number, "result").split()
        check_equal(status, "13", "status of migrate")
        check(float(seconds) <= GIVEN_UP, f"migrate ended only after {seconds} s")
        check_in("runs on here", self.read(0, number, "migrate.err"), "what migrate says")
        check_equal(self.read(0, number, "source-state"), "running", "state at the source")
        self.check_count(text, "all that it printed")
        before, after = map(int, self.read(0, number, "lines").split())
        check(after >= before + 4, f"{before} lines when migrate ended, and {after} afterwards")

    def check_fenced(self, number):
        """The destination's QEMU was ended when its lease was over, and never ran the guest; the guardian says why."""
        seconds = self.read(1, number, "ended")
        check(seconds, "the destination's QEMU has not ended")
        check(float(seconds) <= LEASE_OVER + SLACK, f"it ended only after {seconds} s")
        check_equal((self.read(1, number, "state"), self.serial(1, number)), ("gone", ""), "the destination")
        check_in("nothing was heard of the source for too long", self.read(1, number, "guardian"), "the guardian's log")


def go(t, cpus, steps, also=()):
    """Boots the hosts, a guest begins on a and makes the steps, and all is checked. also: steps that come first, with
    QML_FULL=1: another test makes them between other hosts."""
    steps = (*(also if os.environ.get("QML_FULL") else ()), *steps)
    dies = any(step.startswith("lose") for step in steps)
    cases = {NAME: ("a", "linux", ";".join(steps))}
    done = boot(t, cpus, cases, more=add_linux, dies=dies)
    out = done[NAME].paths[0].parent.parent
    for name in ("a", "b"):
        lost = out / name / "lost"
        if lost.exists():  # what the other one had sent before it died
            shutil.copytree(lost, out / ("b" if name == "a" else "a"), dirs_exist_ok=True)
    figures = Moves(out, "a", steps).check_all()
    lines = [f"{' and '.join(cpus)}, {line}" for line in figures]
    keep_figures(lines)


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def older(t):
    """QEMU 7.2, rich <-> poor: Linux stays when the link is cut, then goes, and outlives the host it was to go to"""
    steps = (f"cut {SLOW}", "move", f"lose-destination {SLOW}")
    go(t, ("rich", "poor"), steps, also=("move", "move"))


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def newer(t):
    """QEMU 10.0, rich <-> poor: Linux goes there and back; a source that dies leaves nothing at the destination"""
    go(t, ("rich@trixie", "poor@trixie"), ("move", "move", f"lose-source {SLOW}"))


@test(timeout=HOSTS_TIMEOUT, lane="hosts")
def mixed(t):
    """QEMU 7.2 on rich, 10.0 on poor: Linux goes there and back with --multifd and --direct; a source that dies leaves nothing"""
    steps = ("move --multifd 4", "move --direct", f"lose-source {SLOW}")
    go(t, ("rich", "poor@trixie"), steps, also=("move --postcopy --bandwidth 8M", "move"))
