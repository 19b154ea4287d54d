# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines as people write them (tests/data/command-lines), with real QEMUs: whatever QOM shows of two machines that
were started with them, the comparison of the command lines has found; and the equal ones agree."""
import json
import os
import shlex
import subprocess
from pathlib import Path

from lib.command_lines import all_of_them
from lib.harness import QMP, Failure, check, check_equal, test
from lib.pair import Pair


def tool(t, name):
    """A program that is built beside the program, or where bad-peer is."""
    places = [Path(os.environ[v]).resolve().parent for v in ("QML_PROGRAM", "QML_BAD_PEER") if os.environ.get(v)]
    for place in places:
        if os.access(place / name, os.X_OK):
            return place / name
    t.skip(f"{name} is neither beside the program nor beside QML_BAD_PEER")
    return None


class Compared:
    """Starts QEMUs with the lines of one file, and compares them in both ways."""

    def __init__(self, t, lines, qemu):
        self.t, self.lines, self.qemu = t, lines, qemu
        self.tools = {name: tool(t, name) for name in ("print-visible", "print-migration")}
        self.folder = t.dir / lines.name
        self.folder.mkdir()
        self.place = lines.place(self.folder)
        self.count = 0

    def start(self, text, *more):
        """A paused QEMU with such a command line: (its Process, the path of its socket); None if it refuses."""
        self.count += 1
        socket = self.folder / f"{self.count}.qmp"
        words = shlex.split(self.place(text))[1:]
        argv = [self.qemu, *words, "-S", "-qmp", f"unix:{socket},server=on,wait=off", *more]
        process = self.t.start(*argv, name=f"{self.lines.name}-{self.count}")
        try:
            QMP(socket, alive=process.alive).close()
        except Exception:  # noqa: BLE001 - it has ended, whatever QMP calls that
            process.wait(10)
            return None, None
        return process, socket

    def by_table(self, other):
        """What print-visible says of source and other."""
        paths = [self.folder / "source.args", self.folder / "other.args"]
        for path, text in zip(paths, (self.lines.source, other)):
            path.write_text(self.place(text))
        return subprocess.run(
            [self.tools["print-visible"], *paths], capture_output=True, text=True, check=True, timeout=30
        ).stdout.splitlines()

    def by_qom(self, source, socket):
        """What preflight finds of two QEMUs."""
        words = [self.tools["print-migration"], "compare", source, socket]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise Failure(f"print-migration: {done.stderr}")
        return json.loads(done.stdout)["findings"]

    def one(self, source, other, differs):
        """Compare with one destination; how many things QOM found."""
        process, socket = self.start(other, "-incoming", "defer")
        said = self.by_table(other)
        check_equal(bool(said), differs, f"{self.lines.name}: the table says {said}")
        if not process:
            check(differs, f"{self.lines.name}: QEMU does not start with the destination's")
            return 0
        found = self.by_qom(source, socket)
        check(said or not found, f"{self.lines.name}: QOM finds {found}, and the table nothing")
        process.signal(9)
        process.wait(10)
        return len(found)

    def all(self):
        """How many partners differ in QOM, too."""
        process, socket = self.start(self.lines.source)
        refusal = "" if process else (self.t.dir / f"{self.lines.name}-1.err").read_text()
        if "is not a valid device model name" in refusal:
            return 0  # a QEMU without that module
        check(process, f"{self.lines.name}: QEMU does not start with the source's")
        self.one(socket, self.lines.destination, False)
        seen = sum(self.one(socket, text, True) > 0 for _, text in self.lines.partners)
        process.signal(9)
        process.wait(10)
        return seen


def compared(t, qemu, machine=None):
    """All that can be started here."""
    seen = 0
    for lines in all_of_them():
        if lines.starts:
            seen += Compared(t, lines, qemu).all()
    check(seen >= 8, f"QOM shows only {seen} of the differences: nothing has been compared")


@test(timeout=240)
def the_table_finds_what_qom_finds(t):
    """pairs and their partners that differ on QEMU 7.2: what is said of the command lines covers what QOM shows"""
    compared(t, t.qemu_path)


@test(timeout=240)
def the_table_finds_what_qom_finds_on_the_other_qemu(t):
    """the same on QEMU 10.0"""
    compared(t, t.second_qemu_path)


@test(timeout=240)
def equal_ones_agree(t):
    """the pairs that can be started here come to an agreement with --dry-run, and nothing is said of their machines"""
    pair = Pair(t)
    for lines in all_of_them():
        if not lines.starts:
            continue
        folder = t.dir / f"files-{lines.name}"
        folder.mkdir()
        place = lines.place(folder)
        words = {name: shlex.split(place(text))[1:] for name, text in (("a", lines.source), ("b", lines.destination))}
        if "microvm" in lines.name:
            continue  # between hosts of one QEMU version only, and it has no type that says so
        guests = {f"guest_{name}": [pair.qemu[name], *words[name]] for name in "ab"}
        for process in pair.dry_run("--renegotiate", "--no-proof", **guests):
            process.expect_status(0, 5)
            for text in ("would not find", "not known", "not compared", "accepted"):
                check(text not in process.stderr(), f"{lines.name}: {process.name} says {process.stderr()}")
