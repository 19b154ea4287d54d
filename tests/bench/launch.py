# SPDX-License-Identifier: GPL-3.0-or-later
"""What a launch costs: bare QEMU from its start to its QMP greeting, and the same through the program, which agrees with an
agent on loopback first. QEMU connects to a socket of ours, so nobody has to look again and again whether it is there."""
import os
import shutil
import signal
import socket
import time

from measure import Unable, difference, interleave, median, ratio, spread
from report import goal, note, table
from test_agent import Agent

LIMIT = 30  # seconds for one start
# The second one for a KVM that says it has ARCH_CAPABILITIES and refuses the MSR, so that no QEMU runs with -cpu host.
CPUS = {"tcg": ["max"], "kvm": ["host", "host,-arch-capabilities"]}

WAYS = {  # name: (options, what is not remembered)
    "warm, --no-proof": (["--no-proof"], []),
    "warm, proof remembered": ([], []),
    "warm, proof": ([], ["proofs"]),
    "cold, --no-proof": (["--no-proof"], ["probes"]),
    "cold, proof": ([], ["probes", "proofs"]),
}


class Starts:
    """Starts QEMU, bare or through the program on host a; b's agent is the other party."""

    def __init__(self, t, accel):
        self.t, self.accel = t, accel
        self.agent = Agent(t, start=False)
        self.agent.b.write_config(f"[host]\nname = b\n[qemu]\nbinary = {t.qemu_path}\n")
        self.agent.start()
        self.count = 0
        self.path = t.dir / "bench.qmp"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(4)
        self.listener.settimeout(LIMIT)
        self.environment = t.environment()
        self.cpu = self.choose_cpu()

    def choose_cpu(self):
        """The first with which bare QEMU runs here."""
        for self.cpu in CPUS[self.accel]:
            try:
                self.bare()
                return self.cpu
            except Unable as reason:
                problem = reason
        raise problem

    def qemu(self):
        return [
            *(self.t.qemu_path, "-machine", f"q35,accel={self.accel}", "-cpu", self.cpu, "-m", "256"),
            *("-nodefaults", "-display", "none", "-qmp", f"unix:{self.path}"),
        ]

    def start(self, argv):
        """One start: (ms to the greeting, ms until QEMU's main loop answers, ms of CPU until then with all that was waited
        for). Then QEMU is killed."""
        argv = [str(word) for word in argv]
        errors = self.t.dir / "start.err"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, flags, 0), (os.POSIX_SPAWN_OPEN, 2, str(errors), flags, 0o600)]
        began = time.monotonic()
        pid = os.posix_spawn(argv[0], argv, self.environment, file_actions=actions)
        try:
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(LIMIT)
                self.read(connection, b'{"QMP"')
                greeted = time.monotonic()
                connection.sendall(b'{"execute": "qmp_capabilities"}\n')
                self.read(connection, b'{"return"')
                answered = time.monotonic()
        except OSError as reason:
            raise Unable(f"{' '.join(argv)}: {reason}: {errors.read_text()[-500:]}") from None
        finally:
            os.kill(pid, signal.SIGKILL)
            usage = os.wait4(pid, 0)[2]
        return (greeted - began) * 1e3, (answered - began) * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3

    @staticmethod
    def read(connection, start):
        data = b""
        while not (data.startswith(start) and data.endswith(b"\n")):
            more = connection.recv(65536)
            if not more:
                raise OSError("QEMU has closed its connection")
            data += more

    def bare(self):
        return self.start(self.qemu())

    def through(self, options, forget):
        """A launch of a VM that nobody has seen yet."""
        for host in (self.agent.a, self.agent.b):
            for folder in forget:
                shutil.rmtree(host.home / "state" / folder, ignore_errors=True)
        self.count += 1
        words = ["-q", "--vm", f"bench{self.count}", "--peer", "b", *options, "--", *self.qemu()]
        return self.start(self.agent.a.argv(*words))


def note_goals(accel, of):
    """of(name, which): the samples of a way."""
    more = lambda name: difference(of(name, 0), of("bare QEMU", 0))
    goal(f"launch, {accel.upper()}, warm, --no-proof: ms more than bare QEMU", more("warm, --no-proof"), 25, ".1f")
    if accel == "kvm":
        goal("launch, KVM, warm, proof: ms more than bare QEMU", more("warm, proof"), 150, ".1f")
    goal(f"launch, {accel.upper()}, cold, proof: ms", median(of("cold, proof", 0)), 500, ".1f")


def measure(t, accel, rounds):
    starts = Starts(t, accel)
    ways = {"bare QEMU": starts.bare}
    for name, (how, forget) in WAYS.items():
        ways[name] = lambda how=how, forget=forget: starts.through(how, forget)
    samples = interleave(ways, rounds, warm=2)
    starts.agent.stop()
    of = lambda name, which: [sample[which] for sample in samples[name]]
    note_goals(accel, of)
    rows = []
    for name in ways:
        row = [name, f"{median(of(name, 0)):.1f}"]
        if name == "bare QEMU":
            row += ["", ""]
        else:
            row += [f"{difference(of(name, 0), of('bare QEMU', 0)):+.1f}", f"{ratio(of(name, 0), of('bare QEMU', 0)):.2f}"]
        row += [spread(of(name, 0)), f"{median(of(name, 1)):.1f}", f"{median(of(name, 2)):.1f}"]
        rows.append(row)
    heads = [f"{accel.upper()}, ms", "greeting", "more", "ratio", "from-to", "main loop", "CPU"]
    table(f"launch: a new VM with -cpu {starts.cpu}, one peer (an agent) on loopback; medians of {rounds} rounds", heads, rows)


def run(t, options):
    for accel in ("tcg", "kvm"):
        if accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            note("launch under KVM: skipped, /dev/kvm cannot be opened")
            continue
        t.fresh(accel)
        measure(t, accel, options.rounds)
