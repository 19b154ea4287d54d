# SPDX-License-Identifier: GPL-3.0-or-later
"""Start now, move later: agents on three hosts in network namespaces, launched under their unit's command line."""
import json
import os
import re
import resource
import shlex
import signal
import time
from pathlib import Path

from lib.fleet import Fleet
from lib.harness import QMP, Serial, check, check_equal, check_in, test, wait_until
from lib.writer import WriterSerial, build_writer

VM = "web1"
REQUESTS = ("hello", "profile", "prove", "propose", "commit")  # of a launch, to each other party


def three(t, names="abc", sshd=False, **how):
    """Hosts with agents."""
    fleet = Fleet(t, names, **how)
    if sshd:
        fleet.start_sshd()
    for host in fleet.hosts.values():
        host.start_agent(wait=False)
    for host in fleet.hosts.values():
        host.wait_agent()
    return fleet


def launch_words(fleet, *options, vm=VM, peers="bc", **guest):
    """The words of a launch."""
    asked = [word for name in peers for word in ("--peer", name)]
    return ["--vm", vm, *asked, *options, "--", "qemu-system-x86_64", *fleet.guest_args(**guest)]


def launch(fleet, *options, host="a", timeout=60, **how):
    """Launches on a; returns the Process when the guest counts."""
    one = fleet[host]
    keep_serial(one)
    (one.home / "guest.qmp").unlink(missing_ok=True)
    process = one.start(*launch_words(fleet, "--timeout", timeout, *options, **how), name=f"{host}-launch")

    def counts():
        check(process.alive(), f"{process.name} ended with {process.poll()}: {process.stderr()[-800:]}")
        return len(one.serial().lines()) >= 3

    wait_until(counts, timeout + 20, f"counting guest on {host}: {process.stderr()[-400:]}")
    return process


def keep_serial(host):
    """A QEMU that is about to start empties the file: what was written is kept, under a name of its own."""
    path = host.home / "guest.serial"
    if path.exists():
        path.rename(host.home / f"guest.serial.{len(list(host.home.glob('guest.serial.*'))) + 1}")


def agreement(host, vm=VM):
    """(digest, digest of the guest CPU table) of the agreement there; None without one."""
    path = host.home / "state" / "agreements" / f"{vm}.json"
    if not path.exists():
        return None
    document = json.loads(host.run("agreement", "show", vm, "--json", check=0).stdout)
    return document["digest"], json.dumps(document["proof"]["table"], sort_keys=True)


def check_same(fleet, names="abc", vm=VM):
    """All of them hold the same agreement, which is returned."""
    found = {name: agreement(fleet[name], vm) for name in names}
    check(all(found.values()), f"without an agreement: {[name for name in names if not found[name]]}")
    check_equal(len(set(found.values())), 1, f"agreements of {names}: { {k: v[0] for k, v in found.items()} }")
    return found[names[0]]


def files(host, vm=VM):
    """The names of what the host keeps of agreements about the VM, made and being made."""
    folder = host.home / "state" / "agreements"
    names = [f"{vm}.{kind}" for kind in ("committing", "json", "pending")]
    return [name for name in names if (folder / name).exists()]


def save_arguments(fleet, name, **how):
    """The host's own QEMU arguments of the VM, where `receive` finds them."""
    folder = fleet[name].home / "config" / "vms"
    folder.mkdir(mode=0o700, exist_ok=True)
    words = ["qemu-system-x86_64", *fleet.guest_args(**how)]
    (folder / f"{VM}.args").write_text(f"{shlex.join(words)}\n")


