# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent: its life, what it says to systemd, and how it stands strangers and crowds."""
import json
import os
import re
import resource
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

from lib.harness import Failure, check, check_equal, check_in, test, wait_until
from lib.pair import Launched, guest_args
from lib.process import free_port, limits, process_status

MIB = 1024  # in KiB


def peer_calls(t, host, peer, name, count=1, at_once=1, timeout=60, body=None):
    """What tests/peer_calls.c has to say of so many requests of this host's, with an empty body or this one."""
    beside = Path(os.environ.get("QML_BAD_PEER") or t.program)
    program = beside.parent / "peer-calls"
    if not os.access(program, os.X_OK):
        t.skip("the program of tests/peer_calls.c is not beside that of QML_BAD_PEER")
    words = (host.home, peer, name, count, at_once, json.dumps(body or {}))
    return json.loads(t.run(program, *words, timeout=timeout, check=0).stdout)


class Agent:
    """`serve` on host b, which trusts a; a has b's address."""

    def __init__(self, t, **start):
        self.t = t
        self.port = free_port()
        self.a, self.b = t.host("a"), t.host("b")
        for host in (self.a, self.b):
            host.write_config(config(host.name))
        self.a.trust(self.b, address=f"127.0.0.1:{self.port}")
        self.b.trust(self.a)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(t.dir / "notify"))
        self.told = []  # what systemd would have heard
        self.process = None
        if start.pop("start", True):
            self.start(**start)

    def start(self, *options, env=None, ready=True, **more):
        """Starts it, again perhaps, and waits until it is ready."""
        self.hear()
        self.told.clear()  # what one that has ended had to tell
        env = {"NOTIFY_SOCKET": self.t.dir / "notify", **(env or {})}
        words = options or ("--listen", f"127.0.0.1:{self.port}")
        self.hear()
        self.told.clear()  # by one that has ended
        self.process = self.b.start("serve", *words, env=env, name="b-serve", **more)
        if ready:
            self.wait_told("READY=1")

    def hear(self):
        """What systemd has heard so far."""
        while True:
            try:
                self.told.append(self.notify.recv(4096, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return self.told

    def wait_told(self, *words, timeout=15):
        """Waits until one message has all these words, and forgets it."""

        def heard():
            for number, message in enumerate(self.hear()):
                if all(word in message for word in words):
                    del self.told[number]
                    return message
            check(self.process.poll() is None, f"ended {self.process.poll()}: {self.process.stderr()}")
            return None

        return wait_until(heard, timeout, f"{words} told to systemd; the agent says {self.process.stderr()[-600:]}")

    def network(self):
        """The pid of the network process."""
        return children(self.process.pid)[0]

    def pids(self):
        """Of both processes."""
        return [self.process.pid, self.network()]

    def calls(self, count=1, name="nothing", at_once=1, host=None, timeout=60):
        return peer_calls(self.t, host or self.a, "b", name, count, at_once, timeout)

    def is_served(self, count=1, host=None, within=8):
        """An honest peer gets its answers, a refusal of what no agent knows, each within so many seconds (one that has the
        machine for itself: 1)."""
        result = self.calls(count, host=host)
        check_equal(result["statuses"], {"76": count}, f"statuses: {result}")
        check(result["slowest_ms"] < within * 1000, f"it took {result['slowest_ms']} ms")
        return result

    def is_refused(self, status, word, host=None):
        """One exchange fails with this status."""
        result = self.calls(host=host)
        check_equal(list(result["statuses"]), [str(status)], f"statuses: {result}")
        check_in(word, result["words"][str(status)], "what the peer hears")

    def stop(self, timeout=20):
        """Ends it as systemd does; status 0, and nothing is left."""
        network = self.network()
        self.process.signal(signal.SIGTERM)
        self.process.expect_status(0, timeout)
        wait_until(lambda: not Path(f"/proc/{network}").exists(), 5, "end of the network process")

    def tls(self, host=None):
        """A TLS connection with the key of `host` (a)."""
        config = (host or self.a).home / "config"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(config / "identity.crt", config / "identity.key")
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 10))


def config(name, more=""):
    """config.ini of a host."""
    return f"[host]\nname = {name}\n{more}"


