# SPDX-License-Identifier: GPL-3.0-or-later
"""A writing guest that is moved between two hosts through a network that can be disturbed, while it is watched."""
import os
import re
import shlex
import signal
import time

from .pair import VM, Pair
from .phases import Watch, monitor, processes
from .proxy import Proxy
from .qmp import QMP
from .wait import Failure, check, check_equal, wait_until
from .writer import WriterSerial, build_writer, check_one_life, wait_running

MEBIBYTES, PAGES = 48, 100  # of the guest, by default: with BANDWIDTH it moves in about two seconds
BANDWIDTH = "32M"
BEHIND = "127.0.0.2"  # an address of b's that only the proxy knows
DELAY = 0.15  # seconds for each direction of the network, from mid-copy on: lib/phases.py says what for
PAIRINGS = {"7.2 → 7.2": "oo", "7.2 → 10.0": "os", "10.0 → 7.2": "so", "10.0 → 10.0": "ss"}
_COMMAND = re.compile(
    r"(?P<where>\b(?:on [ab]|there)[:,] )?'(?:qemu-migrate-launch )?(?P<words>migrate [^\s']+[^']*|--resume-on \w+)'"
    r"(?P<there> there)?(?P<here>, then here)?",
    re.I,
)


class Scene(Pair):
    """Hosts a (the source) and b (the destination, which listens), and a's way to b, through `proxy`.

    b listens at the address BEHIND, the proxy at 127.0.0.1, both at the same port: hosts tell each other ports.

        scene = Scene(t)
        scene.launch()
        scene.watch.at("device", scene.proxy.cut)
        migrate = scene.migrate()
        scene.watch.wait("device", alive=migrate)
        migrate.wait()
        scene.end()

    .serial {"a": WriterSerial, "b": …}; .pid {"a": pid of QEMU …}; .watch; .guardian the pids of b's guardian;
    .hands {"a": a monitor for the test's own hand …}
    """

    def __init__(
        self, t, qemu_a=None, qemu_b=None, mebibytes=MEBIBYTES, pages=PAGES, accel="tcg", more=None, proxied=True
    ):
        """more: {"a": [more of QEMU's arguments], "b": …}. proxied: False: with no proxy, which can do nothing then."""
        super().__init__(t, qemu_a=qemu_a, qemu_b=qemu_b)
        self.image = build_writer(t.dir, mebibytes, pages)
        self.memory, self.accel, self.more = mebibytes + 16, accel, more or {}
        self.address = BEHIND if proxied else "127.0.0.1"
        self.proxy = Proxy(self.port, self.port if proxied else None, self.address)
        self.serial = {name: WriterSerial(t.dir / f"{name}.serial") for name in "ab"}
        self.monitors = {name: t.dir / f"{name}.watched" for name in "ab"}
        self.hands = {name: t.dir / f"{name}.hand" for name in "ab"}
        self.processes, self.pid, self.guardian = {}, {}, []
        self.watch = None
        self.lives = [self.serial["a"], self.serial["b"]]

    def listen(self, *options, guest=None, env=None, **start):
        """Starts the program on b, and waits until it listens."""
        start.setdefault("name", "b-launch")
        words = ["--vm", VM, "--listen", f"{self.address}:{self.port}", *self.roles["b"], *options]
        process = self.b.start(*words, "--", *(guest or self.guest("b")), env=env, **start)
        process.wait_output("waiting for a peer")
        return process

    def guest(self, name, **how):
        """QEMU's path and arguments of the writing guest on host `name`."""
        cpu = ["-cpu", "qemu64"] if self.accel == "kvm" else []
        return [
            *(self.qemu[name], "-machine", f"q35,accel={self.accel}", "-m", str(self.memory), *cpu),
            *("-nodefaults", "-display", "none", "-bios", str(self.image)),
            *(*monitor(self.monitors[name]), *monitor(self.hands[name])),
            *("-serial", f"file:{self.serial[name].path}", *self.more.get(name, [])),
        ]

    def _became(self, name, process, timeout):
        """Waits until the launch on host `name` has become a QEMU that answers."""

        def answers():
            check(process.alive(), f"{process.name} ended with {process.poll()}: {process.stderr()[-600:]}")
            return self.monitors[name].exists()

        wait_until(answers, timeout, f"QEMU on {name}: {process.stderr()[-300:]}")
        QMP(self.monitors[name], alive=process.alive).close()
        self.processes[name], self.pid[name] = process, process.pid

    def launch(self, *options, timeout=60):
        """Both sides; the guest runs on a, and is watched."""
        for path in self.monitors.values():
            path.unlink(missing_ok=True)
        listener = self.listen(*options, "--timeout", timeout)
        connector = self.connect(*options, "--timeout", timeout)
        self._became("a", connector, timeout)
        self._became("b", listener, timeout)
        wait_running(self.serial["a"])
        self.guardian = processes(self.t, self.b.home)
        self.watch_anew()

    def watch_anew(self):
        """A new Watch, which has not begun yet."""
        path = self.a.home / "state" / "vms" / f"{VM}.json"
        self.watch = Watch(self.monitors, "a", "b", path)

    def by_hand(self, name, command, arguments=None):
        """Somebody says a command at a monitor of QEMU's on this host; what it returns."""
        with QMP(self.hands[name]) as qmp:
            return qmp.command(command, arguments)

    def status(self, name):
        """The run state of QEMU on this host."""
        return self.by_hand(name, "query-status")["status"]

    def migrate(self, *options, bandwidth=BANDWIDTH, slow=True, host=None):
        """Starts `migrate` on a, in the background, watched; returns the Process. slow: the network becomes slow at
        mid-copy."""
        if slow:
            self.watch.at("mid-copy", lambda: self.proxy.delay(DELAY))
        if not self.watch.looks:
            self.watch.start()
        return self.again(*options, *(["--bandwidth", bandwidth] if bandwidth else []), host=host)

    def again(self, *options, host=None):
        """Starts `migrate` once more."""
        return (host or self.a).start("migrate", VM, *options)

    def kill(self, what):
        """Ends "a" or "b" (their QEMUs), "guardian", or "all of a" with SIGKILL."""
        if what == "guardian":
            pids = self.guardian
        else:
            pids = [*self.at_work("a"), self.pid["a"]] if what == "all of a" else [self.pid[what]]
        check(pids, f"nothing to kill: {what}")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def at_work(self, name):
        """The processes of the program on this host, without QEMU: migrate and its watcher, or the guardian."""
        return processes(self.t, {"a": self.a, "b": self.b}[name].home)

    def wait_idle(self, timeout):
        """Waits until nothing of the program is at work on a; returns the seconds that it took."""
        began = time.monotonic()
        wait_until(lambda: not self.at_work("a"), timeout, f"end of what is at work on a ({self.logs()})")
        return time.monotonic() - began

    def logs(self):
        """The ends of what the watcher and the guardian wrote, in one line."""
        found = []
        for host, name in ((self.a, "migrate"), (self.b, "guardian")):
            path = host.home / "state" / "vms" / f"{VM}.{name}.log"
            if path.exists():
                found.append(f"{name}: {' | '.join(path.read_text(errors='replace').splitlines()[-8:])}")
        return "; ".join(found)

    def running(self):
        """The hosts whose guest runs: its QEMU says so and it counts on; Failure when one of both is not true."""
        for last in (False, True):  # it may have begun, or stopped, between the two questions
            names = self.watch.running()
            counting = [name for name in "ab" if self.serial[name].advances(2, 2 if name in names else 0.3)]
            if names == counting or last:
                check_equal(counting, names, f"guests that count; {self.watch.story()}")
                return names
        return None

    def check_one(self, names, whole=True):
        """Only the guest on this host runs, it goes on where it was, and it has lost nothing."""
        check_equal(self.running(), list(names), f"who runs; {self.watch.story()}; {self.logs()}")
        (name,) = names
        if name == "b":
            self.serial["b"].check_continues(self.serial["a"], whole=whole)
        else:
            self.serial["a"].check_monotonic(whole=whole)
            check_equal(self.serial["b"].text(), "", "what the guest wrote at the destination")

    @staticmethod
    def _commands(text, here):
        """[(host, words)] of the commands in a message of host `here`, in the order in which they are to be tried."""
        found = []
        other = "ab".replace(here, "")
        for one in _COMMAND.finditer(text):
            words = one["words"] if one["words"].startswith("migrate") else f"migrate {VM} {one['words']}"
            where = (one["where"] or "").lower()
            host = where[3] if where.startswith("on ") else other if where or one["there"] else here
            found += [(host, words), *([(here, words)] if one["here"] else [])]
        return found

    def follow(self, text):
        """Does what a message with status 14 says, one command after the other, and what the answers to that say, until
        a guest runs: each on the host that the message names (`on b: '…'`, `there, '…'`), or where it was said. Returns
        the steps, in words."""
        here, steps, tried, pending = "a", [], set(), []
        while not steps or not self.running():
            fresh = [entry for entry in self._commands(text, here) if entry not in tried]
            pending = fresh + [entry for entry in pending if entry not in fresh]
            check(pending and len(steps) < 8, f"no command to go on with, after {steps}: {text}")
            here, words = pending.pop(0)
            tried.add((here, words))
            result = {"a": self.a, "b": self.b}[here].run(*shlex.split(words), timeout=60)
            steps.append(f"`{words}` on {here}: {result.returncode}")
            check(result.returncode in (0, 13, 14), f"{steps[-1]}: {result.stderr.strip()}")
            text = result.stderr
        return "; ".join(steps)

    def _listen_again(self, words, timeout):
        """Starts the program on b once more, with these words; its old guardian may still be there to be asked how it
        ended, and have the port. Returns the Process, when it listens."""
        until = time.monotonic() + timeout
        while True:
            process = self.b.start(*words, "--", *self.guest("b"), name="b-again")
            try:
                process.wait_output("for ")  # a peer, or `migrate`
                return process
            except Failure:
                if "Address already in use" not in process.stderr() or time.monotonic() > until:
                    raise
            time.sleep(0.5)

    def anew(self, *options, timeout=40):
        """The guest was lost: it is launched anew, on a, with b as its destination. options: more of a's launch."""
        self.watch.stop()
        self.lives = []  # it begins again at 1
        for name in "ab":
            serial = self.serial[name]
            if serial.path.exists():
                serial.path.rename(serial.path.with_suffix(".first"))
            self.monitors[name].unlink(missing_ok=True)
        words = ["--vm", VM, "--listen", f"{self.address}:{self.port}", "--incoming", "--renegotiate", "--timeout", timeout]
        listener = self._listen_again(words, timeout)
        connector = self.connect(*options, "--timeout", timeout)
        self._became("a", connector, timeout)
        self._became("b", listener, timeout)
        wait_running(self.serial["a"])
        self.watch_anew()
        self.watch.start()
        self.check_one("a")

    def new_destination(self, timeout=40):
        """A destination that waits once more, under the agreement that there is, after the first one has ended."""
        self.watch.stop()
        wait_until(lambda: self.processes["b"].poll() is not None, 20, "end of the old destination")
        self.monitors["b"].unlink(missing_ok=True)
        words = ["--vm", VM, "--listen", f"{self.address}:{self.port}", "--incoming", "--agreement"]
        path = self.b.home / "state" / "agreements" / f"{VM}.json"
        listener = self._listen_again([*words, path], timeout)
        self._became("b", listener, timeout)
        self.guardian = processes(self.t, self.b.home)
        self.watch_anew()
        self.watch.start()

    def end(self):
        """No two guests ever ran at once, or one after the other from the same moment."""
        self.watch.stop()
        self.watch.check_never_two()
        check_one_life(*self.lives)
        check(self.proxy.failure is None, f"a hook failed: {self.proxy.failure}")
        self.proxy.close()


def words_of(process):
    """What a Process said on standard error, without how far it was, in one line."""
    lines = [line.removeprefix("qemu-migrate-launch: ") for line in process.stderr().splitlines()]
    return " / ".join(line for line in lines if line.strip() and not re.search(r"\d %", line))


def paths(t, pairing):
    """(QEMU's path on a, on b) for a name of PAIRINGS."""
    return [t.qemu_path if letter == "o" else t.second_qemu_path for letter in PAIRINGS[pairing]]