class Life:
    """The guest's life over all its moves: it counts up by one, and its CPU is the same in every line."""

    def __init__(self, host):
        self.parts = []
        self.begin(host)

    def begin(self, host):
        """It goes on there."""
        self.host = host
        lines = host.serial().wait_lines(3)
        if not self.parts:
            self.leaves, self.xcr0 = lines[0].leaves, lines[0].xcr0

    def moved(self, host):
        """From where it was to there."""
        old = self.host.serial()
        kept = self.host.home / f"life.{len(self.parts)}"
        old.path.rename(kept)
        self.parts.append(Serial(kept))
        self.begin(host)
        self.check()

    def check(self):
        here = self.host.serial()
        here.check_continues(*self.parts)
        for line in [line for part in (*self.parts, here) for line in part.lines()]:
            check_equal((line.leaves, line.xcr0), (self.leaves, self.xcr0), f"the guest's CPU at n={line.number}")


def verify(fleet, name):
    """The running CPU there is as agreed."""
    check_equal(json.loads(fleet[name].run("verify", VM, "--json", check=0).stdout)["place"], "here", "where it runs")


def receive(fleet, name, source):
    """`receive` by hand, and then `migrate` at the source."""
    host = fleet[name]
    keep_serial(host)
    process = host.start("receive", VM, "--from", source, name=f"{name}-receive")
    process.wait_output(f"waits here for 'migrate {VM}'", 40)
    moved = fleet[source].run("migrate", VM, "--to", name, timeout=60, check=0)
    check_in(f"has moved to {name}", moved.stderr, "what migrate says")


@test(timeout=240)
def around(t):
    """a → b → c → a by receive and migrate and by ssh-migrate; agents restarted and b's QEMU upgraded in between: the
    guest counts on, its CPU and the agreement never change"""
    fleet = three(t, sshd=True, qemu={"c": t.second_qemu_path})
    launch(fleet)
    agreed = check_same(fleet)
    check_in("pc-q35-7.2", fleet["a"].run("agreement", "show", VM, check=0).stdout, "machine type")
    verify(fleet, "a")
    life = Life(fleet["a"])
    for name in "abc":
        save_arguments(fleet, name)
    fleet["a"].restart_agent(), fleet["b"].restart_agent()

    receive(fleet, "b", "a")
    life.moved(fleet["b"])
    verify(fleet, "b")
    check_equal(check_same(fleet), agreed, "agreement after a → b")
    fleet["b"].restart_agent(), fleet["c"].restart_agent()

    fleet.contrib("ssh-migrate", VM, "b", "c", check=0)
    life.moved(fleet["c"])
    verify(fleet, "c")
    check_equal(check_same(fleet), agreed, "agreement after b → c")
    # A host of the fleet gets a new QEMU.
    fleet["a"].set_qemu(t.second_qemu_path)
    fleet["a"].restart_agent(), fleet["c"].restart_agent()
    check_in("sees here what was agreed", fleet["a"].run("agreement", "check", VM, check=0).stdout, "check on a, upgraded")

    fleet.contrib("ssh-migrate", VM, "c", "a", check=0)
    life.moved(fleet["a"])
    verify(fleet, "a")
    check_equal(check_same(fleet), agreed, "agreement after c → a")
    check_in("is on a already", fleet.contrib("ssh-migrate", VM, "c", "a", check=0).stderr, "run again")
    # And on, after all agents have gone and come again.
    for host in fleet.hosts.values():
        host.restart_agent()
    fleet.contrib("ssh-migrate", VM, "a", "b", check=0)
    life.moved(fleet["b"])
    verify(fleet, "b")
    check_equal(check_same(fleet), agreed, "agreement after a → b again")


def no_qemu(fleet, name, timeout=10):
    """Waits until the VM has no QEMU on this host."""

    def gone():
        record = fleet[name].record(VM)
        return not record or not record["pid"] or not Path(f"/proc/{record['pid']}").exists()

    wait_until(gone, timeout, f"end of QEMU on {name}")


