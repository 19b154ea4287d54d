# SPDX-License-Identifier: GPL-3.0-or-later
"""What all the measurements need: rounds in which each way has its turn, medians, CPU time and memory of processes, tables."""
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

from report import say

BUSY = 0.1  # of a CPU: more than that by others, and a table says so


class Unable(Exception):
    """What cannot be measured here, and why."""


def helper(t, options, name):
    """The path of a program that the build makes for the bench alone; without it the part is skipped."""
    path = options.build / name
    if not os.access(path, os.X_OK):
        t.skip(f"{path} is not there: 'make -C {options.build} {name}' builds it")
    return path


def interleave(ways, rounds, warm=1):
    """{name: [a sample for each round]} of {name: function}: in a round each has its turn, and each round begins with
    another one. The first `warm` rounds do not count."""
    names = list(ways)
    samples = {name: [] for name in names}
    for number in range(-warm, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            sample = ways[name]()
            if number >= 0:
                samples[name].append(sample)
    return samples


def median(values):
    return statistics.median(values)


def pairs(samples, base, combine):
    """The median of combine(sample, the base's sample of the same round)."""
    return median([combine(one, other) for one, other in zip(samples, base)])


def difference(samples, base):
    return pairs(samples, base, lambda one, other: one - other)


def ratio(samples, base):
    return pairs(samples, base, lambda one, other: one / other)


def spread(values):
    """least-most, for the reader to see how quiet the machine was."""
    return f"{min(values):.0f}-{max(values):.0f}"


# Processes


def cpu_seconds(*pids):
    """What these processes, all their threads and those that have ended, have had of the CPUs. (clock_getcpuclockid(3) makes
    such a number of a clock; 2 stands for nanoseconds of the scheduler's.)"""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def memory_kib(pid, field, file="status"):
    """A field of /proc/PID/status or smaps_rollup, or None when it has ended."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


class Run:
    """A command from its start to its end: .seconds, .cpu (its own and its children's), .status, .peak_kib (its own, as
    seen each millisecond; only with peak=True, which takes CPU time from others)."""

    def __init__(self, argv, env=None, peak=False, status=0, output=os.devnull, errors=os.devnull):
        argv = [str(word) for word in argv]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        actions = [(os.POSIX_SPAWN_OPEN, number, str(file), flags, 0o600) for number, file in ((1, output), (2, errors))]
        began = time.monotonic()
        pid = os.posix_spawnp(argv[0], argv, env or dict(os.environ), file_actions=actions)
        self.peak_kib = 0
        while peak and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            self.peak_kib = memory_kib(pid, "VmHWM") or self.peak_kib
            time.sleep(0.001)
        _, ended, usage = os.wait4(pid, 0)
        self.seconds = time.monotonic() - began
        self.cpu = usage.ru_utime + usage.ru_stime
        self.status = os.waitstatus_to_exitcode(ended)
        if self.status != status:
            said = Path(errors).read_text()[-300:] if errors != os.devnull else ""
            raise Unable(f"status {self.status} of {' '.join(argv)[:300]}: {said}")


# The machine


def first_line(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()
    except OSError:
        return ""


def print_machine(program, qemu):
    """Where and with what this was measured."""
    lscpu = subprocess.run(["lscpu"], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}).stdout
    fields = dict(line.split(":", 1) for line in lscpu.splitlines() if ":" in line)

    def get(name):
        return fields.get(name, "").strip()

    where = f", a guest of {get('Hypervisor vendor')}" if get("Hypervisor vendor") else ""
    memory = memory_kib("self", "MemTotal", "../meminfo") or 0
    say(f"machine  {get('CPU(s)')} CPUs, {get('Model name')} (family {get('CPU family')}, model {get('Model')}){where}, "
          f"{memory / 1048576:.0f} GiB")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    say(f"system   Linux {platform.release()}, {system}")
    say(f"with     {first_line(program, '--version')}; {first_line(qemu, '--version')}; {first_line('openssl', 'version')}")


def _ticks():
    """(what all CPUs did for anybody, what a hypervisor took) in clock ticks."""
    words = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return sum(words[:3]) + sum(words[5:7]), words[7]


class Others:
    """How much of the CPUs others had while nothing of ours ran: looked at before and after, half a second each; and what
    the hypervisor took meanwhile."""

    def __init__(self):
        self.before = self._look()
        self.stolen = _ticks()[1]

    @staticmethod
    def _look():
        used = _ticks()[0]
        time.sleep(0.5)
        return (_ticks()[0] - used) / os.sysconf("SC_CLK_TCK") / 0.5

    def tell(self):
        after = self._look()
        stolen = (_ticks()[1] - self.stolen) / os.sysconf("SC_CLK_TCK")
        say(f"others   had {self.before:.2f} CPUs before and {after:.2f} CPUs after this; the hypervisor took {stolen:.1f} s")
        if max(self.before, after) > BUSY:
            say("BUSY     the machine was not idle: of these figures only CPU times and memory say something")
