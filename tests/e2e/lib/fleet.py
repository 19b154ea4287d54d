# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts on this machine, each in a network namespace of its own with an address on one bridge, a real sshd and
an agent. Nothing of it is left when its processes have ended: the namespaces have no names, and the bridge is in that of
the test, which leaves this machine's for good. Needs root; without it, tests are skipped.
"""
import ctypes
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from .host import Host
from .process import MARK
from .proxy import Proxy
from .serial import Serial
from .wait import Failure, Skip, check_equal, wait_until

CLONE_NEWNET = 0x40000000  # sched.h
NETWORK = "10.77.0"
DESK = f"{NETWORK}.254"  # the test's own address
UNIT = Path(__file__).resolve().parents[3] / "contrib" / "systemd" / "qemu-migrate-launch.service.in"
CONTRIB = Path(__file__).resolve().parents[3] / "contrib"
BEGIN = """
set -e
mount --make-rprivate /
mount --bind "$1" "$2"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
hostname "$3"
ip link set lo up
echo ready
exec sleep infinity
"""


def own_network():
    """This process, and all that it starts from now on, into a network of its own that reaches nothing."""
    if os.geteuid() != 0:
        raise Skip("network namespaces need root")
    for program in ("ip", "nsenter", "unshare", "ssh", "ssh-keygen"):
        if not shutil.which(program):
            raise Skip(f"no {program}")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise Skip(f"no network namespaces here: {os.strerror(ctypes.get_errno())}")


def ip(*words, **options):
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False, **options)


class FleetHost(Host):
    """One of the hosts: .address, .number; .here the same path on each, a folder of its own.

    The program runs with QEMU_MIGRATE_LAUNCH_HOME, in the host's namespaces; `qemu-system-x86_64` and
    `qemu-migrate-launch` in its PATH are links in .bin.
    """

    def __init__(self, fleet, name, number, qemu):
        super().__init__(fleet.t, name)
        self.fleet, self.number = fleet, number
        self.address = f"{NETWORK}.{number}"
        self.here = fleet.here
        self.bin = self.home / "bin"
        self.bin.mkdir()
        (self.bin / "qemu-migrate-launch").symlink_to(fleet.t.program)
        self.set_qemu(qemu)
        self.env = {
            "QEMU_MIGRATE_LAUNCH_HOME": self.home,
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        words = ["unshare", "--net", "--mount", "--uts", "sh", fleet.begin, self.home, self.here, name]
        self.holder = fleet.t.start(*words, name=f"{name}-holder")
        try:
            self.holder.wait_output("ready")
        except Failure as failure:
            raise Skip(f"no namespaces here: {failure}: {self.holder.stderr().strip()}") from None
        self.agent = self.sshd = None
        self._plug()

    def _plug(self):
        """Into the bridge, by a cable whose ends are both in namespaces of ours."""
        cable = f"to-{self.name}"
        steps = [
            ("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid),
            ("link", "set", cable, "master", "bridge0", "up"),
        ]
        for step in steps:
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no network between namespaces here: ip {' '.join(map(str, step))}: {done.stderr.strip()}")
        for step in (("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            self.run_here("ip", *step, check=0)

    def enter(self):
        """The words that run what follows on this host."""
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--uts", "--"]

    def argv(self, *args):
        return [*self.enter(), str(self.bin / "qemu-migrate-launch"), *(str(word) for word in args)]

    def run_here(self, *argv, env=None, **options):
        """Runs any program on this host."""
        return self.test.run(*self.enter(), *argv, env={**self.env, **(env or {})}, **options)

    def set_qemu(self, path):
        """What `qemu-system-x86_64` is on this host from now on: the host's QEMU is upgraded. It is replaced whole, as
        a package does it."""
        link = self.bin / "qemu-system-x86_64"
        fresh = link.with_suffix(".new")
        fresh.symlink_to(path)
        fresh.rename(link)

    def serial(self, kind=Serial):
        """The file that the counter guest (WriterSerial: the writing guest) on this host writes to now."""
        return kind(self.home / "guest.serial")

    def record(self, vm):
        """The VM's record here, or None."""
        path = self.home / "state" / "vms" / f"{vm}.json"
        return self.fleet.json(path)

    # sshd

    def start_sshd(self):
        """A real sshd, with a key of its own, that lets in whoever has the fleet's key."""
        folder = self.home / "sshd"
        folder.mkdir(mode=0o700)
        self.test.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key", check=0)
        environment = {**self.env, MARK: self.test.mark}
        (folder / "config").write_text(
            f"Port 22\nListenAddress {self.address}\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.fleet.key}.pub\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in environment.items())}\n"
        )
        path = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if not path:
            raise Skip("no sshd")
        self.sshd = self.test.start(*self.enter(), path, "-D", "-e", "-f", folder / "config", name=f"{self.name}-sshd")
        self.sshd.wait_output("Server listening on")
        public = (folder / "host_key.pub").read_text().split()
        with open(self.fleet.known_hosts, "a") as known:
            known.write(f"{self.name} {public[0]} {public[1]}\n")

    # The agent

    def start_agent(self, *more, wait=True):
        """`serve`, with the command line of its systemd unit."""
        command = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
        check_equal(len(command), 1, f"ExecStart= lines in {UNIT}")
        words = shlex.split(command[0].removeprefix("ExecStart="))
        check_equal(words[0], "@bindir@/qemu-migrate-launch", "what the unit starts")
        # Of one that was killed the process with the port ends a moment later.
        wait_until(lambda: not self.listens(), 20, f"end of what listens on {self.name}")
        self.agent = self.start(*words[1:], *more, name=f"{self.name}-agent")
        if wait:
            self.wait_agent()
        return self.agent

    def listens(self):
        """Whether anybody has the agent's port."""
        return ":16515 " in self.run_here("ss", "-Htln", check=0).stdout

    def wait_agent(self, timeout=30):
        """Until it listens."""

        def listens():
            if not self.agent.alive():
                raise Failure(f"the agent of {self.name} ended with {self.agent.poll()}: {self.agent.stderr()[-500:]}")
            return self.listens()

        wait_until(listens, timeout, f"agent of {self.name} that listens: {self.agent.stderr()[-300:]}")

    def stop_agent(self):
        """Gracefully."""
        self.agent.signal(15)
        self.agent.expect_status(0, 20)
        self.agent = None

    def restart_agent(self):
        self.stop_agent()
        self.start_agent()