@test(timeout=150)
def from_a_desk(t):
    """ssh-migrate starts the destination itself: without arguments there it shows the command to review; what it started
    ends again when migrate refuses and when it is interrupted; then it moves"""
    fleet = three(t, "ab", sshd=True)
    image = build_writer(t.dir, 48)
    how = {"memory": 64, "image": image}
    fleet["a"].start(*launch_words(fleet, peers="b", **how), name="a-launch")
    fleet["a"].serial(WriterSerial).wait_lines(3, 60)
    shown = fleet.contrib("ssh-migrate", VM, "a", "b")
    check_equal(shown.returncode, 64, "status without arguments")
    check_in("qemu-system-x86_64", shown.stderr, "the command that it shows")
    check_in("web1.args", shown.stderr, "where to save it")
    no_qemu(fleet, "b")
    save_arguments(fleet, "b", **how)
    refused = fleet.contrib("ssh-migrate", VM, "a", "b", "--", "--bandwidth", "nonsense", check=64)
    check_in("web1 is still on a; no QEMU waits for it on b any more", refused.stderr, "its last line")
    no_qemu(fleet, "b")
    words = fleet.contrib_argv("ssh-migrate", VM, "a", "b", "--", "--bandwidth", "12M")
    process = t.start(*words, name="desk")
    process.wait_output(" %,", 40)
    process.signal_group(signal.SIGINT)
    process.expect_status(13, 20)
    check_in("web1 is still on a; no QEMU waits for it on b any more", process.stderr().splitlines()[-1], "its last line")
    no_qemu(fleet, "b")
    # Interrupted while the destination is being started.
    process = t.start(*words, name="desk")
    process.wait_output("a QEMU for web1 is started on b")
    process.signal_group(signal.SIGINT)
    process.expect_status(130, 30)
    check_in("web1 is still on a", process.stderr().splitlines()[-1], "its last line")
    no_qemu(fleet, "b")
    check_equal(fleet["a"].record(VM)["place"], "here", "place at a")
    moved = fleet.contrib("ssh-migrate", VM, "a", "b", "--", "--bandwidth", "64M", check=0)
    check_in("has moved to b", moved.stderr, "what it says")
    fleet["b"].serial(WriterSerial).wait_lines(3)
    fleet["b"].serial(WriterSerial).check_continues(fleet["a"].serial(WriterSerial), whole=False)


@test(timeout=120)
def restarts(t):
    """a reboot of the guest, and a new launch on its source with every agent down, keep the CPU and the agreement"""
    fleet = three(t)
    process = launch(fleet)
    agreed = check_same(fleet)
    first = fleet["a"].serial().lines()[0]
    with QMP(fleet["a"].home / "guest.qmp") as qmp:
        qmp.command("system_reset")
        wait_until(lambda: [line for line in fleet["a"].serial().lines() if line.vendor][1:], 10, "reboot")
        again = [line for line in fleet["a"].serial().lines() if line.vendor][-1]
        check_equal((again.leaves, again.vendor, again.xcr0), (first.leaves, first.vendor, first.xcr0), "CPU after a reboot")
        qmp.command("quit")
    process.wait(10)
    for host in fleet.hosts.values():
        host.stop_agent()
    known = launch(fleet)
    check_in("as agreed", known.stderr(), "what the second launch says")
    line = fleet["a"].serial().lines()[0]
    check_equal((line.leaves, line.vendor, line.xcr0), (first.leaves, first.vendor, first.xcr0), "CPU after a restart")
    check_equal(check_same(fleet), agreed, "agreement")
    verify(fleet, "a")


def check_drift(fleet, name, *words, **guest):
    """The agreement no longer holds on this host: `agreement check`, `receive` and the agent's log say why."""
    host = fleet[name]
    result = host.run("agreement", "check", VM, check=12)
    for word in words:
        check_in(word, result.stdout, f"agreement check on {name}")
    save_arguments(fleet, name, **guest)
    refused = host.run("receive", VM, "--from", "a", check=12, timeout=60)
    for word in words:
        check_in(word, refused.stderr, f"receive on {name}")
    host.restart_agent()
    host.agent.wait_output("drift: 1 agreements were checked, 1 no longer hold", 30)
    lines = [line for line in host.agent.stderr().splitlines() if f"{VM}: drift: " in line]
    for word in words:
        check(any(word in line for line in lines), f"the agent's log on {name} does not say {word!r}: {lines}")