def children(pid):
    """The pids of its children."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory(pid, field="VmRSS"):
    """KiB of a process."""
    return int(re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


def descriptors(pid):
    """How many it has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def slow_qemu(t, name, seconds):
    """A QEMU that takes its time before it does anything."""
    script = t.dir / name
    script.write_text(f"#!/bin/sh\nsleep {seconds}\nexec {t.qemu_path} \"$@\"\n")
    script.chmod(0o755)
    return script


@test()
def life(t):
    """ready when it serves, a status line, the watchdog fed, stopping, status 0; two processes that both go"""
    agent = Agent(t, start=False)
    agent.start(env={"WATCHDOG_USEC": "1000000", "LISTEN_PID": "1", "LISTEN_FDS": "3"})
    agent.is_served()
    status = agent.wait_told("STATUS=")
    for word in ("b: 0 VMs", "0 agreements", "1 peers trusted", "drift: "):
        check_in(word, status, "its status")
    agent.wait_told("WATCHDOG=1")
    agent.wait_told("WATCHDOG=1")
    worker, network = agent.pids()
    check(network != worker, "there is one process only")
    check_equal(children(network), [], "what the network process has started")
    for pid in (worker, network):
        kept = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        check(not any("identity" in name for name in kept), f"the key is open in {pid}: {kept}")
    files = [os.readlink(entry) for entry in Path(f"/proc/{network}/fd").iterdir()]
    check(not any(f"{agent.b.home}/" in name for name in files), f"files of the network process: {files}")
    check_equal(agent.process.stdout(), "", "its standard output")
    agent.stop()
    check_in("STOPPING=1\nSTATUS=finishing what is under way", agent.hear(), "what systemd has heard")
    check_in("b: serving with key sha256//", agent.process.stderr(), "its log")
    check_in("a (127.0.0.1): nothing: status 76 after", agent.process.stderr(), "its log")
    agent.start()
    agent.process.signal(signal.SIGINT)
    agent.process.expect_status(0)


@test()
def ctrl_c(t):
    """SIGINT to the whole group, as a terminal does"""
    agent = Agent(t)
    agent.process.signal_group(signal.SIGINT)
    agent.process.expect_status(0, 15)
    check("confused" not in agent.process.stderr(), f"it says {agent.process.stderr()}")
    check("started again" not in agent.process.stderr(), f"it says {agent.process.stderr()}")


@test()
def socket_activation(t):
    """systemd's socket: connections from before the start are served; two sockets, a file, --listen too: refused"""
    agent = Agent(t, start=False)
    listener = socket.create_server(("127.0.0.1", agent.port), backlog=50)
    early = threading.Thread(target=agent.is_served)

    def start(*options, count=1, **how):
        words = [str(word) for word in agent.b.argv("serve", *options)]
        shell = f'exec 3<&{listener.fileno()}; LISTEN_FDS={count} LISTEN_PID=$$ exec "$@"'
        env = {"NOTIFY_SOCKET": t.dir / "notify", "LISTEN_FDNAMES": "agent"}
        return t.start("/bin/sh", "-c", shell, "sh", *words, env=env, pass_fds=(listener.fileno(),), **how)

    wrong = start("--listen", "127.0.0.1:1")
    wrong.expect_status(64)
    check_in("use one of them", wrong.stderr(), "what it says")
    wrong = start(count=2)
    wrong.expect_status(78)
    check_in("2 sockets", wrong.stderr(), "what it says")
    begun = time.monotonic()
    early.start()
    time.sleep(0.3)
    agent.process = start(name="b-serve")
    agent.wait_told("READY=1")
    early.join(20)
    check(time.monotonic() - begun < 15, "who came early waited for long")
    agent.is_served()
    for pid in agent.pids():
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        check(b"LISTEN" in environment, "the environment that it was started with")
    agent.stop()
    agent.process = start(name="b-serve")  # the socket is as it was
    agent.wait_told("READY=1")
    agent.is_served()
    agent.stop()
    listener.close()
    with open("/dev/null", "rb") as listener:
        wrong = start()
        wrong.expect_status(78)
    check_in("is not a listening TCP socket", wrong.stderr(), "what it says")


