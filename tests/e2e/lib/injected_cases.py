# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of lib/injected.py."""
import shutil
import signal
import time
from pathlib import Path

from .etcd import Etcd
from .injected import DOCUMENTED, Case, Played
from .injected_moves import Guardian, Migrate, MigrateDirect, MigratePostcopy, Moves, Watcher
from .pair import VM, Launched, Pair, guest_args
from .process import end_marked, free_port
from .wait import Failure, wait_until

DRY = ("--dry-run", "--timeout", "10")


class WithAgent(Case):
    """launch --dry-run --peer: the other side is an agent."""

    options = DRY

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a, self.pair.b]
        self.agent = self.pair.b.start("serve", "--listen", f"127.0.0.1:{self.pair.port}", name="b-serve")
        self.agent.wait_output("serving")

    def command(self, env):
        words = ["--vm", VM, "--peer", "b", *self.options, "--", *self.pair.guest("a")]
        return self.run(self.pair.a, *words, env=env)


class Cold(WithAgent):
    """The same with nothing remembered: QEMU is probed, and the guest's CPU proven."""

    def command(self, env):
        shutil.rmtree(self.pair.a.home / "state" / "cache", ignore_errors=True)
        return super().command(env)


class UnderAgreement(WithAgent):
    """launch --dry-run under the agreement that is kept."""

    def command(self, env):
        agreement = self.pair.a.home / "state" / "agreements" / f"{VM}.json"
        if not agreement.exists():
            return super().command({})
        return self.run(self.pair.a, "--vm", VM, "--agreement", agreement, *DRY, "--", *self.pair.guest("a"), env=env)


class OfProfile(Case):
    """launch --dry-run --peer-profile."""

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a]
        self.file = t.dir / "b.profile"
        self.pair.b.run("profile", "--accel", "tcg", "--machine", "q35", "-o", self.file, check=0)

    def command(self, env):
        words = ["--vm", VM, "--peer-profile", self.file, *DRY, "--", *self.pair.guest("a")]
        return self.run(self.pair.a, *words, env=env)


class Listener(Case):
    """launch --dry-run --listen, with a launch as the other side, which has to end, too. It says what was wrong with each
    peer that came."""

    several = True

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a, self.pair.b]

    def command(self, env):
        other = self.pair.connect(*DRY)
        try:
            played = self.run(self.pair.b, "--vm", VM, "--listen", f"127.0.0.1:{self.pair.port}", "--incoming", *DRY, "--", *self.pair.guest("b"), env=env)
            status = other.wait(self.bound)
        finally:
            if other.alive():
                other.kill()
        if status != 0 and played.status == 0:
            played.problems.append(f"the other side: status {status}: {other.stderr()[-300:]}")
        return played


class Agent(Case):
    """An agent that serves: what it does for a launch. It lives, or ends as is documented, and is started again."""

    no_memory = {0, 69, 70, 76}
    several = True  # the launch tells how it waits for an agent that has ended
    words = ("--no-proof",)

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a, self.pair.b]
        self.injection.rest()
        self.injection.fresh = False
        self.agent = None
        self.serve(self.injection.env)

    def serve(self, env):
        """Starts it, until it serves; or it ends."""
        self.agent = self.pair.b.start("serve", "--listen", f"127.0.0.1:{self.pair.port}", name="b-serve", env=env)
        wait_until(lambda: "serving" in self.agent.stderr() or not self.agent.alive(), 20, "agent that serves, or ends")

    def command(self, env):
        played = self.run(self.pair.a, "--vm", VM, "--peer", "b", *DRY, *self.words, "--", *self.pair.guest("a"))
        time.sleep(0.05)
        if not self.agent.alive():
            if self.agent.poll() not in DOCUMENTED:
                played.problems.append(f"the agent ended with {self.agent.poll()}: {self.agent.stderr()[-500:]}")
            self.injection.rest()
            self.serve(self.injection.env)
        return played

    def after(self):
        self.injection.rest()
        time.sleep(0.3)  # one that is about to end has ended then
        if not self.agent.alive():
            self.serve(self.injection.env)
        return super().after()


class AgentStart(Agent):
    """An agent that is started, serves one launch, and is told to end."""

    def __init__(self, t):
        super().__init__(t)
        self.agent.signal(signal.SIGTERM)
        self.agent.wait(20)
        self.injection.fresh = True

    def after(self):
        return Case.after(self)

    def command(self, env):
        self.serve(env)
        if not self.agent.alive():
            return Played(self.agent.poll(), "", self.agent.stderr(), [])
        played = self.run(self.pair.a, "--vm", VM, "--peer", "b", *DRY, *self.words, "--", *self.pair.guest("a"))
        self.agent.signal(signal.SIGTERM)
        status = self.agent.wait(self.bound)
        if status not in DOCUMENTED:
            played.problems.append(f"the agent ended with {status}: {self.agent.stderr()[-500:]}")
        left = [pid for pid, words in self.t.alive() if str(self.pair.b.home) in words]
        if left:
            where = Path(f"/proc/{left[0]}/wchan").read_text()
            played.problems.append(f"the agent ended with {status}, and left {len(left)} processes, in {where}: {self.agent.stderr()[-900:]}")
            end_marked(self.t.mark)
        return played


