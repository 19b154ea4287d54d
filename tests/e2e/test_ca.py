# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that a certificate authority vouches for, set up by the commands of the manual page, as they stand there."""
import json
import os
import re
import shutil
from pathlib import Path

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Pair
from test_tofu import Shown

PAGE = Path(__file__).resolve().parents[2] / "man" / "qemu-migrate-launch-trust.1.pod"


def manual(who):
    """The commands of the page's section that are to be typed at `who`, in blocks as they stand there."""
    section = re.search(r"^=head1 AUTHORITIES\n(.*?)^=head1 ", PAGE.read_text(), re.M | re.S).group(1)
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    found = [line.removeprefix(f"{who}$ ") for line in lines if line.startswith(f"{who}$ ")]
    check_equal(len(lines), 9, "commands in the section")
    return found


class Authority:
    """Where the authority's keys are, and what is done there."""

    def __init__(self, t, name="fleet"):
        self.t, self.name = t, name
        self.folder = t.dir / name
        self.folder.mkdir()
        for line in manual("ca")[:2]:
            self.shell(line.replace("fleet", name))

    def shell(self, line, host=None, check=0):
        """A line of the manual: here, or for a host, whose program, configuration and name are meant."""
        env = {"PATH": f"{self.t.dir}/bin:{os.environ['PATH']}"}
        if host:
            line = line.replace("/etc/qemu-migrate-launch", str(host.home / "config")).replace("b.example", host.name)
            line = re.sub(r"\bb\.(csr|ext|crt)\b", rf"{host.name}.\1", line)
            env["QEMU_MIGRATE_LAUNCH_HOME"] = str(host.home)
        return self.t.run("sh", "-c", line, env=env, cwd=self.folder, check=check)

    def certify(self, host, names=None, days=365, more=""):
        """A host's certificate, perhaps another one than the manual makes; its path."""
        make_extensions, sign = (line.replace("fleet", self.name) for line in manual("ca")[2:])
        if names is not None:
            make_extensions = make_extensions.replace("DNS:b.example", ",".join(f"DNS:{name}" for name in names))
        self.shell(make_extensions.replace("CA:FALSE", f"CA:FALSE{more}"), host)
        self.shell(sign.replace("-days 365", f"-days {days}"), host)
        return self.folder / f"{host.name}.crt"

    def join(self, host):
        """All that the manual has a host do."""
        lines = manual("b")
        for line in lines[:2]:
            self.shell(line, host)
        self.certify(host)
        for line in lines[2:]:
            # The list of names is the same everywhere.
            self.shell(line.replace("a.example", "a").replace('"b.example"', '"b"'), host)


def put_entry(host, name="fleet", **members):
    """An authority's entry in trust.d."""
    entry = {"version": 1, "name": name, "ca": f"{name}.pem", **members}
    path = host.home / "config" / "trust.d" / f"{name}.json"
    path.with_suffix(".new").write_text(json.dumps(entry))
    path.with_suffix(".new").rename(path)


def fleet_of(t):
    """(Pair, Authority): a and b, with keys of their own and no pins, as the manual says."""
    pair = Pair(t)
    for host in (pair.a, pair.b):
        shutil.rmtree(host.home / "config" / "trust.d")
        for name in ("identity.key", "identity.crt"):
            (host.home / "config" / name).unlink()
    (t.dir / "bin").mkdir()
    (t.dir / "bin" / "qemu-migrate-launch").symlink_to(t.program)
    authority = Authority(t)
    for host in (pair.a, pair.b):
        authority.join(host)
        entry = json.loads((host.home / "config" / "trust.d" / "fleet.json").read_text())
        check_equal(entry, {"version": 1, "name": "fleet", "ca": "fleet.pem", "names": ["a", "b"]}, "the manual's entry")
        put_entry(host, names=["a", "b"], addresses={"b": f"127.0.0.1:{pair.port}", "a": "127.0.0.1"})
    return pair, authority


def entries(host):
    """What `trust list` says, by name."""
    return {entry["name"]: entry for entry in json.loads(host.run("trust", "list", "--json", check=0).stdout)["peers"]}


@test(timeout=180)
def commands_of_the_manual(t):
    """the commands of the page make two hosts that know no pins: a guest is launched on both, and moves; certificates that
    were seen are kept, and the agreement counts by them"""
    pair, _ = fleet_of(t)
    check_equal(entries(pair.a)["b"], {"name": "b", "ca": "fleet", "pins": [], "host": "127.0.0.1", "port": pair.port}, "entry")
    check_equal(pair.a.run("trust", "list", check=0).stdout.splitlines()[1].split()[1], "ca:fleet", "list")
    source, destination = pair.launch()
    source.serial.wait_lines(3)
    for host, other in ((pair.a, pair.b), (pair.b, pair.a)):
        check_equal(entries(host)[other.name]["pins"], [other.identity_pin()], f"pins that {host.name} knows")
        check_in("expires 2", host.run("trust", "list", check=0).stdout, "list")
    pair.a.run("migrate", VM, check=0, timeout=60)
    destination.serial.wait_lines(3)
    destination.serial.check_continues(source.serial)
    # By hand, an entry of its own for one of the names is refused, and so is one that would be the authority's file.
    for name in ("b", "fleet"):
        refused = pair.a.run("trust", "add", name, "sha256//" + "B" * 42 + "A=", check=78)
        check_in("is trusted by the authority of 'fleet'", refused.stderr, "what it says")


