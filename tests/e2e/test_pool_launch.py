# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents and launches that find each other in a pool."""
import json
import os
import signal
import time

from lib.etcd import Etcd
from lib.harness import check, check_equal, check_in, free_port, test, wait_until
from lib.pair import Launched, guest_args

HOSTS = "test/fleet/hosts/"
AGREEMENT = "test/fleet/agreements/web1"


class Pool:
    """Host a, which launches, and agents of b and c, all in one pool; trust entries have no addresses."""

    def __init__(self, t, etcd):
        self.t, self.etcd = t, etcd
        self.a, self.b, self.c = self.hosts = [t.host(name) for name in "abc"]
        self.ports = {host.name: free_port() for host in self.hosts}
        self.agents = {}
        for host in self.hosts:
            port = free_port()
            more = f"[listen]\nmigration-ports = {port}-{port}\n[qemu]\nbinary = {t.qemu_path}\n"
            host.write_config(f"[host]\nname = {host.name}\n{more}" + etcd.config())
            for other in self.hosts:
                if other is not host:
                    host.trust(other)

    def serve(self, *hosts):
        """Starts agents and waits until they are in the pool."""
        for host in hosts:
            self.agents[host.name] = host.start("serve", "--listen", f"127.0.0.1:{self.ports[host.name]}")
        wait_until(lambda: all(HOSTS + host.name in self.etcd.get(HOSTS) for host in hosts), 20, "agents in the pool")

    def stop(self, host):
        """Ends an agent."""
        self.agents[host.name].signal(signal.SIGTERM)
        self.agents[host.name].expect_status(0)

    def words(self, *options, vm="web1"):
        """Of a launch on a."""
        return ["--vm", vm, *options, "--", self.t.qemu_path, *guest_args(self.t, "web1")]

    def dry_run(self, *options, status=0):
        """(names of the hosts that agreed, what was said)."""
        result = self.a.run(*self.words("--dry-run", "--json", *options, vm="dry"), check=status, timeout=60)
        names = [host["name"] for host in json.loads(result.stdout)["hosts"]] if status == 0 else []
        return sorted(names), result.stderr


@test(timeout=150)
def all_members(t):
    """A launch that names nobody is agreed with all that are there, and its agreement is found in the pool."""
    etcd = Etcd(t, 3, tls=True)
    pool = Pool(t, etcd)
    names, err = pool.dry_run(status=69)
    check_in("the pool has no other host now that is trusted here", err, "with nobody in the pool")
    pool.serve(pool.b, pool.c)
    names, err = pool.dry_run()
    check_equal(names, ["a", "b", "c"], "the parties")
    check_equal(etcd.get("test/fleet/agreements/"), {}, "what a dry run leaves in the pool")
    pool.stop(pool.c)
    names, err = pool.dry_run()
    check_equal(names, ["a", "b"], "the parties without c")
    check_in("c is not in the pool now", err, "what was said of c")
    pool.serve(pool.c)
    etcd.members[0].kill()  # no harm
    process = pool.a.start(*pool.words())
    launched = Launched(pool.a, process, "web1", timeout=60)
    kept = json.loads((pool.a.home / "state/agreements/web1.json").read_text())
    check_equal(json.loads(etcd.get(AGREEMENT)[AGREEMENT]), kept, "the agreement in the pool")
    check_equal(len(kept["approvals"]), 2, "approvals")
    launched.process.kill()


@test(timeout=150)
def store_down(t):
    """Without the store a launch that needs it fails and names it; one that names its parties goes on."""
    etcd = Etcd(t)
    pool = Pool(t, etcd)
    pool.a.run("trust", "add", "b", pool.b.identity_pin(), "--address", f"127.0.0.1:{pool.ports['b']}", check=0)
    pool.serve(pool.b, pool.c)
    check_equal(pool.dry_run("--peer", "b")[0], ["a", "b"], "the parties by --peer")
    etcd.members[0].kill()
    names, err = pool.dry_run(status=69)
    check_in("no --peer names the parties, so the pool is asked", err, "what was asked")
    check_in(f"http://127.0.0.1:{etcd.ports[0]}: ", err, "the endpoint")
    names, err = pool.dry_run("--peer", "b")
    check_equal(names, ["a", "b"], "the parties by --peer without the store")
    process = pool.a.start(*pool.words("--peer", "b"))
    launched = Launched(pool.a, process, "web1", timeout=60)
    check_in("the agreement is not in the pool", process.stderr(), "what was said of the agreement")
    launched.process.kill()
    # Agents start without it, too, and are there when it is.
    pool.stop(pool.c)
    pool.agents["c"] = pool.c.start("serve", "--listen", f"127.0.0.1:{pool.ports['c']}", name="c-again")
    pool.agents["c"].wait_output("trying on")
    etcd.members[0] = etcd.start_member(0)
    wait_until(lambda: etcd.answers() and set(etcd.get(HOSTS)) >= {HOSTS + "b", HOSTS + "c"}, 60, "both agents")