@test()
def reload(t):
    """SIGHUP: a new name counts, a broken configuration is told and the old one stays"""
    agent = Agent(t)
    agent.wait_told("STATUS=b: ")
    agent.b.write_config(config("beta"))
    agent.process.signal(signal.SIGHUP)
    check(re.search(r"RELOADING=1\nMONOTONIC_USEC=\d{6,}", agent.wait_told("RELOADING=1")), "no time in it")
    agent.wait_told("READY=1")
    agent.wait_told("STATUS=beta: ")
    agent.b.write_config(config("gamma", "[nonsense]\nx = 1\n"))
    agent.process.signal(signal.SIGHUP)
    agent.wait_told("RELOADING=1")
    agent.wait_told("READY=1")
    check_in("line 4: unknown section [nonsense]: the old configuration stays", agent.process.stderr(), "its log")
    agent.is_served()
    check(not any("STATUS=gamma" in message for message in agent.hear()), "the broken configuration counts")
    agent.stop()


@test()
def trust_counts_at_once(t):
    """added, removed and expired while it runs, no signal; a broken file takes nobody else's away and keeps none"""
    agent = Agent(t)
    c = t.host("c")
    c.identity_pin()
    c.trust(agent.b, address=f"127.0.0.1:{agent.port}")
    agent.is_refused(77, "does not trust", host=c)
    agent.b.trust(c)
    agent.process.wait_output("2 peers are trusted now", 5)
    agent.is_served(host=c)
    idle = agent.tls(c)
    agent.b.run("trust", "remove", "c", check=0)
    agent.process.wait_output("1 peers are trusted now", 5)
    idle.settimeout(5)
    check_equal(idle.recv(10), b"", "what the removed peer's open connection gives")
    agent.is_refused(77, "does not trust", host=c)
    agent.b.trust(c)
    wait_until(lambda: agent.process.stderr().count("2 peers are trusted now") == 2, 5, "c again")
    broken = agent.b.home / "config" / "trust.d" / "d.json"
    broken.write_text("{")
    agent.process.wait_output("'d' is not trusted until that is put right", 5)
    in_place = broken.with_name("c.json")
    in_place.write_text(in_place.read_text().replace(c.identity_pin(), f"sha256//{'A' * 43}="))
    wait_until(lambda: agent.process.stderr().count("2 peers are trusted now") == 3, 5, "c with another key")
    agent.is_refused(77, "does not trust", host=c)
    agent.is_served()
    (agent.b.home / "config" / "trust.d" / "c.json").unlink()
    wait_until(lambda: agent.process.stderr().count("1 peers are trusted now") == 2, 5, "c's end")
    agent.is_refused(77, "does not trust", host=c)
    agent.is_served()
    broken.unlink()
    wait_until(lambda: agent.calls()["statuses"] == {"76": 1}, 5, "an answer")
    broken.parent.chmod(0o777)
    agent.process.wait_output("nobody is trusted until that is put right", 5)
    agent.is_refused(77, "does not trust")
    broken.parent.chmod(0o700)
    wait_until(lambda: agent.calls()["statuses"] == {"76": 1}, 5, "an answer again")
    entry = agent.b.home / "config" / "trust.d" / "a.json"
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "expires": int(time.time()) + 3}))
    agent.is_served()
    wait_until(lambda: agent.calls()["statuses"] == {"77": 1}, 10, "its end")
    agent.stop()


@test(timeout=90)
def stops_gracefully(t):
    """SIGTERM with a request under way: it is answered, nobody new is let in, status 0; one for ever: 10 s, status 0"""
    agent = Agent(t, start=False)
    words = ["--vm", "web1", "--peer", "b", "--timeout", "60", "--dry-run", "--", t.qemu_path, *guest_args(t, "a")]
    for seconds, least, most in ((3, 1, 9), (100, 9, 18)):
        binary = slow_qemu(t, f"qemu-{seconds}", seconds)
        agent.b.write_config(config("b", f"[qemu]\nbinary = {binary}\n"))
        agent.start()
        asker = agent.a.start(*words, name="a-launch")
        wait_until(lambda: len(children(agent.process.pid)) == 2, 15, "the QEMU of a probe")
        begun = time.monotonic()
        agent.process.signal(signal.SIGTERM)
        wait_until(lambda: refuses(agent.port), 2, "end of its listening")
        agent.process.expect_status(0, 30)
        took = time.monotonic() - begun
        check(least < took < most, f"it took {took:.1f} s to end while a request of {seconds} s was under way")
        if seconds == 3:
            check_in("hello web1: done", agent.process.stderr(), "its log")
        asker.signal(signal.SIGINT)
        asker.wait(10)
        wait_until(lambda: not [1 for _, line in t.alive() if str(binary) in line], 5, "end of its QEMU")