@test(timeout=180)
def agent_and_its_worker(t):
    """an agent takes a certificate's word, in both of its processes; a name that is taken out of the list is out at once,
    and one that comes is in"""
    pair, _ = fleet_of(t)
    agent = pair.b.start("serve", "--listen", f"127.0.0.1:{pair.port}", name="b-agent")
    agent.wait_output("serving with key", 40)
    words = ["launch", "--vm", VM, "--peer", "b", "--dry-run", "--renegotiate", "--timeout", "20", "--", *pair.guest("a")]
    check_in("agreed with b", pair.a.run(*words, check=0, timeout=60).stderr, "a launch")

    def change(names, said):
        """The agent's list of names; it has seen that when its log says so."""
        before = agent.stderr().count(said)
        put_entry(pair.b, names=names)
        wait_until(lambda: agent.stderr().count(said) > before, 60, f"{said!r} of the agent")

    change(["b"], "1 peers are trusted now")
    refused = pair.a.run(*words, check=77, timeout=60)
    check_in("does not trust this host's key", refused.stderr, "what it says of a name that was taken out")
    change(["a", "b"], "2 peers are trusted now")
    check_in("agreed with b", pair.a.run(*words, check=0, timeout=60).stderr, "a launch, once more")
    change(["a", "b", "c"], "3 peers are trusted now")
    check_in("agreed with b", pair.a.run(*words, check=0, timeout=60).stderr, "a launch, with one more name")
    check(agent.alive(), "the agent ended")

    # a's own name is among them, too: that nobody listens there is no warning about a peer.
    found = json.loads(pair.a.run("doctor", "--json", timeout=120).stdout)["findings"]
    said = {one["subject"]: one for one in found if one["check"] == "peers"}
    check_equal(list(said), ["b"], "the peers that doctor called")
    check_in("answers", said["b"]["what"], "what it says of b")
    put_entry(pair.a, names=["a", "b"], addresses={"b": f"127.0.0.1:{pair.port}"}, expires=1)
    refused = pair.a.run("receive", VM, "--from", "b", "--timeout", "10", check=77, timeout=60)
    check_in("its trust entry here has expired", refused.stderr, "what it says of an authority's entry that is over")


@test(timeout=240)
def who_is_refused(t):
    """another name, an expired certificate, a self-signed one, one of another authority, of one that may not vouch for that
    name, with several names or a wildcard, or for something else: 77, from both sides"""
    pair, fleet = fleet_of(t)
    lab = Authority(t, "lab")
    wrong = Authority(t, "wrong")
    for host in (pair.a, pair.b):
        shutil.copy(lab.folder / "lab.pem", host.home / "config" / "trust.d" / "lab.pem")
        put_entry(host, name="lab", names=["l"])
        for place in (lab, wrong):
            shutil.copy(fleet.folder / f"{host.name}.csr", place.folder)
    agent = pair.b.start("serve", "--listen", f"127.0.0.1:{pair.port}", name="b-agent")
    agent.wait_output("serving with key", 40)
    own = {host.name: host.home / "config" / "identity.crt" for host in (pair.a, pair.b)}
    good = {name: path.read_bytes() for name, path in own.items()}

    def self_signed(host):
        path = t.dir / f"{host.name}-self.crt"
        key = host.home / "config" / "identity.key"
        words = ["-x509", "-key", key, "-subj", f"/CN={host.name}", "-addext", f"subjectAltName=DNS:{host.name}", "-out", path]
        t.run("openssl", "req", *words, check=0)
        return path

    cases = {
        "good": (lambda host: fleet.certify(host), None, None),
        "another name": (lambda host: fleet.certify(host, ["c"]), "has not the name", "does not trust this host's key"),
        "no name": (lambda host: fleet.certify(host, ["B.", "x"]), "has not the name", "does not trust this host's key"),
        "wildcard": (lambda host: fleet.certify(host, ["*"]), "has not the name", "does not trust this host's key"),
        "expired": (lambda host: fleet.certify(host, days=-1), "has expired", "has expired: run there"),
        "self-signed": (self_signed, "not by the authority", "does not trust this host's key"),
        "another authority": (lambda host: wrong.certify(host), "not by the authority", "does not trust this host's key"),
        "of lab's, which may not": (lambda host: lab.certify(host), "not by the authority", "does not trust this host's key"),
        "fleet's for a name of lab's": (lambda host: fleet.certify(host, ["l"]), "has not the name", "does not trust this host's key"),
        "two names": (lambda host: fleet.certify(host, ["a", "b"]), None, "does not trust this host's key"),
        "for mail": (lambda host: fleet.certify(host, more="\\nextendedKeyUsage=emailProtection"), "not by the authority", "does not trust this host's key"),
    }
    words = ["receive", VM, "--timeout", "10", "--from"]
    for name, (make, by_client, by_server) in cases.items():
        own["a"].write_bytes(make(pair.a).read_bytes())
        for kept in (pair.b.home / "config" / "trust.d").glob("*.crt"):
            kept.unlink()
        asked = pair.a.run(*words, "b", timeout=60)
        own["a"].write_bytes(good["a"])
        if by_server:
            check_equal(asked.returncode, 77, f"{name}: {asked.stderr}")
            check_in(by_server, asked.stderr, f"{name}, as a client")
        else:
            check_in("no VM", asked.stderr, f"{name}: trusted, and answered")
        own["b"].write_bytes(make(pair.b).read_bytes())
        server = Shown(pair.b)
        own["b"].write_bytes(good["b"])
        put_entry(pair.a, names=["a", "b"], addresses={"b": server.address})
        asked = pair.a.run(*words, "b", timeout=60)
        put_entry(pair.a, names=["a", "b"], addresses={"b": f"127.0.0.1:{pair.port}"})
        if by_client:
            check_equal(asked.returncode, 77, f"{name}, as a server: {asked.stderr}")
            check_in(by_client, asked.stderr, f"{name}, as a server")
        else:
            check("trusted" not in asked.stderr and asked.returncode != 77, f"{name}, as a server: {asked.stderr}")