class Receive(Case):
    """receive --dry-run from a host whose VM runs."""

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a, self.pair.b]
        ports = {"a": free_port(), "b": self.pair.port}
        self.pair.b.run("trust", "add", "a", self.pair.a.identity_pin(), "--address", f"127.0.0.1:{ports['a']}", check=0)
        for host in self.hosts:
            agent = host.start("serve", "--listen", f"127.0.0.1:{ports[host.name]}", name=f"{host.name}-serve")
            agent.wait_output("serving")
        source = self.pair.a.start("--vm", VM, "--peer", "b", "--no-proof", "--", *self.pair.guest("a"), name="a-launch")
        self.source = Launched(self.pair.a, source, "a")
        self.source.serial.wait_lines(1)

    def command(self, env):
        return self.run(self.pair.b, "receive", VM, "--from", "a", *DRY, "--", *self.pair.guest("b"), env=env)


class ReceiveStarts(Receive):
    """receive from a host whose VM runs, until QEMU waits here; it is ended again each time."""

    def command(self, env):
        (self.t.dir / "b.qmp").unlink(missing_ok=True)
        process = self.pair.b.start("receive", VM, "--from", "a", "--", *self.pair.guest("b"), name="b-receive", env=env)
        problems, status = [], 0
        try:
            waits = Launched(self.pair.b, process, "b")
            if waits.status() != "inmigrate":
                problems.append(f"the destination is {waits.status()}")
            process.kill()
        except Failure as failure:
            status = process.poll()
            if status is None:
                problems.append(str(failure))
                process.kill()
        if self.source.status() != "running":
            problems.append(f"the source is {self.source.status()}")
        return Played(-999 if status is None else status, "", process.stderr(), problems)


class Pool(WithAgent):
    """launch --dry-run that finds the agent in the pool."""

    def __init__(self, t):
        super().__init__(t)
        etcd = Etcd(t)
        self.agent.signal(signal.SIGTERM)
        self.agent.expect_status(0)
        for host in self.hosts:
            config = host.home / "config" / "config.ini"
            text = config.read_text() if config.exists() else f"[host]\nname = {host.name}\n"
            host.write_config(text + etcd.config())
        self.agent = self.pair.b.start("serve", "--listen", f"127.0.0.1:{self.pair.port}", name="b-serve")
        wait_until(lambda: "test/fleet/hosts/b" in etcd.get("test/fleet/hosts/"), 20, "agent in the pool")

    def command(self, env):
        return self.run(self.pair.a, "--vm", VM, *DRY, "--", *self.pair.guest("a"), env=env)


class RunsAlready(Case):
    """launch of a VM that runs here already: whatever fails, it is not started twice."""

    wanted = 14
    bound = 15
    no_memory = {14, 70}

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a, self.pair.b]
        self.injection.rest()
        listener, connector = self.pair.listen("--no-proof"), self.pair.connect("--no-proof")
        Launched(self.pair.b, listener, "b")
        Launched(self.pair.a, connector, "a").serial.wait_lines(1)

    def command(self, env):
        words = ["--vm", VM, "--peer", "b", "--timeout", "10", "--", self.pair.qemu["a"], *guest_args(self.t, "second")]
        played = self.run(self.pair.a, *words, env=env)
        if played.status == 0:
            played.problems.append("it was started twice")
        return played


class Starts(Moves):
    """launch on both sides, until both are QEMU; the fault is the source's."""

    no_memory = {0, 69, 70}
    faulty_one = "a"

    def command(self, env):
        self.restore()
        return self.start(env)

    def start(self, env):
        """Both; what becomes of the one that has the fault."""
        (self.t.dir / "a.qmp").unlink(missing_ok=True)
        (self.t.dir / "b.qmp").unlink(missing_ok=True)
        env_a, env_b = (env, {}) if self.faulty_one == "a" else ({}, env)
        options = ("--no-proof", "--timeout", "8")
        processes = {"b": self.pair.listen(*options, env=env_b), "a": self.pair.connect(*options, env=env_a)}
        problems, became = [], {}
        for name, process in processes.items():
            try:
                became[name] = Launched(getattr(self.pair, name), process, name)
            except Failure as failure:
                if process.alive() or process.poll() not in DOCUMENTED:
                    problems.append(f"{name}: {failure}")
        chosen = processes[self.faulty_one]
        status = 0 if self.faulty_one in became else chosen.poll()
        for name, one in became.items():
            if one.status() != {"a": "running", "b": "inmigrate"}[name]:
                problems.append(f"{name} is {one.status()}")
        played = Played(status, "", chosen.stderr(), problems)
        self.down()
        return played

    def after(self):
        self.injection.rest()
        played = self.start({})
        if played.status:
            played.problems.append(f"the next try: {played.status}: {played.stderr[-300:]}")
        return played.problems


class Waits(Starts):
    """The same; the fault is the destination's, and its guardian's."""

    faulty_one = "b"


EACH = (OfProfile, UnderAgreement, WithAgent, Listener, Cold, Receive, Agent, AgentStart, RunsAlready, Starts, Waits)
EACH += (Migrate, Guardian, MigratePostcopy, MigrateDirect, Watcher, ReceiveStarts, Pool)
CASES = {case.__name__: case for case in EACH}
