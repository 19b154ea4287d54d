# SPDX-License-Identifier: GPL-3.0-or-later
"""What others' tools find at our ports: sslscan, testssl.sh and openssl at an agent, a launch that listens and a guardian
that waits; slowhttptest at an agent. All of it on this machine's loopback, testssl.sh without DNS or calls home. And what
systemd and AppArmor say of what contrib has for them.
"""
import asyncio
import csv
import json
import os
import re
import shutil
import ssl
import threading
import time
import xml.etree.ElementTree as xml
from pathlib import Path

from lib.harness import Failure, check, check_equal, check_in, test, wait_until
from lib.pair import Launched, Pair
from lib.process import free_port
from test_agent import Agent

SUITES = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
GROUPS = {"secp256r1 (NIST P-256)", "x25519"}
VERSIONS = {"1.0": "0", "1.1": "0", "1.2": "0", "1.3": "1"}
# testssl.sh is patient; and what it says of some checks depends on nothing but the version of TLS.
PATIENCE = {name: "3" for name in ("HEADER_MAXSLEEP", "MAX_WAITSOCK", "CCS_MAX_WAITSOCK", "HEARTBLEED_MAX_WAITSOCK")}
VULNERABILITIES = set(
    "heartbleed CCS secure_renego secure_client_renego CRIME_TLS POODLE_SSL FREAK DROWN LOGJAM BEAST LUCKY13 RC4 ROBOT "
    "fallback_SCSV".split()
)
CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
EXPOSURE = 20  # tenths: what systemd-analyze may say at most of the unit, of 100
SLOW = 60  # connections of each kind
LIFE = 10  # seconds that a connection has for its request, as in src/peer/server_private.h


def tool(t, name):
    """Its path, or the test is skipped."""
    path = shutil.which(name)
    if not path:
        t.skip(f"no {name} (tests/install-packages)")
    return path


class Stranger:
    """A host whose key nobody trusts."""

    def __init__(self, t):
        self.host = t.host("mallory")
        self.host.identity_pin()


def sslscan(t, port, name):
    """The root of sslscan's report about a port."""
    found = t.dir / f"{name}.xml"
    # It does not ignore SIGPIPE, which it gets from whoever closes first.
    words = ("sh", "-c", 'trap "" PIPE; exec "$@"', "sh", tool(t, "sslscan"))
    done = t.run(*words, "--tlsall", "--show-sigs", f"--xml={found}", f"127.0.0.1:{port}", timeout=30)
    check_equal(done.returncode, 0, f"status of sslscan at {name}: {done.stderr}")
    return xml.parse(found).getroot().find("ssltest")


def check_scan(scan, name, preferred):
    """What sslscan has to find: TLS 1.3 only, what we offer and no more."""
    versions = {one.get("version"): one.get("enabled") for one in scan.iter("protocol") if one.get("type") == "tls"}
    check_equal(versions, VERSIONS, f"{name}: versions of TLS")
    ciphers = {one.get("cipher"): one.get("status") for one in scan.iter("cipher")}
    check_equal(set(ciphers), SUITES, f"{name}: suites")
    check_in([one for one, status in ciphers.items() if status == "preferred"], [[one] for one in preferred], name)
    check_equal({one.get("name") for one in scan.iter("group")}, GROUPS, f"{name}: groups")
    signatures = {one.get("name") for one in scan.iter("connection-signature-algorithm")}
    check_equal(signatures, {"ed25519"}, f"{name}: signature algorithms")
    check_equal(scan.find("renegotiation").attrib, {"supported": "0", "secure": "0"}, f"{name}: renegotiation")
    check(all(one.get("vulnerable") == "0" for one in scan.iter("heartbleed")), f"{name}: heartbleed")
    check(all(one.get("supported") == "0" for one in scan.iter("compression")), f"{name}: compression")
    certificates = list(scan.iter("certificate"))
    check_equal(len(certificates), 1, f"{name}: certificates")
    check_equal(certificates[0].findtext("signature-algorithm"), "ED25519", f"{name}: certificate's signature")
    check_equal(certificates[0].findtext("self-signed"), "true", f"{name}: self-signed")
    check_equal(certificates[0].findtext("subject"), "qemu-migrate-launch", f"{name}: subject: nothing of the host's")


