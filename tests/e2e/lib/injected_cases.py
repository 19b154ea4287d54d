# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of lib/injected.py."""
import shutil
import signal
import time
from pathlib import Path

from .injected import DOCUMENTED, Case, Played
from .pair import VM, Launched, Pair, guest_args
from .process import end_marked, free_port
from .qmp import QMPClosed, QMPTimeout
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


class Moves(Case):
    """Two hosts whose guest is to be moved from a to b; each time both start again from the same state."""

    bound = 60
    source_env, destination_env = False, False  # whether the faults are for the launch there
    options = ()

    def __init__(self, t):
        super().__init__(t)
        self.pair = Pair(t)
        self.hosts = [self.pair.a, self.pair.b]
        self.kept = t.dir / "kept"
        self.injection.rest()
        self.up({}, {}, "--no-proof")
        self.down()
        for host in self.hosts:
            shutil.copytree(host.home, self.kept / host.name, ignore=shutil.ignore_patterns("run"))

    def up(self, env_a, env_b, *options):
        """Both launches, at once."""
        listener = self.pair.listen(*options, env=env_b)
        connector = self.pair.connect(*options, env=env_a)
        self.a, self.b = Launched(self.pair.a, connector, "a"), Launched(self.pair.b, listener, "b")
        self.a.serial.wait_lines(1)

    def down(self):
        """All that this case has started has ended."""
        for process in self.t.processes:
            if process.alive():
                process.kill()
        end_marked(self.t.mark)

    def restore(self):
        """The hosts' files are as they were; nothing runs."""
        self.down()
        for host in self.hosts:
            if (self.kept / host.name).exists():
                shutil.rmtree(host.home)
                shutil.copytree(self.kept / host.name, host.home)
        for name in "ab":
            for kind in ("serial", "qmp"):
                (self.t.dir / f"{name}.{kind}").unlink(missing_ok=True)

    def command(self, env):
        self.restore()
        self.up(self.source_env and env or {}, self.destination_env and env or {}, "--no-proof")
        played = self.move(env)
        played.fired = self.injection.fired()
        self.injection.rest()
        self.judge(played)
        return played

    def move(self, env):
        """`migrate` on a."""
        return self.run(self.pair.a, "migrate", VM, *self.options, env=env)

    @staticmethod
    def state(launched):
        """QEMU's run state, or that it is gone."""
        if not launched.process.alive():
            return "gone"
        try:
            return launched.status()
        except (QMPClosed, QMPTimeout, OSError):
            return "gone"

    def runs(self):
        """Where the guest runs."""
        return [name for name, one in (("a", self.a), ("b", self.b)) if self.state(one) == "running"]

    def judge(self, played):
        """One guest and no more, as the status says; and with another try it comes to b."""
        runs = self.runs()
        wanted = {0: ["b"], 14: runs if len(runs) < 2 else []}.get(played.status, ["a"])
        if runs != wanted:
            played.problems.append(f"status {played.status}, and it runs on {runs}")
        if played.status in (0, -999):
            return
        again = self.run(self.pair.a, "migrate", VM)
        if again.status and (self.state(self.b) == "gone" or "--incoming --agreement" in again.stderr):
            self.b.process.kill()
            self.new_destination(played)
            again = self.run(self.pair.a, "migrate", VM)
        done = again.status == 0 or "has moved to b already" in again.stderr
        if not done or self.runs() != ["b"]:
            played.problems.append(f"again: status {again.status}, it runs on {self.runs()}: {again.stderr[-400:]}")

    def after(self):
        """`judge` has tried it again."""
        return []

    def new_destination(self, played):
        """One that waits under the agreement that there is."""
        path = self.pair.b.home / "state" / "agreements" / f"{VM}.json"
        (self.t.dir / "b.qmp").unlink(missing_ok=True)
        words = ["--vm", VM, "--agreement", path, "--incoming", "--listen", f"127.0.0.1:{self.pair.port}"]
        process = self.pair.b.start(*words, "--", *self.pair.guest("b"), name="b-again")
        try:
            self.b = Launched(self.pair.b, process, "b")
        except Failure as failure:
            played.problems.append(f"no new destination: {failure}")


class Migrate(Moves):
    """migrate on the source."""

    no_memory = {0, 69, 70, 76, 13, 14}


class MigratePostcopy(Migrate):
    """migrate --postcopy."""

    options = ("--postcopy",)


class Guardian(Moves):
    """What the destination's guardian does while the guest comes; nobody sees its standard error."""

    no_memory = {0, 13, 14, 69, 70, 76}
    silent = True
    destination_env = True

    def play(self, prepare):
        self.prepare = prepare
        return super().play(self.injection.rest)

    def up(self, env_a, env_b, *options):
        self.injection.fresh = True
        self.injection.rest()
        super().up(env_a, env_b, *options)
        self.injection.fresh = False

    def move(self, env):
        self.prepare()
        return super().move({})


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
        Launched(self.pair.a, source, "a").serial.wait_lines(1)

    def command(self, env):
        return self.run(self.pair.b, "receive", VM, "--from", "a", *DRY, "--", *self.pair.guest("b"), env=env)


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
EACH += (Migrate, Guardian, MigratePostcopy)
CASES = {case.__name__: case for case in EACH}