@test(timeout=150)
def agent(t):
    """The agent's presence: its address, its end, its publisher's death, another configuration."""
    etcd = Etcd(t)
    pool = Pool(t, etcd)
    pool.serve(pool.b)
    serve = pool.agents["b"]
    publisher = [int(line) for line in children(serve.pid) if name_of(line) == "qml-pool"]
    check_equal(len(publisher), 1, "processes that publish")
    os.kill(publisher[0], signal.SIGKILL)
    serve.wait_output("the pool's process has ended: it is started again")
    wait_until(lambda: [pid for pid in children(serve.pid) if name_of(pid) == "qml-pool"], 30, "another one")
    wait_until(lambda: HOSTS + "b" in etcd.get(HOSTS), 10, "b in the pool again")
    pool.b.write_config("[host]\nname = b2\n" + etcd.config("address = b2.lan"))
    serve.signal(signal.SIGHUP)
    wait_until(lambda: set(etcd.get(HOSTS)) == {HOSTS + "b2"}, 20, "b under its new name alone")
    pool.b.write_config("[host]\nname = b2\n")
    serve.signal(signal.SIGHUP)
    wait_until(lambda: etcd.get(HOSTS) == {}, 10, "b out of the pool")
    wait_until(lambda: not [pid for pid in children(serve.pid) if name_of(pid) == "qml-pool"], 10, "end of what publishes")
    etcd_config = etcd.config().replace("etcd+http://127.0.0.1", "etcd+http://10.0.0.1")
    pool.b.write_config("[host]\nname = b\n" + etcd_config)
    serve.signal(signal.SIGHUP)
    serve.wait_output("etcd+http:// is for this machine only")
    pool.b.write_config("[host]\nname = b\n" + etcd.config())
    serve.signal(signal.SIGHUP)
    wait_until(lambda: HOSTS + "b" in etcd.get(HOSTS), 20, "b in the pool again")
    began = time.monotonic()
    pool.stop(pool.b)
    check(time.monotonic() - began < 4, "the agent's end takes long")
    check_equal(etcd.get(HOSTS), {}, "the pool after b's end")


@test(timeout=200)
def receive(t):
    """Nobody is named anywhere: the VM goes from a to b to c, each of which finds in the pool where it runs."""
    etcd = Etcd(t)
    pool = Pool(t, etcd)
    pool.serve(pool.a, pool.b, pool.c)
    result = pool.b.run("receive", "web1", "--", t.qemu_path, *guest_args(t, "b"), check=69)
    check_in("nobody in the pool says that web1 runs there", result.stderr, "of a VM that nobody has")
    check_in("there is no VM web1 here", result.stderr, "what they say")
    process = pool.a.start("--vm", "web1", "--", t.qemu_path, *guest_args(t, "a"))
    launched = Launched(pool.a, process, "a", timeout=60)
    launched.serial.wait_lines(2)
    for source, host in ((pool.a, pool.b), (pool.b, pool.c)):
        process = host.start("receive", "web1", "--", t.qemu_path, *guest_args(t, host.name), name=f"{host.name}-receive")
        arrived = Launched(host, process, host.name, timeout=60)
        check_in(f"web1: runs on {source.name}, found by the pool", process.stderr(), "what was found")
        source.run("migrate", "web1", timeout=60, check=0)
        arrived.serial.wait_lines(2)
    # What the store says of the agreement is a hint: a lie is said, and all are asked.
    etcd.put(AGREEMENT, "{}")
    result = pool.a.run("receive", "web1", "--dry-run", "--", t.qemu_path, *guest_args(t, "a2"), check=0, timeout=60)
    check_in("it does not count, all in the pool are asked", result.stderr, "what was said of a lie")
    check_in("web1: runs on c, found by the pool", result.stderr, "what was found")
    arrived.process.kill()


def children(pid):
    """The pids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def name_of(pid):
    """The name of a process, as ps shows it."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