def s_client(t, port, *more, keys=None):
    """What `openssl s_client -msg` shows of a connection that asks for something."""
    words = [tool(t, "openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-msg", "-ign_eof", *more]
    if keys:
        words += ["-cert", keys / "identity.crt", "-key", keys / "identity.key"]
    done = t.run(*words, input="GET / HTTP/1.1\r\n\r\n", timeout=30)
    return done.stdout + done.stderr


def check_sessions(t, port, name, keys):
    """A certificate is demanded of who asks, the key of no stranger is good enough, and there is nothing to go on with
    later: no ticket, no early data."""
    nobody = s_client(t, port)
    check_in("CertificateRequest", nobody, f"{name}: without a certificate")
    check_in("alert number 116", nobody, f"{name}: without a certificate (certificate_required)")
    check("HTTP/1.1" not in nobody.partition("ServerHello")[2], f"{name}: without a certificate it gets HTTP: {nobody}")
    kept = t.dir / f"{name}.session"
    trusted = s_client(t, port, "-sess_out", kept, keys=keys)
    check_in("HTTP/1.1 ", trusted, f"{name}: with a trusted certificate")
    for word in ("NewSessionTicket", "Post-Handshake New Session Ticket"):
        check(word not in trusted, f"{name}: {word}")
    check_in("Peer signature type: ed25519", trusted, f"{name}: signature")
    check_in("Compression: NONE", trusted, f"{name}: compression")
    check_in("Early data was not sent", trusted, f"{name}: early data")
    check_in("Verification error: self-signed certificate", trusted, f"{name}: certificate")
    check(not kept.exists(), f"{name}: a session to resume was handed out")


def trusted_agent(t):
    """An agent, and the folder of the key that it trusts."""
    agent = Agent(t)
    return agent, agent.a.home / "config"


@test()
def sslscan_agent(t):
    """sslscan and openssl at an agent: TLS 1.3, three suites, two groups, Ed25519; a certificate is demanded, no ticket"""
    agent, keys = trusted_agent(t)
    check_scan(sslscan(t, agent.port, "agent"), "agent", SUITES)
    check_sessions(t, agent.port, "agent", keys)
    agent.is_served()
    agent.stop()


@test()
def sslscan_launch_and_guardian(t):
    """the same at a launch that listens and, once it has become QEMU, at its guardian; the launch goes on after it"""
    pair = Pair(t)
    listener = pair.listen()
    listener.wait_output("waiting for")
    check_scan(sslscan(t, pair.port, "launch"), "launch", SUITES)
    check_sessions(t, pair.port, "launch", pair.a.home / "config")
    Launched(pair.a, pair.connect(), "a")
    Launched(pair.b, listener, "b")
    check_scan(sslscan(t, pair.port, "guardian"), "guardian", SUITES - {"TLS_AES_256_GCM_SHA384"})
    check_sessions(t, pair.port, "guardian", pair.a.home / "config")


def openssl_with_key(t, keys):
    """An openssl whose s_client has this key: without one the alert may come before testssl.sh has seen a connection."""
    script = t.dir / "openssl"
    pair = f'-cert "{keys}/identity.crt" -key "{keys}/identity.key"'
    path = tool(t, "openssl")
    script.write_text(f'#!/bin/sh\n[ "$1" != s_client ] || {{ shift; exec {path} s_client {pair} "$@"; }}\nexec {path} "$@"\n')
    script.chmod(0o755)
    return script


def testssl(t, port, name, openssl, *checks):
    """testssl.sh with these checks, in the background: a Process and where it writes."""
    found = t.dir / f"{name}.json"
    words = ["--openssl", openssl, "--nodns", "none", "--warnings", "batch", "--color", "0", "--quiet"]
    env = {**PATIENCE, "PHONE_OUT": "false", "HOME": t.dir}
    target = f"127.0.0.1:{port}"
    return t.start(tool(t, "testssl"), *words, "--jsonfile", found, *checks, target, name=name, env=env), found


@test(timeout=300)
def testssl_agent(t):
    """testssl.sh at an agent: no version before TLS 1.3, no known vulnerability, forward secrecy always"""
    agent, keys = trusted_agent(t)
    openssl = openssl_with_key(t, keys)
    checks = {"protocols": ("-p", "-f"), "vulnerable": ("-U",)}  # -S needs another openssl, and openssl itself tells more
    running = {name: testssl(t, agent.port, name, openssl, *words) for name, words in checks.items()}
    found = {}
    for name, (process, path) in running.items():
        process.wait(280)
        for one in json.loads(path.read_text()):
            found.setdefault(one["id"], set()).add((one["severity"], one["finding"]))
    for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2"):
        check_equal({text for _, text in found[name]}, {"not offered"}, name)
    check_equal(found["TLS1_3"], {("OK", "offered with final")}, "TLS 1.3")
    check_equal(set(VULNERABILITIES - set(found)), set(), "checks that testssl.sh did not make")
    bad = {name: said for name, said in found.items() if {"LOW", "MEDIUM", "HIGH", "CRITICAL"} & {one for one, _ in said}}
    check_equal(bad, {}, "what testssl.sh has to object to")
    for name in sorted(VULNERABILITIES - {"ROBOT"}):
        check_equal({severity for severity, _ in found[name]}, {"OK"}, f"{name}: {found[name]}")
    offered = " ".join(text for _, text in found.get("PFS_ciphers") or found["FS_ciphers"])
    check_equal(set(offered.split()), SUITES, "suites with forward secrecy")
    curves = found.get("PFS_ECDHE_curves") or found["FS_ECDHE_curves"]
    check_equal(set(" ".join(text for _, text in curves).split()), {"prime256v1", "X25519"}, "curves")
    agent.is_served()
    agent.stop()


class Wrapper(threading.Thread):
    """Plain TCP at .port; behind it TLS with the key in folder `keys` to `target`: slowhttptest has no certificates."""

    def __init__(self, target, keys):
        super().__init__(daemon=True)
        self.target, self.port = target, free_port()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.load_cert_chain(keys / "identity.crt", keys / "identity.key")
        self.lives = []  # seconds that each connection to the target has lasted
        self.open = 0  # and how many are there now
        self.ready = threading.Event()
        self.start()
        if not self.ready.wait(10):
            raise Failure("no wrapper")

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        await asyncio.start_server(self.carry, "127.0.0.1", self.port, limit=4096)
        self.ready.set()
        await asyncio.sleep(120)

    async def carry(self, reader, writer):
        began = time.monotonic()
        try:
            far = await asyncio.open_connection("127.0.0.1", self.target, ssl=self.context, limit=4096)
        except OSError:
            writer.close()
            return
        self.open += 1
        forward = asyncio.ensure_future(self.copy(reader, far[1]))
        await self.copy(far[0], writer)
        self.open -= 1
        self.lives.append(time.monotonic() - began)
        forward.cancel()
        far[1].close()
        writer.close()

    @staticmethod
    async def copy(reader, writer):
        try:
            while data := await reader.read(1024):
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass


def slowhttptest(t, name, url, *mode):
    """In the background: a Process and where its figures go, one line a second."""
    words = ["-c", SLOW, "-r", SLOW, "-i", 2, "-l", LIFE + 4, "-p", 3, "-v", 1, "-g", "-o", t.dir / name, "-u", url]
    return t.start(tool(t, "slowhttptest"), *mode, *words, name=name), t.dir / f"{name}.csv"


def figures(path):
    """[(second, {"Closed": N, "Pending": N, "Connected": N})]"""
    rows = list(csv.reader(path.read_text().splitlines()))
    names = rows[0]
    result = []
    for row in rows[1:]:
        line = dict(zip(names, row))
        result.append((int(line["Seconds"]), {name: int(line[name]) for name in ("Closed", "Pending", "Connected")}))
    return result


@test(timeout=90)
def slow_clients(t):
    """slowhttptest with a trusted key, slow in headers, body and reading: ended in time, and others are served at once"""
    agent, keys = trusted_agent(t)
    c = t.host("c")
    c.identity_pin()
    c.trust(agent.b, address=f"127.0.0.1:{agent.port}")
    agent.b.trust(c)
    agent.process.wait_output("2 peers are trusted now", 5)
    modes = {
        "headers": ("-H",),
        "body": ("-B", "-s", "8192", "-t", "POST"),
        "read": ("-X", "-t", "POST", "-n", "2", "-z", "1", "-w", "1", "-y", "2"),
    }
    wrappers = {name: Wrapper(agent.port, keys) for name in modes}
    began = time.monotonic()
    for name, words in modes.items():
        slowhttptest(t, name, f"http://127.0.0.1:{wrappers[name].port}/v1/hello", *words)
    worst = 0
    while time.monotonic() - began < LIFE - 1:
        worst = max(worst, agent.is_served(5, host=c, within=4)["slowest_ms"])
    for name, wrapper in wrappers.items():
        wait_until(lambda: len(wrapper.lives) >= SLOW and wrapper.open == 0, 2 * LIFE, f"end of the slow {name}")
        check(max(wrapper.lives) < LIFE + 8, f"slow {name}: one lasted {max(wrapper.lives):.1f} s")
        # Who is slow to read has asked, and has its answer: a small one, which the kernel takes at once. slowhttptest's
        # own question whether anybody is there is quick, too.
        slow = sum(one > LIFE - 2 for one in wrapper.lives)
        check(name == "read" or slow == SLOW, f"slow {name}: {slow} connections were: {wrapper.lives}")
    Path(os.environ.get("QML_FIGURES", "/dev/null")).open("a").write(f"slow clients: slowest answer {worst} ms\n")
    agent.stop()


@test(timeout=60)
def slow_strangers(t):
    """slowhttptest without a key: nobody is there to be slow for"""
    agent, _ = trusted_agent(t)
    process, path = slowhttptest(t, "stranger", f"https://127.0.0.1:{agent.port}/v1/hello", "-H")
    agent.is_served(10, within=4)
    process.wait(40)
    check_in("No open connections left", process.stdout(), "how it ended")
    check(figures(path)[-1][0] < LIFE // 2, f"how long it could stay: {figures(path)}")
    check_in("it showed no certificate", agent.process.stderr(), "its log")
    agent.stop()


@test()
def unit_is_not_exposed(t):
    """systemd-analyze security of the unit: below 2.0; with its sandbox left out it is not"""
    program = tool(t, "systemd-analyze")
    text = (CONTRIB / "systemd" / "qemu-migrate-launch.service.in").read_text().replace("@bindir@", "/usr/bin")
    open_to_all = re.sub(r"^(Private|Protect|Restrict|SystemCall|NoNew|Capability).*\n", "", text, flags=re.M)
    for name, unit, good in (("qemu-migrate-launch", text, True), ("open", open_to_all, False)):
        path = t.dir / f"{name}.service"
        path.write_text(unit)
        done = t.run(program, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", path)
        if "offline" in done.stderr:
            t.skip(f"a systemd-analyze of its time: {done.stderr.strip()}")
        check_in("Overall exposure level", done.stdout, f"{name}: {done.stderr}")
        check_equal(done.returncode == 0, good, f"{name}: {done.stdout.strip().splitlines()[-1]}")


@test()
def apparmor_profiles_compile(t):
    """apparmor_parser takes both profiles, and would not take one with a mistake"""
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
    if not parser or not Path("/etc/apparmor.d/tunables/global").exists():
        t.skip("no apparmor_parser")
    source = CONTRIB / "apparmor" / "qemu-migrate-launch"
    t.run(parser, "-Q", "-K", "-o", t.dir / "policy", source, check=0)
    policy = (t.dir / "policy").read_bytes()
    for name in (b"qemu-migrate-launch\0", b"qemu-migrate-launch-agent\0"):
        check(name in policy, f"no profile {name}")
    wrong = t.dir / "wrong"
    wrong.write_text(source.read_text().replace("network unix dgram,", "network unix gram,"))
    done = t.run(parser, "-Q", "-K", wrong)
    check(done.returncode != 0, "a profile with a mistake is taken")