def refuses(port):
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return False
    except ConnectionRefusedError:
        return True


@test()
def network_process_killed(t):
    """kill -9: another one serves on the same port; killed again and again: status 70"""
    agent = Agent(t)
    for number in range(6):
        network = agent.network()
        os.kill(network, signal.SIGKILL)
        if number == 5:
            break
        wait_until(lambda: [pid for pid in children(agent.process.pid) if pid != network], 5, "another one")
        if number == 0:
            agent.is_served()
    agent.process.expect_status(70)
    check_in("was killed by signal 9 (Killed), for the 6th time within 60 s", agent.process.stderr(), "its log")
    agent.start()
    agent.is_served()
    agent.stop()


@test(timeout=90)
def network_process_hangs(t):
    """it shows no life: it is ended, and another one serves"""
    agent = Agent(t)
    network = agent.network()
    os.kill(network, signal.SIGSTOP)
    wait_until(lambda: children(agent.process.pid) not in ([network], []), 40, "another network process")
    check_in("network process: it shows no life", agent.process.stderr(), "its log")
    agent.is_served()
    time.sleep(22)
    check_equal(agent.process.stderr().count("shows no life"), 1, "how often it was ended")
    agent.stop()


@test()
def worker_killed(t):
    """kill -9: its network process ends, a peer that waits is not kept, and the next agent can begin"""
    agent = Agent(t)
    network = agent.network()
    os.kill(agent.process.pid, signal.SIGSTOP)
    asker = threading.Thread(target=agent.is_refused, args=(69, "closed the connection"))
    asker.start()
    time.sleep(0.5)
    agent.process.kill()
    wait_until(lambda: not Path(f"/proc/{network}").exists(), 3, "end of the network process")
    asker.join(10)
    check(not asker.is_alive(), "who waited still waits")
    agent.start()
    agent.is_served()
    agent.stop()


@test()
def cannot_start(t):
    """a second agent for the same home and a taken port: 69; no identity, a bad configuration: 78; words: 64"""
    agent = Agent(t)
    second = agent.b.run("serve", "--listen", f"127.0.0.1:{free_port()}", check=69)
    check_in("another 'serve' runs for", second.stderr, "what a second agent says")
    taken = agent.a.run("serve", "--listen", f"127.0.0.1:{agent.port}", check=69)
    check_in("Address already in use: end what has that port", taken.stderr, "what it says of a taken port")
    nobody = t.host("c").run("serve", check=78)
    check_in("identity init", nobody.stderr, "what it says without an identity")
    agent.a.write_config("[listen]\naddress = nonsense:x\n")
    check_in("line 2", agent.a.run("serve", check=78).stderr, "what it says of a bad address")
    agent.a.write_config(config("a"))
    check_in("[ADDR]:PORT", agent.a.run("serve", "--listen", "x:y", check=64).stderr, "what it says of --listen x:y")
    check_in("192.0.2.1", agent.a.run("serve", "--listen", "192.0.2.1:1", check=78).stderr, "a foreign address")
    agent.a.run("serve", "now", check=64)
    agent.is_served()
    agent.stop()