@test(timeout=120)
def policy_changes(t):
    """a policy that denies what was agreed on: status 12 at check and at receive, and in the agent's log, with the cause"""
    fleet = three(t)
    launch(fleet)
    features = json.loads(fleet["a"].run("agreement", "show", VM, "--json", check=0).stdout)["baseline"]["features"]
    check_in("smep", features, "features agreed on")
    fleet.configure(fleet["b"], deny="smep")
    check_drift(fleet, "b", "smep", "policy")
    fleet["c"].run("agreement", "check", VM, check=0)
    fleet.configure(fleet["b"])
    fleet["b"].run("agreement", "check", VM, check=0)


@test(timeout=120)
def qemu_changes(t):
    """a QEMU that can no longer give what was agreed on (7.2 for all, then 10.0 on b): the same, naming both versions"""
    fleet = three(t)
    launch(fleet, cpu="max")
    fleet["b"].set_qemu(t.second_qemu_path)
    check_drift(fleet, "b", "QEMU 7.2", "10.0", cpu="max")
    fleet["a"].run("agreement", "check", VM, check=0)


@test(timeout=120)
def all_or_nothing(t):
    """a party that is down: the launch is refused (69); with two down both are named at once; nothing is kept anywhere"""
    fleet = three(t)
    fleet["c"].stop_agent()
    for names in ("c", "bc"):
        if names == "bc":
            fleet["b"].stop_agent()
        began = time.monotonic()
        refused = fleet["a"].run(*launch_words(fleet, "--timeout", "4"), timeout=20, check=69)
        check(time.monotonic() - began < 15, f"it took {time.monotonic() - began:.1f} s")
        for name in names:
            check(re.search(rf"\b{name}\b.*{re.escape(fleet[name].address)}|\b{name}: ", refused.stderr), refused.stderr)
        if names == "bc":
            check_in("b, c", refused.stderr.splitlines()[-1], "its last line")
        for host in fleet.hosts.values():
            check_equal((files(host), host.record(VM)), ([], None), f"what {host.name} keeps")
    fleet["b"].start_agent(), fleet["c"].start_agent()
    launch(fleet)
    check_same(fleet)


# kill -9 at each step.


