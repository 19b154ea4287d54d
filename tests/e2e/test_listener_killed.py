# SPDX-License-Identifier: GPL-3.0-or-later
"""A launch that listens, or its peer, is killed at each step of what the two agree on (agents: test_agents)."""
import json
import os
import signal

from lib.harness import check, check_equal, test, wait_until
from lib.pair import VM, Pair, said
from lib.proxy import Proxy

REQUESTS = ("hello", "profile", "prove", "propose", "commit")


class Crash:
    """Two launches, the connection between them going through a proxy, of which one is killed."""

    def __init__(self, t):
        self.pair = Pair(t)
        self.proxy = Proxy(self.pair.port)
        a, b = self.pair.a, self.pair.b
        a.run("trust", "remove", "b", check=0)
        a.trust(b, address=self.proxy.address)
        self.check_both("the first launch")  # the caches are warm
        self.forget()

    def start(self):
        """Both with --dry-run, a when b listens: (listener, connector)."""
        listener = self.pair.listen("--dry-run", "--timeout", 15)
        wait_until(lambda: "waiting for a peer" in listener.stderr(), 15, f"listener: {listener.stderr()}")
        return listener, self.connect()

    def connect(self):
        """a's side."""
        return self.pair.connect("--dry-run", "--timeout", 15)

    def check_both(self, what):
        """A launch of both that goes well."""
        for process in self.start():
            check_equal(process.wait(30), 0, f"{what}: {process.stderr()}")

    def forget(self):
        """The VM is a new one again on both."""
        for host in (self.pair.a, self.pair.b):
            for name in self.files(host):
                (host.home / "state" / "agreements" / name).unlink()

    @staticmethod
    def files(host):
        """What the host keeps of agreements about the VM, made and being made."""
        folder = host.home / "state" / "agreements"
        names = [f"{VM}.{kind}" for kind in ("committing", "json", "pending")]
        return [name for name in names if (folder / name).exists()]

    def agreed(self, host):
        """The digest of the agreement that counts there; None without one."""
        if f"{VM}.json" not in self.files(host):
            return None
        return json.loads(host.run("agreement", "show", VM, "--json", check=0).stdout)["digest"]

    def answer_is_under_way(self):
        """Whether the proxy has what b said last and has not handed it over."""
        return any(one.backward.queue for one in self.proxy.alive())

    def case(self, victim, step, answered):
        """One kill: when request number `step` has come to b's side, or when its answer has not come back yet."""
        what = f"{victim} killed {'after' if answered else 'before'} {REQUESTS[step]}"
        reached = []

        def hold():  # an answer is on its way for so long that there is time to hold it up
            self.proxy.delay(0.5) if answered else self.proxy.stall("forward")
            reached.append(True)

        self.proxy.on_turn(self.proxy.turns + 2 + step, hold)  # the first turn is the handshake's
        listener, connector = self.start()
        wait_until(lambda: reached or not connector.alive(), 30, f"request: {what}")
        check(connector.alive() and listener.alive(), f"ended before: {what}: {connector.stderr()} {listener.stderr()}")
        if answered:
            wait_until(self.answer_is_under_way, 15, f"answer: {what}: {listener.stderr()}")
            self.proxy.stall("backward")
        killed, left = (listener, connector) if victim == "listener" else (connector, listener)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(5)
        self.proxy.heal()
        last = answered and step == len(REQUESTS) - 1  # all is agreed on, and what was on its way arrives
        if victim == "listener":
            status = left.wait(40)
            check((status in (69, 76) and said(left)) or (status == 0 and last), f"status {status}: {what}: {left.stderr()}")
        self.check_whole(what)
        if victim == "connector" and last:  # the kernel had the whole answer; or b saw that it did not get through
            wait_until(lambda: not left.alive() or "did not reach" in left.stderr(), 20, f"b's word: {what}: {left.stderr()}")
        if victim == "connector" and left.poll() is None:
            # b goes on waiting, for a's second try.
            for process in (self.connect(), left):
                check_equal(process.wait(30), 0, f"{process.name}: the second try: {what}: {process.stderr()}")
        elif victim == "connector":
            check(last, f"the listener ended: {what}: {left.stderr()}")
            check_equal(left.poll(), 0, f"what all have agreed on: {what}: {left.stderr()}")
            check(self.agreed(self.pair.b), f"b would have started QEMU without an agreement: {what}")
        self.check_whole(what)
        self.check_both(f"the next launch: {what}")
        both = {name: self.agreed(host) for name, host in (("a", self.pair.a), ("b", self.pair.b))}
        check(both["a"] and both["a"] == both["b"], f"after the next launch: {what}: {both}")
        for host in (self.pair.a, self.pair.b):
            check_equal(self.files(host), [f"{VM}.json"], f"what {host.name} keeps: {what}")
        self.forget()

    def check_whole(self, what):
        """What counts as an agreement anywhere is whole, and a, which may start the guest, has none without b."""
        found = {name: self.agreed(host) for name, host in (("a", self.pair.a), ("b", self.pair.b))}
        check(len({one for one in found.values() if one}) <= 1, f"two agreements: {what}: {found}")
        check(found["b"] or not found["a"], f"a may start it, and b does not hold it: {what}")


def crashes(victim, answered):
    """A test of one victim at all steps."""

    def function(t):
        crash = Crash(t)
        for step in range(len(REQUESTS)):
            crash.case(victim, step, answered)
        crash.proxy.close()

    when = "after" if answered else "before"
    function.__name__ = f"test_{victim}_{when}_each_request"
    function.__module__ = __name__
    function.__doc__ = f"launch --listen and its peer, kill -9 of the {victim} {when} each request: no half agreement"
    test(timeout=200)(function)


for one in ("listener", "connector"):
    for moment in (False, True):
        crashes(one, moment)