@test(timeout=120)
def entries_that_are_wrong(t):
    """an authority's entry with a fault is refused by name: 78; a file of a certificate that others could change: 77"""
    host = t.host("a")
    host.identity_pin()
    (t.dir / "bin").mkdir()
    (t.dir / "bin" / "qemu-migrate-launch").symlink_to(t.program)
    authority = Authority(t)
    folder = host.home / "config" / "trust.d"
    folder.mkdir(mode=0o755)
    shutil.copy(authority.folder / "fleet.pem", folder)
    shutil.copy(host.home / "config" / "identity.crt", folder / "leaf.pem")
    (folder / "empty.pem").write_text("nothing\n")
    pem = (folder / "fleet.pem").read_text()
    (folder / "broken.pem").write_text(pem + pem[: len(pem) // 2])
    cases = {
        "no names": ({"names": []}, "fleet.json"),
        "a name that is none": ({"names": ["../a"]}, "not a valid name"),
        "a wildcard": ({"names": ["*"]}, "not a valid name"),
        "a name twice": ({"names": ["a", "b", "a"]}, "the name 'a' twice"),
        "an address of nobody": ({"names": ["a"], "addresses": {"b": "b"}}, "none of the names"),
        "an address that is none": ({"names": ["a"], "addresses": {"a": "b;c"}}, "not HOST[:PORT]"),
        "a file elsewhere": ({"names": ["a"], "ca": "../fleet.pem"}, "not the name of a file"),
        "no file": ({"names": ["a"], "ca": "no.pem"}, "no.pem"),
        "no certificate": ({"names": ["a"], "ca": "empty.pem"}, "no certificates in PEM"),
        "half a certificate": ({"names": ["a"], "ca": "broken.pem"}, "no certificates in PEM"),
        "not an authority's": ({"names": ["a"], "ca": "leaf.pem"}, "not an authority's"),
        "pins, too": ({"names": ["a"], "pins": []}, "fleet.json"),
        "expires before 1970": ({"names": ["a"], "expires": -1}, "fleet.json"),
    }
    for name, (members, word) in cases.items():
        put_entry(host, **members)
        refused = host.run("trust", "list")
        check_equal(refused.returncode, 78, f"{name}: {refused.stderr}")
        check_in(word, refused.stderr, name)
        check_in("AUTHORITIES in qemu-migrate-launch-trust(1)", refused.stderr, f"{name}: what to do")
        check("trust remove" not in refused.stderr, f"{name}: the names are to be thrown away: {refused.stderr}")
    found = json.loads(host.run("doctor", "--json", check=78).stdout)["findings"]
    (finding,) = (one for one in found if one["subject"] == "fleet")
    check(finding["command"] is None and "mend it" in finding["remedy"], f"what doctor says of it: {finding}")
    put_entry(host, names=["a", "b"])
    check_equal(sorted(entries(host)), ["a", "b"], "entries")
    refused = host.run("trust", "remove", "b", check=78)
    check_in(f"by the authority of 'fleet': take it out of \"names\" in {folder}/fleet.json", refused.stderr, "trust remove of a name")
    check_in("there is no trust entry 'c'", host.run("trust", "remove", "c", check=78).stderr, "trust remove of nobody")
    (folder / "b.json").write_text(json.dumps({"version": 1, "name": "b", "pins": [host.identity_pin()]}))
    check_in("'b' is there twice", host.run("trust", "list", check=78).stderr, "a name that is there twice")
    (folder / "b.json").unlink()
    (folder / "fleet.pem").chmod(0o666)
    check_in("fleet.pem", host.run("trust", "list", check=77).stderr, "what others can change")
