# SPDX-License-Identifier: GPL-3.0-or-later
"""What README.md tells people to type, typed: the commands behind a comment `walk: NAME`, exactly as they are printed, each
on the host that its prompt names, and what they say held against what is printed below them.

    <!-- walk: pair -->
        src$ qemu-migrate-launch migrate web1
        qemu-migrate-launch: web1 has moved to dst: 1.8 MiB in 0.0 s, stopped for 9 ms

A prompt is HOST$, `both` is src and then dst (src in what is printed is the host then). A command goes on behind a backslash at the end of its line. What
is printed below it is all that it says, in this order; numbers, pins and digests are others each time, `...` alone stands
for any lines, and at the end of a line for the rest of it. What stands behind a `(yes/no)` is typed there. Where nothing is printed, it may say what it likes. A QEMU and
an agent keep their terminal; every other command has to end with status 0 before the next one is typed.
"""
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from .wait import Failure, check, check_equal, wait_until
from .walk_host import SOURCE

README = Path(__file__).resolve().parents[3] / "README.md"
PROMPT = re.compile(r"(src|dst|both|desk)[$] (.*)")
STAYS = re.compile(r"qemu-system-|qemu-migrate-launch (serve\b|.* -- (\\\s+)?qemu-system-)", re.S)
LOOKS = "tail "  # at a file that somebody writes: a person looks again
# What is another one each time: a pin, a number or digest, a unit; and what is left out.
OTHERS = (
    (r"sha256//[A-Za-z0-9+/=]+", r"sha256//[A-Za-z0-9+/]{43}="),
    (r"\.\.\.$", r".*"),
    (r"\b[0-9a-f]{8,}\b|[0-9]+(?:\.[0-9]+)*", r"[0-9a-f]+(?:\.[0-9]+)*"),
    (r"\b(?:[KMG]i)?B\b", r"(?:[KMG]i)?B"),
)


@dataclass
class Step:
    """A command: the host of its prompt, its text with its continuation lines, what is printed below it."""

    line: int
    host: str
    command: str
    printed: list

    def answered(self):
        """(question, answer) of what it asks: those are answered at a terminal."""
        found = (re.fullmatch(r"(.*\(yes/no\)) (.+)", line) for line in self.printed)
        return [one.groups() for one in found if one]


def steps(name, readme=README):
    """The commands of all blocks with this name, in their order."""
    found, lines, inside = [], readme.read_text().splitlines(), False
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line == f"<!-- walk: {name} -->":
            inside = True
        elif not line.startswith("    "):
            inside = False
        elif inside:
            prompt = PROMPT.fullmatch(line[4:])
            if not prompt:
                check(found and found[-1].line > 0, f"README.md:{number}: neither a prompt nor what a command says")
                found[-1].printed.append(line[4:])
                continue
            command = prompt[2]
            begin = number
            while command.endswith("\\"):
                command += "\n" + lines[number][4:]
                number += 1
            found.append(Step(begin, prompt[1], command, []))
    check(found, f"README.md has no commands behind `walk: {name}`")
    return found


def pattern(printed):
    """The regular expression of a line that is printed in README.md."""
    kinds = "|".join(f"({one})" for one, _ in OTHERS)
    result, end = "", 0
    for found in re.finditer(kinds, printed):
        result += re.escape(printed[end : found.start()]) + OTHERS[found.lastindex - 1][1]
        end = found.end()
    return result + re.escape(printed[end:])


def says(printed, said):
    """Whether these lines are what is printed."""
    text = "".join("(?:.*\n)*?" if line == "..." else f"{pattern(line)}\n" for line in printed)
    return re.fullmatch(text, said) is not None


def block(name, readme=README):
    """What is printed behind the comment NAME, as one text."""
    found = re.search(rf"^<!-- {name} -->\n((?:    .*\n|\n)+)", readme.read_text(), re.M)
    check(found, f"README.md has nothing behind a comment `{name}`")
    return re.sub(r"^    ", "", found[1], flags=re.M)