def children(pid):
    """The pids of a process's children."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Crash:
    """A launch on a whose connections to b go through a proxy, and a party that is killed at one step of it."""

    def __init__(self, t):
        self.fleet = three(t)
        self.proxy = self.fleet.proxy(self.fleet["b"])
        a, b = self.fleet["a"], self.fleet["b"]
        pin = b.identity_pin()
        a.run("trust", "remove", "b", check=0)
        a.run("trust", "add", "b", pin, "--address", self.proxy.address, check=0)
        self.count = 0
        self.launch(dry=True).expect_status(0, 60)  # the caches are warm

    def launch(self, dry=False, timeout=20):
        """A launch of the VM of this case; dry: to the end, but for QEMU."""
        words = launch_words(self.fleet, *(["--dry-run"] if dry else []), "--timeout", str(timeout), vm=self.vm)
        return self.fleet["a"].start(*words, name=f"launch-{self.vm}")

    @property
    def vm(self):
        """The VM of this case: a new one each."""
        return f"vm{self.count}"

    def handled(self, request):
        """Whether b's agent has answered this request of this case's launch, as its log says."""
        return re.search(rf": {request} {self.vm}: ", self.fleet["b"].agent.stderr())

    def kill(self, victim, process):
        agent = self.fleet["b"].agent
        pid = {"initiator": process.pid, "worker": agent.pid}.get(victim) or children(agent.pid)[0]
        os.kill(pid, signal.SIGKILL)

    def request(self, step):
        """The proxy's turn with which request number `step` of the next launch begins: after one for the handshake."""
        return self.proxy.turns + 2 + step

    def case(self, victim, step, answered):
        """One kill: when request number `step` has reached b's agent, or when its answer has not come back yet."""
        self.count += 1
        what = f"{victim} killed {'after' if answered else 'before'} {REQUESTS[step]} ({self.vm})"
        reached = []
        number = self.request(step)
        # A request is held up as it is; an answer is on its way for so long that there is time to hold it up.
        hold = (lambda: self.proxy.delay(0.5)) if answered else (lambda: self.proxy.stall("forward"))
        self.proxy.on_turn(number, lambda: (hold(), reached.append(True)))
        process = self.launch(dry=True)
        wait_until(lambda: reached or not process.alive(), 30, f"request {REQUESTS[step]}: {what}")
        check(process.alive(), f"the launch ended before: {what}: {process.stderr()}")
        if answered:
            wait_until(lambda: self.handled(REQUESTS[step]), 15, f"answer to {REQUESTS[step]}: {what}")
            self.proxy.stall("backward")
        self.kill(victim, process)
        self.proxy.heal()
        if victim == "worker":
            self.fleet["b"].agent.wait(10)
            self.fleet["b"].start_agent()
        status = process.wait(40)
        self.check_whole(what, status, process)
        again = self.launch(dry=True)
        check_equal(again.wait(60), 0, f"the next launch: {what}: {again.stderr()}")
        agreed = check_same(self.fleet, vm=self.vm)
        for host in self.fleet.hosts.values():
            check_equal(files(host, self.vm), [f"{self.vm}.json"], f"what {host.name} keeps of it: {what}")
            if host.name == "a":  # which has started nothing, and so cannot say with which arguments
                continue
            held = host.run("agreement", "check", self.vm)
            check_equal(held.returncode, 0, f"agreement check on {host.name}: {what}: {held.stderr}")
        return agreed

    def check_whole(self, what, status, process):
        """Nothing half is used: what counts as an agreement anywhere is whole, the same, and if the launch went on to
        QEMU, all have it."""
        found = {name: agreement(host, self.vm) for name, host in self.fleet.hosts.items()}
        digests = {value[0] for value in found.values() if value}
        check(len(digests) <= 1, f"two agreements: {what}: {found}")
        if status == 0:
            check(all(found.values()), f"it would have started QEMU, and not all agreed: {what}")
        elif status > 0:
            check(status in (69, 76), f"status {status}: {what}: {process.stderr()}")
        if found["a"]:
            check(found["b"] and found["c"], f"a may start it, and not all hold it: {what}: {found}")


def crashes(victim, answered):
    """A test of one victim at all steps."""

    def function(t):
        crash = Crash(t)
        for step in range(len(REQUESTS)):
            crash.case(victim, step, answered)
        crash.proxy.close()

    when = "after" if answered else "before"
    function.__name__ = f"test_kill_{victim}_{when}_each_request"
    function.__module__ = __name__
    function.__doc__ = f"kill -9 of {victim} {when} each request of a launch: no half agreement; the next launch works"
    test(timeout=200)(function)


for one in ("initiator", "worker", "network"):
    for moment in (False, True):
        crashes(one, moment)


@test(timeout=90)
def says_what_it_found(t):
    """the initiator is killed when all have approved, b's agent before it acknowledges: the next launch says what it found"""
    crash = Crash(t)
    for victim, words in (
        ("initiator", "found an agreement that not all had acknowledged: now they have"),
        ("initiator, and then b is down", "found an agreement that not all have acknowledged"),
    ):
        crash.count += 1
        number = crash.request(len(REQUESTS) - 1)
        reached = []
        crash.proxy.on_turn(number, lambda: (crash.proxy.stall("forward"), reached.append(True)))
        process = crash.launch(dry=True)
        wait_until(lambda: reached, 30, f"commit ({victim})")
        crash.kill("initiator", process)
        process.wait(5)
        crash.proxy.heal()
        check_equal(files(crash.fleet["a"], crash.vm), [f"{crash.vm}.committing"], "what a keeps")
        check_equal(files(crash.fleet["b"], crash.vm), [f"{crash.vm}.pending"], "what b keeps")
        if "down" in victim:
            crash.proxy.cut("refused")
        again = crash.launch(dry=True, timeout=8)
        again.expect_status(69 if "down" in victim else 0, 40)
        check_in(words, again.stderr(), "what the next launch says")
    # What b approved counts for nothing: not there, either.
    check_in("no agreement", crash.fleet["b"].run("agreement", "check", crash.vm, check=64).stderr, "agreement check on b")
    crash.proxy.heal()
    crash.launch(dry=True).expect_status(0, 40)
    check_same(crash.fleet, vm=crash.vm)
    crash.proxy.close()