class Fleet:
    """N hosts, which trust each other.

        fleet = Fleet(t, "abc", qemu={"b": t.second_qemu_path}, deny={"c": "smap"})
        a, b, c = fleet.hosts.values()
        for host in fleet.hosts.values(): host.start_sshd(); host.start_agent()
        fleet.ssh("a", "true")
        fleet.contrib("ssh-migrate", "web1", "a", "b")
    """

    def __init__(self, t, names, qemu=None, deny=None):
        self.t = t
        self.program = t.program  # or the test is skipped, before anything is made
        self.here = t.dir / "here"
        self.key = t.dir / "ssh-key"
        self.known_hosts = t.dir / "ssh-known-hosts"
        own_network()
        for step in (
            ("link", "set", "lo", "up"),
            ("link", "add", "bridge0", "type", "bridge"),
            ("addr", "add", f"{DESK}/24", "dev", "bridge0"),
            ("link", "set", "bridge0", "up"),
        ):
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no bridge here: ip {' '.join(step)}: {done.stderr.strip()}")
        self.here.mkdir()
        self.begin = t.dir / "begin-host"
        self.begin.write_text(BEGIN)
        self.hosts = {
            name: FleetHost(self, name, number, (qemu or {}).get(name, t.qemu_path))
            for number, name in enumerate(names, 1)
        }
        for host in self.hosts.values():
            self.configure(host, (deny or {}).get(host.name, ""))
        pins = {name: host.identity_pin() for name, host in self.hosts.items()}
        for host in self.hosts.values():
            for other in self.hosts.values():
                if other is not host:
                    host.run("trust", "add", other.name, pins[other.name], "--address", other.address, check=0)

    def __getitem__(self, name):
        return self.hosts[name]

    @staticmethod
    def configure(host, deny="", more=""):
        """Writes a host's config.ini."""
        policy = f"[policy]\ndeny = {deny}\n" if deny else ""
        host.write_config(f"[host]\nname = {host.name}\n{policy}{more}")

    # The desk: ssh to all of them.

    def start_sshd(self):
        """On every host; and what the desk needs."""
        self.t.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key, check=0)
        for host in self.hosts.values():
            host.start_sshd()
        config = "".join(f"Host {name}\n HostName {host.address}\n HostKeyAlias {name}\n" for name, host in self.hosts.items())
        config += (
            f"Host *\n User root\n IdentityFile {self.key}\n IdentitiesOnly yes\n IdentityAgent none\n BatchMode yes\n"
            f" UserKnownHostsFile {self.known_hosts}\n GlobalKnownHostsFile none\n"
            " StrictHostKeyChecking yes\n ConnectTimeout 10\n"
        )
        self.ssh_config = self.t.dir / "ssh-config"
        self.ssh_config.write_text(config)
        for name in self.hosts:
            done = self.ssh(name, "hostname")
            if done.returncode or done.stdout.strip() != name:
                log = self.hosts[name].sshd.stderr().strip()
                raise Failure(f"ssh to {name}: status {done.returncode}: {done.stdout} {done.stderr} {log[-500:]}")

    def ssh_words(self):
        """The command that is ssh at the desk."""
        return f"ssh -F {self.ssh_config}"

    def ssh(self, name, *words, **options):
        """Runs a command on a host from the desk."""
        return self.t.run(*self.ssh_words().split(), name, *words, **options)

    def contrib_argv(self, script, *words):
        return [CONTRIB / script, "--ssh", self.ssh_words(), *words]

    def contrib(self, script, *words, timeout=90, **options):
        """Runs contrib/ssh-… at the desk."""
        return self.t.run(*self.contrib_argv(script, *words), timeout=timeout, **options)

    def proxy(self, host, port=16515):
        """A Proxy at the desk's address (any free port) to a host's agent, or to what listens there."""
        return Proxy(port, host=host.address, at=DESK)

    # The guest

    def guest_args(self, machine="q35", memory=16, cpu=None, monitor=True, image=None):
        """QEMU's arguments of a counter guest, or of the one in `image`: the same on every host."""
        return [
            *("-machine", f"{machine},accel=tcg", "-m", str(memory), "-nodefaults", "-display", "none"),
            *("-bios", str(image or self.t.counter), "-serial", f"file:{self.here}/guest.serial"),
            *(["-qmp", f"unix:{self.here}/guest.qmp,server=on,wait=off"] if monitor else []),
            *(["-cpu", cpu] if cpu else []),
        ]

    @staticmethod
    def json(path):
        """A document of a file, or None."""
        try:
            return json.loads(Path(path).read_text())
        except FileNotFoundError:
            return None