@test()
def strangers(t):
    """no certificate, an unknown key, plaintext, half a handshake: an alert at most, and the log is not flooded"""
    agent = Agent(t)
    mallory = t.host("mallory")
    mallory.identity_pin()
    mallory.trust(agent.b, address=f"127.0.0.1:{agent.port}")
    for _ in range(20):
        agent.is_refused(77, "does not trust", host=mallory)
        with socket.create_connection(("127.0.0.1", agent.port), 5) as plain:
            plain.sendall(b"POST /v1/hello HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            got = plain.recv(1000)
            check(len(got) < 16 and got[:1] in (b"", b"\x15"), f"plaintext gets {got!r}")
    agent.is_served()
    lines = [line for line in agent.process.stderr().splitlines() if "refused a connection" in line]
    check(1 <= len(lines) <= 15, f"{len(lines)} lines about strangers")
    agent.stop()


class Crowd(threading.Thread):
    """Peers and strangers with bad manners: slow writers, garbage, half-open handshakes, coming again and again."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.over, self.rounds = agent, False, 0

    def run(self):
        slow = []
        while not self.over:
            try:
                if len(slow) < 30:
                    one = self.agent.tls()
                    one.sendall(b"POST /v1/hello HTTP/1.1\r\nContent-Length: 400000\r\n\r\n")
                    slow.append(one)
                for one in list(slow):
                    try:
                        one.sendall(b"x")
                    except OSError:
                        slow.remove(one)
                for _ in range(5):
                    garbage = socket.create_connection(("127.0.0.1", self.agent.port), 5)
                    garbage.sendall(os.urandom(300))
                    garbage.close()
                self.rounds += 1
            except OSError:
                pass
            time.sleep(0.02)


@test(timeout=180, alone=True)
def crowds(t):
    """500 idle connections, plain and TLS, slow writers and garbage: an honest peer is served within a second"""
    t.need_plain("they take memory and time of their own")
    agent = Agent(t)
    time.sleep(4)
    idle = sum(memory(pid) for pid in agent.pids())
    crowd, kept = Crowd(agent), []
    for number in range(200):
        kept.append(agent.tls())
    many = sum(memory(pid) for pid in agent.pids())
    for number in range(300):
        kept.append(socket.create_connection(("127.0.0.1", agent.port), 5))
    result = agent.is_served(20, within=1)
    for number in range(300):
        kept.append(agent.tls())
    result2 = agent.is_served(20, within=1)
    crowd.start()
    result3 = agent.is_served(100, within=1)
    wait_until(lambda: crowd.rounds > 10, 20, "a crowd")
    crowd.over = True
    crowd.join(10)
    peak = sum(memory(pid, "VmHWM") for pid in agent.pids())
    print(f"idle {idle} KiB, 200 connections {many} KiB, peak {peak} KiB; slowest of {result} {result2} {result3}")
    Path(os.environ.get("QML_FIGURES", "/dev/null")).open("a").write(
        f"idle {idle} KiB, 200 TLS connections {many} KiB, peak {peak} KiB, slowest "
        f"{result['slowest_ms']} {result2['slowest_ms']} {result3['slowest_ms']} ms\n"
    )
    check(idle < 12 * MIB, f"an idle agent has {idle} KiB")
    check(many < 40 * MIB, f"with 200 connections {many} KiB")
    for one in kept:
        one.close()
    agent.is_served(5)
    agent.stop()


@test(timeout=600, alone=True)
def many_requests(t):
    """1000 exchanges (QML_AGENT_REQUESTS): no descriptor and no memory is kept, and the log stays small"""
    t.need_plain("they take memory of their own")
    count = int(os.environ.get("QML_AGENT_REQUESTS", "1000"))
    agent = Agent(t)
    agent.calls(400, at_once=8)
    before = [(descriptors(pid), memory(pid, "RssAnon")) for pid in agent.pids()]
    result = agent.calls(count, at_once=8, timeout=500)
    check_equal(result["statuses"], {"76": count}, f"statuses: {result}")
    time.sleep(0.5)
    after = [(descriptors(pid), memory(pid, "RssAnon")) for pid in agent.pids()]
    for (files, kept), (more_files, more), who in zip(before, after, ("worker", "network process")):
        check_equal(more_files, files, f"descriptors of the {who}")
        check(more - kept < 160, f"the {who} grew from {kept} to {more} KiB in {count} requests")
    size = (t.dir / "b-serve.err").stat().st_size
    check(size < 200 * (60 + 6 * (result["total_ms"] // 10000 + 2) * 10), f"{size} bytes of log")
    Path(os.environ.get("QML_FIGURES", "/dev/null")).open("a").write(f"{count} requests: {result} {before} {after}\n")
    agent.stop()


@test()
def busy(t):
    """a peer that asks too much at once hears "busy", another one is answered in its turn"""
    agent = Agent(t)
    c = t.host("c")
    c.identity_pin()
    c.trust(agent.b, address=f"127.0.0.1:{agent.port}")
    agent.b.trust(c)
    agent.process.wait_output("2 peers are trusted now", 5)
    os.kill(agent.process.pid, signal.SIGSTOP)
    results = {}

    def ask(name, host, count):
        results[name] = agent.calls(count, at_once=count, host=host)

    many = threading.Thread(target=ask, args=("a", agent.a, 20))
    many.start()
    time.sleep(4)  # all 20 are there
    one = threading.Thread(target=ask, args=("c", c, 1))
    one.start()
    time.sleep(2)
    check(many.is_alive() and one.is_alive(), f"answered by a worker that sleeps: {results}")
    os.kill(agent.process.pid, signal.SIGCONT)
    many.join(20)
    one.join(20)
    check_equal(results["a"]["statuses"], {"69": 4, "76": 16}, "what the one that asked 20 times got")
    check_in("busy with 16 requests of yours: try again", results["a"]["words"]["69"], "what it heard")
    check_equal(results["c"]["statuses"], {"76": 1}, "what the other one got")
    order = re.findall(r"([ac]) \(127.0.0.1\): nothing", agent.process.stderr())
    check("c" in order[:3], f"the order of the answers: {order}")
    agent.stop()


@test(timeout=90)
def drift_is_told(t):
    """a VM launched with the agent as a party: its policy changes, and the log and the status line say so"""
    agent = Agent(t)
    qemu = [t.qemu_path, *guest_args(t, "a")]
    source = Launched(agent.a, agent.a.start("--vm", "web1", "--peer", "b", "--", *qemu, name="a-launch"), "a")
    check_in("commit web1: done", agent.process.stderr(), "its log")
    agent.wait_told("STATUS=b: 0 VMs, 1 agreements")
    agent.process.signal(signal.SIGHUP)
    agent.process.wait_output("drift: 1 agreements were checked, 0 no longer hold")
    agent.b.write_config(config("b", "[policy]\ndeny = sse2\n"))
    agent.process.signal(signal.SIGHUP)
    agent.process.wait_output("web1: drift: ")
    agent.process.wait_output("drift: 1 agreements were checked, 1 no longer hold")
    agent.wait_told("STATUS=", "drift: web1 (")
    agent.b.write_config(config("b"))
    agent.process.signal(signal.SIGHUP)
    agent.wait_told("STATUS=", "drift: none (")
    source.process.kill()
    agent.stop()


@test()
def confused_processes(t):
    """garbage from the network process's side of the pipe: it is ended and replaced"""
    agent = Agent(t)
    network = agent.network()
    handle = os.pidfd_open(network)
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(438, handle, 0, 0)  # pidfd_getfd
    finally:
        os.close(handle)
    if fd < 0:
        t.skip("the pipe cannot be had from outside here (pidfd_getfd)")
    os.write(fd, b"\x00\x00\x00\x05{\"a\":")
    wait_until(lambda: children(agent.process.pid) not in ([network], []), 10, "another network process")
    check_in("the network process is confused", agent.process.stderr(), "its log")
    os.close(fd)
    agent.is_served()
    agent.stop()


def allow_core():
    """For what is about to be started, as far as it is allowed to us."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)


@test()
def locked_in(t):
    """the network process has a seccomp filter and no new privileges; --no-sandbox: not, and that is said"""
    t.need_plain("they need what is forbidden to a process that is locked in")
    agent = Agent(t, preexec_fn=allow_core)
    agent.is_served()
    check_equal(process_status(agent.network(), "Seccomp", "NoNewPrivs"), {"Seccomp": "2", "NoNewPrivs": "1"}, "the network process")
    wanted = {"Max core file size": "0", "Max processes": "0", "Max open files": "512", "Max data size": str(1 << 30)}
    check_equal(limits(agent.network(), *wanted), wanted, "limits of the network process")
    check_equal(limits(agent.process.pid, "Max core file size"), {"Max core file size": "0"}, "core files of the worker")
    check("not locked in" not in agent.process.stderr(), "it says that it is not locked in")
    agent.stop()
    agent.start("--listen", f"127.0.0.1:{agent.port}", "--no-sandbox")
    check(limits(agent.network(), "Max open files") != {"Max open files": "512"}, "its limits with --no-sandbox")
    agent.is_served()
    check_equal(process_status(agent.network(), "Seccomp"), {"Seccomp": "0"}, "the network process with --no-sandbox")
    check_in("the network process is not locked in (--no-sandbox)", agent.process.stderr(), "its log")
    agent.stop()
