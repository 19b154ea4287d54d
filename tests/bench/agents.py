# SPDX-License-Identifier: GPL-3.0-or-later
"""Many agents on this machine: what a launch against N of them takes, and how much memory an agent has, idle and with many
connections. They share this machine's CPUs: N hosts of their own would do their part at the same time."""
import os
import shutil

from lib.harness import free_port
from measure import Run, cpu_seconds, helper, interleave, median, memory_kib
from report import goal, note, table
from test_agent import Agent, children

COUNTS = (20, 60, 200)
GOAL = 3.0  # seconds for a warm launch
CONNECTIONS = 200
REMEMBERED = ("probes", "proofs", "backends")  # folders of a host's state that are the same for all hosts of a machine


class Crowd:
    """Host a, and agents p0, p1 …, which trust it."""

    def __init__(self, t, count):
        self.t = t
        self.a = t.host("a")
        self.a.write_config("[host]\nname = a\n")
        self.count = 0
        pin = self.a.identity_pin()
        self.hosts = [self.add(number, pin) for number in range(count)]
        self.agents = []
        self.start(self.hosts[:1])
        self.launch(1)  # what is found out there is right for all of them
        for host in self.hosts[1:]:
            for name in REMEMBERED:
                source = self.hosts[0].home / "state" / name
                if source.exists():
                    shutil.copytree(source, host.home / "state" / name, dirs_exist_ok=True)
        self.start(self.hosts[1:])

    def add(self, number, pin):
        """One more host."""
        host = self.t.host(f"p{number}")
        host.port = free_port()
        host.write_config(
            f"[host]\nname = {host.name}\n[listen]\naddress = 127.0.0.1:{host.port}\n[qemu]\nbinary = {self.t.qemu_path}\n"
        )
        host.run("trust", "add", "a", pin, check=0)
        self.a.trust(host, address=f"127.0.0.1:{host.port}")
        return host

    def start(self, hosts):
        """Their agents."""
        started = [host.start("serve", name=f"{host.name}-serve") for host in hosts]
        for agent in started:
            agent.wait_output("serving", 300)
        self.agents += started

    def launch(self, count):
        """Of a new VM, against the first `count`, to where it would become QEMU: (seconds, its CPU, the agents' CPU)."""
        self.count += 1
        peers = [word for host in self.hosts[:count] for word in ("--peer", host.name)]
        guest = [self.t.qemu_path, "-machine", "q35,accel=tcg", "-m", "256", "-nodefaults", "-display", "none"]
        words = ["-q", "--vm", f"vm{self.count}", *peers, "--dry-run", "--timeout", "120", "--", *guest]
        pids = [pid for agent in self.agents[:count] for pid in (agent.pid, *children(agent.pid))]
        before = cpu_seconds(*pids)
        run = Run(self.a.argv(*words), self.t.environment(), errors=self.t.dir / "launch.err")
        return run.seconds, run.cpu, cpu_seconds(*pids) - before

    def private(self, number):
        """KiB of an agent's memory, of both processes, that nobody else has."""
        agent = self.agents[number]
        return sum(own_memory(pid) for pid in (agent.pid, *children(agent.pid)))


def own_memory(pid):
    """KiB of memory that a process has written to and shares with nobody."""
    return memory_kib(pid, "Private_Dirty", "smaps_rollup")


def fitting(times):
    """How many agents GOAL seconds are enough for, by {count: seconds}: on straight lines between what was measured, from
    nothing on, and beyond the last one."""
    points = [(0, 0.0), *sorted(times.items())]
    for (count, seconds), (more, longer) in zip(points, points[1:]):
        if longer >= GOAL or more == points[-1][0]:
            return count + (GOAL - seconds) / (longer - seconds) * (more - count)
    raise ValueError("no counts")


def launches(t, rounds):
    crowd = Crowd(t, max(COUNTS))
    samples = interleave({count: lambda count=count: crowd.launch(count) for count in COUNTS}, rounds)
    memory = [crowd.private(number) for number in range(max(COUNTS))]
    rows = []
    for count in COUNTS:
        seconds, own, theirs = (median([sample[which] for sample in samples[count]]) for which in range(3))
        rows.append([
            *(count, f"{seconds:.2f}", f"{own:.2f}", f"{theirs:.2f}", f"{theirs / count * 1e3:.1f}"),
            f"{(own + theirs) / count * 1e3:.1f}",
        ])
    heads = ["agents", "launch, s", "its CPU s", "agents' CPU s", "ms for each", "ms of both for each"]
    table(f"agents: a warm launch of a new VM, with the proof, remembered; medians of {rounds} rounds", heads, rows)
    times = {count: median([sample[0] for sample in samples[count]]) for count in COUNTS}
    goal(f"agents: a warm launch against {max(COUNTS)}, s", times[max(COUNTS)], GOAL)
    note(f"about {fitting(times):.0f} agents on this machine's {os.cpu_count()} CPUs fit in {GOAL:.0f} s")
    note(f"an agent's own memory after that: {median(memory):.0f} KiB, at most {max(memory)} KiB")


def crowded(t):
    """An agent whose connections are all taken."""
    agent = Agent(t)
    rows = []

    def row(what):
        rows.append([what, *(own_memory(pid) for pid in agent.pids())])

    row("idle")
    agent.is_served(20)
    row("after 20 requests")
    held = [agent.tls() for _ in range(CONNECTIONS)]
    row(f"{CONNECTIONS} connections of a trusted peer that asks nothing")
    for connection in held:
        connection.close()
    agent.calls(CONNECTIONS, at_once=CONNECTIONS)
    row(f"after {CONNECTIONS} requests at once")
    agent.stop()
    table("agent: memory of its own, KiB", ["", "worker", "network process"], rows)


def run(t, options):
    helper(t, options, "peer-calls")
    t.fresh("crowd")
    launches(t, max(3, options.rounds // 4))
    t.fresh("crowded")
    crowded(t)
