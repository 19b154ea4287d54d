# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of lib/injected.py in which a guest is moved."""
import shutil
import signal

from .injected import Case, Played
from .pair import VM, Launched, Pair
from .process import end_marked
from .qmp import QMPClosed, QMPTimeout
from .wait import Failure, wait_until


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


class MigrateDirect(Migrate):
    """migrate --direct: QEMU itself speaks TLS."""

    options = ("--direct",)


class Watcher(Guardian):
    """What the watcher does when `migrate` is killed while it copies; nobody sees its standard error."""

    destination_env = False

    def up(self, env_a, env_b, *options):
        Moves.up(self, env_a, env_b, *options)

    def move(self, env):
        self.injection.fresh = True
        self.injection.rest()
        process = self.pair.a.start("migrate", VM, "--bandwidth", "64K", env=self.injection.env, name="a-migrate")
        wait_until(lambda: self.a.qmp.command("query-migrate").get("status") == "active", 20, "migration that runs")
        self.injection.fresh = False
        self.prepare()
        process.kill()
        home = str(self.pair.a.home)
        wait_until(lambda: not any("migrate" in words.split() and home in words for _, words in self.t.alive()), 45, "watcher that has ended")
        return Played(0, "", "", [])

    def judge(self, played):
        """It runs once or, when the watcher could do nothing, nowhere; `migrate` can be told again."""
        runs = self.runs()
        if len(runs) > 1:
            played.problems.append(f"it runs on {runs}")
        if runs == ["b"]:
            return
        again = self.run(self.pair.a, "migrate", VM)
        if self.runs() != ["b"]:
            self.b.process.kill()
            self.new_destination(played)
            again = self.run(self.pair.a, "migrate", VM)
        if self.runs() != ["b"]:
            played.problems.append(f"again: status {again.status}, it runs on {self.runs()}: {again.stderr[-400:]}")