# Many.


def resident(pid):
    """Kilobytes of memory of a process and its children that are its own (smaps_rollup), and resident."""
    private = shared = 0
    for one in (pid, *children(pid)):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Private_Clean", "Private_Dirty"):
                private += int(rest.split()[0])
            elif name == "Rss":
                shared += int(rest.split()[0])
    return private, shared


def cpu_seconds(pid):
    """CPU time of a process and its living children, without those that it has waited for."""
    ticks = 0
    for one in (pid, *children(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@test(timeout=900, alone=True)
def many(t):
    """QML_AGENTS agents (default 8; the goal is 200) and a launch against all of them, with warm caches"""
    t.need_plain("they take memory of their own")
    count = int(os.environ.get("QML_AGENTS", "8"))
    fleet = Fleet(t, "a")
    a = fleet["a"]
    a_pin = a.identity_pin()
    agents, peers = [], []
    for number in range(count):
        name = f"p{number}"
        home = t.dir / "many" / name
        home.mkdir(parents=True)
        (home / "config").mkdir(mode=0o700)
        port = 20000 + number
        (home / "config" / "config.ini").write_text(
            f"[host]\nname = {name}\n[listen]\naddress = 127.0.0.1:{port}\n[qemu]\nbinary = {t.qemu_path}\n"
        )
        words = ["--home", home]
        pin = a.run("identity", "init", *words, check=0).stdout.strip()
        a.run("trust", "add", "a", a_pin, *words, check=0)
        a.run("trust", "add", name, pin, "--address", f"127.0.0.1:{port}", check=0)
        agents.append(a.start("serve", *words, name=f"agent-{name}"))
        peers.append(name)
    wait_until(lambda: a.run_here("ss", "-Htln", check=0).stdout.count("127.0.0.1:2") >= count, 300, "agents")
    times, agents_cpu, own_cpu = [], 0, 0
    for round_number in range(3):
        before = sum(cpu_seconds(agent.pid) for agent in agents)
        own_before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        words = launch_words(fleet, "--dry-run", "--timeout", "300", vm=f"vm{round_number}", peers=peers)
        result = a.run(*words, timeout=400)
        times.append(time.monotonic() - began)
        check_equal(result.returncode, 0, f"launch {round_number} against {count}: {result.stderr[-800:]}")
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        agents_cpu = sum(cpu_seconds(agent.pid) for agent in agents) - before
        own_cpu = own.ru_utime + own.ru_stime - own_before.ru_utime - own_before.ru_stime
    private, rss = zip(*(resident(agent.pid) for agent in agents))
    report = (
        f"{count} agents on {os.cpu_count()} CPUs: launches {', '.join(f'{value:.2f}' for value in times)} s (cold, warm, "
        f"warm); CPU time of the last: {agents_cpu:.2f} s in the agents, {own_cpu:.2f} s in the launch; an agent (both "
        f"processes): {max(private)} KiB of its own, {max(rss)} KiB resident at most"
    )
    if os.environ.get("QML_REPORT"):
        Path(os.environ["QML_REPORT"]).write_text(report + "\n")
    print(report)
    check(max(private) < 12 * 1024, report)
    if count <= 16:
        check(times[-1] < 3 * (1 + count / 16), report)