class Walk:
    """Types the commands on hosts, a dictionary of WalkHosts by name."""

    def __init__(self, t, hosts, tell=lambda text: None):
        self.t, self.hosts, self.tell = t, hosts, tell
        self.network = True  # that of the hosts; False: that of who walks
        self.typed, self.said = 0, ""
        self.running = []  # (name of the host, step, process) of what keeps its terminal

    def type(self, name, timeout=60):
        """All commands of README.md's blocks with this name."""
        for step in steps(name):
            if step.host != "both":
                self._step(step, step.host, timeout)
                continue
            for host in "src", "dst":
                printed = [re.sub(r"\bsrc\b", host, line) for line in step.printed]
                self._step(replace(step, printed=printed), host, timeout)

    def _step(self, step, host, timeout):
        self.tell(f"{host}$ {step.command}")
        where = f"README.md:{step.line}: {host}$ {step.command}"
        try:
            if STAYS.match(step.command):
                said = self._start(step, host, timeout)
            elif step.command.startswith(LOOKS):
                said = wait_until(lambda: self._run(step, host, timeout), 20, f"{step.printed} in it")
            else:
                said = self._run(step, host, timeout)
                check(said is not None, f"it says {self.said!r} instead of what is printed")
        except Failure as failure:
            raise Failure(f"{where}: {failure}") from None
        for line in said.splitlines()[-12:]:
            self.tell(f"    {line}")

    def _type(self, step, host):
        self.typed += 1
        return self.hosts[host].start_typed(step.command, self.network, step.answered())

    def _run(self, step, host, timeout):
        """What a command says that ends; None when that is not what is printed."""
        process = self._type(step, host)
        for question, answer in step.answered():
            process.wait_output(question, timeout)
            process.stdin.write(f"{answer}\n".encode())
            process.stdin.flush()
        status = process.wait(timeout)
        self.said = process.stdout().replace("\r\n", "\n")
        check_equal(status, 0, f"exit status, with {self.said[-1500:]!r}")
        return self.said if not step.printed or says(step.printed, self.said) else None

    def _start(self, step, host, timeout):
        """What a command says that stays; it is there when that is what is printed."""
        process = self._type(step, host)
        self.running.append((host, step, process))

        def said():
            if says([*step.printed, "..."], process.stdout()):
                return True
            check(process.alive(), f"it has ended with {process.poll()}: {process.stdout()[-1500:]!r}")
            return False

        if step.printed:
            try:
                wait_until(said, timeout, "what is printed")
            except Failure as failure:
                raise Failure(f"{failure}: it says {process.stdout()[-1500:]!r}") from None
            self._settle(step)
        return process.stdout()

    def _settle(self, step):
        """Nobody types so fast that a QEMU which was just agreed on is not there yet: those of the VM are waited for."""
        found = re.search(r"(?:--vm|-name|receive) (\S+)", step.command)
        vm = found and found[1]
        if vm and not any("waiting for a peer" in line for line in step.printed):
            for name, other, process in self.running:
                if re.search(rf"\b{vm}\b", other.command) and process.alive():
                    self.hosts[name].wait_vm(vm)

    def ended(self):
        """What kept its terminal and has ended went well: the QEMUs whose guests have moved."""
        for host, step, process in self.running:
            if not process.alive():
                check_equal(process.poll(), 0, f"README.md:{step.line}: {host}$ {step.command}: status at its end")


def environment(t):
    """Of everything that is typed: a login's, and what lets the tests find it again."""
    mine = t.environment()
    names = [name for name in mine if name.startswith(("QML_TEST_", "ASAN_", "UBSAN_", "LSAN_"))]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**{name: mine[name] for name in names}, "PATH": path, "HOME": os.path.dirname(SOURCE), "LC_ALL": "C.UTF-8"}
