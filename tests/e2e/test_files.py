# SPDX-License-Identifier: GPL-3.0-or-later
"""Parties that are not asked: profiles in files, stored profiles, and what was agreed on before."""
import base64
import json
import shutil
import subprocess
import time

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, Pair, end_of_word
from test_receive import Site
from test_trust import bad_peer_path, start_bad


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def kept(host, name=f"{VM}.json"):
    """What the agreement there says, or None."""
    path = host.home / "state" / "agreements" / name
    if not path.exists():
        return None
    return json.loads(decode(json.loads(path.read_text())["agreement"]["payload"]))


def resign(t, host, path, change):
    """A statement's payload changed, and signed again with the host's own key, by openssl."""
    envelope = json.loads(path.read_text())
    payload = json.loads(decode(envelope["payload"]))
    change(payload)
    envelope["payload"] = encode(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode())
    words, signature = t.dir / "to-sign", t.dir / "signature"
    words.write_text(f"{envelope['protected']}.{envelope['payload']}")
    key = host.home / "config" / "identity.key"
    subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", words, "-out", signature], check=True
    )
    envelope["signature"] = encode(signature.read_bytes())
    path.write_text(json.dumps(envelope))
    path.chmod(0o600)


class Desk:
    """Host a, which has the VM, and others, whose profiles it is given in files.

    desk = Desk(t, b="", c="smap"): c's policy denies smap.
    """

    def __init__(self, t, **deny):
        self.t = t
        self.pair = Pair(t, deny_b=deny.get("b", ""))
        self.hosts = {"a": self.pair.a, "b": self.pair.b}
        for name in set(deny) - {"b"}:
            self.hosts[name] = t.host(name)
            self.pair.config(self.hosts[name], deny=deny[name])
            self.hosts["a"].trust(self.hosts[name], address="127.0.0.1")
            self.hosts[name].trust(self.hosts["a"])
        self.a, self.b = self.hosts["a"], self.hosts["b"]

    def profile(self, name, *options, file=None):
        """The signed profile of a host in a file."""
        path = self.t.dir / (file or f"{name}.profile")
        words = ("profile", "--qemu", self.t.qemu_path, "--accel", "tcg", "--machine", "q35", "-o", path, *options)
        self.hosts[name].run(*words, check=0)
        return path

    def launch(self, *options, status=0, guest=None, **how):
        """A launch on a with --dry-run --json."""
        words = ("--vm", VM, "--dry-run", "--json", *options, "--", *(guest or self.pair.guest("a", **how)))
        return self.a.run(*words, check=status)

    def copy_agreement(self, name):
        """web1.json, brought to a host by hand."""
        path = self.t.dir / f"agreement-for-{name}.json"
        shutil.copy(self.a.home / "state" / "agreements" / f"{VM}.json", path)
        return path


def launched(pair, *options, **how):
    """A launch of both that has been, and is over: what it agreed on counts."""
    pair_of = pair.launch(*options, **how)
    for one in pair_of:
        one.process.kill()
        one.process.wait(10)
    wait_until(lambda: not pair.t.alive(), 10, "end of the guardian")
    return pair_of


def files(*paths):
    return [word for path in paths for word in ("--peer-profile", path)]


@test()
def profiles_in_files(t):
    """two profiles in files count as two hosts would: what c denies nobody has; neither has promised anything"""
    desk = Desk(t, b="", c="smap")
    b, c = desk.profile("b"), desk.profile("c")
    alone = json.loads(desk.launch(*files(b)).stdout)
    check_in("smap", alone["features"], "features with b")
    done = desk.launch("--renegotiate", *files(b, c))
    told = json.loads(done.stdout)
    check("smap" not in told["features"], "smap, which c denies")
    check_equal(sorted(host["name"] for host in told["hosts"]), ["a", "b", "c"], "hosts")
    lost = {loss["feature"]: loss["missing_on"] for loss in told["dropped"]}
    check_equal(lost["smap"], [{"host": "c", "why": "policy"}], "who costs smap")
    for name in "bc":
        check_in(f"{VM}: {name} was not asked: it has to prove", done.stderr, "what is said")
    check_in("agreed with nobody else", done.stderr, "what is said")
    check_in("SECURITY feature smap is lost (c: policy)", done.stderr, "what is said")
    agreement = kept(desk.a)
    check_equal([party["host"] for party in agreement["parties"]], ["a"], "parties")
    check_equal(sorted(host["host"] for host in agreement["assumed"]), ["b", "c"], "assumed hosts")
    check_equal(sorted(path.name for path in (desk.a.home / "state" / "agreements").iterdir()), [f"{VM}.json"], "files")
    words = ("--vm", VM, *files(b, c), "--", *desk.pair.guest("a"))
    a = Launched(desk.a, desk.a.start(*words, name="a-launch"), "a")
    check_equal(a.features()["smap"], False, "smap in the guest")
    a.serial.wait_lines(2)


@test(timeout=90)
def a_file_beside_an_agent(t):
    """--peer c with its agent and --peer-profile b: c approves, b is only counted"""
    site = Site(t, "abc", more={"b": "[policy]\ndeny = smap\n"})
    path = t.dir / "b.profile"
    words = ("--accel", "tcg", "--machine", "q35", "-o", path)
    site["b"].run("profile", "--qemu", site.qemu["b"], *words, check=0)
    site.stop("b")
    a = site.launch("a", "c", options=["--peer-profile", path])
    check_equal(a.features()["smap"], False, "smap, which b denies")
    for name in "ac":
        agreement = kept(site[name])
        check_equal(sorted(party["host"] for party in agreement["parties"]), ["a", "c"], f"parties on {name}")
        check_equal([host["host"] for host in agreement["assumed"]], ["b"], f"assumed on {name}")
    check_equal(kept(site["b"]), None, "agreement on b")
    c = site.receive("c", "a")
    site.migrate("a")
    c.serial.wait_more()
    c.serial.check_continues(a.serial)


@test(timeout=90)
def files_that_do_not_count(t):
    """expired, from the future, tampered, by strangers, unsigned, imported, for another machine, twice: one clear line each"""
    desk = Desk(t, b="", c="")
    good, count = desk.profile("b"), 0

    def refused(status, word, path, *more, **how):
        done = desk.launch(*files(path), *more, status=status, **how)
        check_in(word, done.stderr, f"what is said of {path.name}")
        check_equal(kept(desk.a), None, f"agreement by {path.name}")
        return done

    def copy(change=None, name="bad.profile"):
        path = t.dir / name
        shutil.copy(good, path)
        if change:
            resign(t, desk.b, path, change)
        return path

    now = int(time.time())
    refused(77, "expired", copy(lambda payload: payload.update(issued=now - 99, expires=now - 1)))
    refused(77, "set the clocks right", copy(lambda payload: payload.update(issued=now + 999, expires=now + 9999)))
    refused(77, "recorded replies", copy(lambda payload: payload.update(imported=True)))
    refused(76, "feature table", copy(lambda payload: payload.update(table=1)))
    refused(65, "bad.profile", copy(lambda payload: payload.update(colour="blue")))
    text = good.read_text()
    envelope = json.loads(text)
    payload = json.loads(decode(envelope["payload"]))
    payload["cpu"]["available"].append("x-more")
    tampered = copy()
    tampered.write_text(json.dumps({**envelope, "payload": encode(json.dumps(payload).encode())}))
    refused(65, "signature", tampered)
    tampered.write_text(text[: len(text) // 2])
    refused(65, "bad.profile", tampered)
    tampered.write_text("")
    refused(65, "bad.profile", tampered)
    tampered.write_text("x" * (1 << 20))
    done = desk.launch(*files(tampered), status=65)
    check_in("bad.profile", done.stderr, "what is said of a large file")
    unsigned = desk.profile("b", "--unsigned", file="unsigned.profile")
    refused(65, "unsigned.profile", unsigned)
    stranger = t.host("d")
    stranger.run("identity", "init", check=0)
    desk.hosts["d"] = stranger
    by_stranger = desk.profile("d", file="stranger.profile")
    done = refused(77, "not trusted here", by_stranger)
    check_in(stranger.identity_pin(), done.stderr, "the pin to add")
    other = desk.profile("b", "--machine", "pc", file="pc.profile")
    refused(10, "make a new one there (profile --machine pc-q35-", other)
    own = t.dir / "own.profile"
    words = ("--accel", "tcg", "--machine", "q35", "-o", own)
    desk.a.run("profile", "--qemu", t.qemu_path, *words, check=0)
    refused(77, "own.profile", own)  # this host's own key is not one that it trusts
    check_in("b is a party already", desk.launch(*files(good, good), status=10).stderr, "the same file twice")
    for path, status in ((t.dir / "nothing.profile", 78), (t.dir, 78)):
        done = desk.a.run("--vm", VM, *files(path), "--", *desk.pair.guest("a"))
        check(done.returncode not in (0, 70), f"{path}: {done.returncode} {done.stderr}")
        check_equal(len(done.stderr.splitlines()), 1, f"lines about {path}")
    # Trust that has run out counts for files, too.
    desk.a.run("trust", "remove", "b", check=0)
    check_in("not trusted here", desk.launch(*files(good), status=77).stderr, "after trust remove")
    check_equal(count, 0, "nothing was agreed")


@test(timeout=90)
def an_old_profile_is_no_news(t):
    """a profile older than one that was seen is refused, in a file as on the wire"""
    desk = Desk(t, b="")
    old = desk.profile("b", file="old.profile")
    desk.pair.config(desk.b, deny="smap")
    for process in desk.pair.dry_run():  # a sees b's new one
        process.expect_status(0)
    done = desk.launch("--renegotiate", *files(old), status=77)
    check_in("is an old one (serial ", done.stderr, "what is said")


@test(timeout=120)
def the_guest_moves_to_an_assumed_host(t):
    """b, by its profile only, is brought the agreement: it proves, and the guest moves there; with another policy: 12"""
    desk = Desk(t, b="")
    profile = desk.profile("b")
    words = ("--vm", VM, *files(profile), "--", *desk.pair.guest("a"))
    a = Launched(desk.a, desk.a.start(*words, name="a-launch"), "a")
    a.serial.wait_lines(3)
    path = desk.copy_agreement("b")
    incoming = ("--vm", VM, "--agreement", path, "--incoming", "--listen", f"127.0.0.1:{desk.pair.port}")
    desk.pair.config(desk.b, deny="aes")
    done = desk.b.run(*incoming, "--", *desk.pair.guest("b"), check=12)
    check_in("aes is gone on b (policy)", done.stderr, "what b says")
    check_equal(kept(desk.b), None, "agreement on b after that")
    done = desk.b.run(*incoming, "--", *desk.pair.guest("b", machine="pc"), check=10)
    desk.pair.config(desk.b)
    b = Launched(desk.b, desk.b.start(*incoming, "--", *desk.pair.guest("b"), name="b-launch"), "b")
    check_in("this host is no party to the agreement, a is: the proof here decides", b.process.stderr(), "what b says")
    check_equal(end_of_word("-cpu", b.argv), end_of_word("-cpu", a.argv), "-cpu")
    check_equal(b.features(), a.features(), "features")
    desk.a.run("migrate", VM, "--to", f"b:{desk.pair.port}", check=0, timeout=60)
    b.serial.wait_more()
    b.serial.check_continues(a.serial)
    desk.b.run("verify", VM, check=0)
    check_equal(kept(desk.b), kept(desk.a), "agreement on both")
    # One who trusts none of those who agreed takes nobody's word.
    c = t.host("c")
    desk.pair.config(c)
    c.run("identity", "init", check=0)
    done = c.run("--vm", VM, "--agreement", path, "--incoming", "--", *desk.pair.guest("b"), check=77)
    check_in("nor with one that is trusted here", done.stderr, "what c says")


@test(timeout=120)
def offline_ok(t):
    """a peer that is down counts by its last profile with --offline-ok, and only then, if it has not expired"""
    site = Site(t, "abc", more={"b": "[policy]\ndeny = smap\n"})
    site.stop("b")
    words = ["--vm", VM, "--peer", "b", "--peer", "c", "--dry-run", "--json", "--timeout", "12"]

    def launch(*options, status=0):
        return site["a"].run(*words, *options, "--", *site.guest("a"), check=status, timeout=40)

    check_in("there is no stored profile of it", launch("--offline-ok", status=69).stderr, "nothing stored")
    check_equal(kept(site["c"]), None, "agreement on c")
    site.serve("b")
    check_equal(sorted(party["host"] for party in [launch(), kept(site["a"])][1]["parties"]), ["a", "b", "c"], "parties")
    site.stop("b")
    done = launch("--renegotiate", status=69)
    check_in("127.0.0.1", done.stderr, "who is not there")
    check_equal(len(kept(site["a"])["parties"]), 3, "the agreement before stands")
    done = launch("--renegotiate", "--offline-ok")
    check_in("warning: b is not there: its last profile counts, and it has to prove", done.stderr, "what is said")
    check("smap" not in json.loads(done.stdout)["features"], "smap, which b denies")
    for name in "ac":
        agreement = kept(site[name])
        check_equal(sorted(party["host"] for party in agreement["parties"]), ["a", "c"], f"parties on {name}")
        check_equal([host["host"] for host in agreement["assumed"]], ["b"], f"assumed on {name}")
    check_equal(len(kept(site["b"])["parties"]), 3, "what b holds")
    site.stop("c")
    done = launch("--renegotiate", "--offline-ok")
    check_in("agreed with nobody else", done.stderr, "all are down")
    check("cannot connect" not in done.stderr, f"what was put up with is no error: {done.stderr}")
    check_equal([party["host"] for party in kept(site["a"])["parties"]], ["a"], "parties when all are down")
    # An old one does not help.
    now = int(time.time())
    stored = site["a"].home / "state" / "profiles" / "b.json"
    shutil.copy(stored, t.dir / "b.stored")
    resign(t, site["b"], stored, lambda payload: payload.update(issued=now - 99, expires=now - 1))
    check_in("expired", launch("--renegotiate", "--offline-ok", status=77).stderr, "an expired one")
    # Who answers with a refusal is there.
    site.serve("c")
    site["c"].run("trust", "remove", "a", check=0)
    site.agents["c"].wait_output("1 peers are trusted now", 5)
    shutil.copy(t.dir / "b.stored", stored)
    stored.chmod(0o600)
    done = launch("--renegotiate", "--offline-ok", status=77)
    check_in("does not trust", done.stderr, "who does not trust us")


@test(timeout=120)
def a_known_vm_asks_nobody(t):
    """a pair's second launch: both sides prove alone, nobody is asked, and the guest moves as before"""
    pair = Pair(t)
    launched(pair)
    first = kept(pair.a)
    source = Launched(pair.a, pair.connect(), "a")  # nobody listens there
    check_in(f"{VM}: as agreed, ", source.process.stderr(), "what a says")
    check_in("proven here", source.process.stderr(), "what a says")
    source.serial.wait_lines(2)
    listener = pair.listen()
    destination = Launched(pair.b, listener, "b")
    check_equal(end_of_word("-cpu", destination.argv), end_of_word("-cpu", source.argv), "-cpu")
    check_equal((kept(pair.a), kept(pair.b)), (first, first), "the agreement")
    pair.a.run("migrate", VM, check=0, timeout=60)
    destination.serial.wait_more()
    destination.serial.check_continues(source.serial)
    pair.b.run("verify", VM, check=0)


@test(timeout=120)
def other_words_than_were_agreed(t):
    """a known VM's -cpu says another CPU: said, and not given; --require what it lacks: 10; another accel, machine: 10"""
    pair = Pair(t, deny_b="smap")
    launched(pair)
    first = kept(pair.a)

    def again(*options, status=0, **how):
        words = ("--vm", VM, "--peer", "b", "--dry-run", *options, "--", *pair.guest("a", **how))
        return pair.a.run(*words, check=status)

    same = again()
    check("warning" not in same.stderr, f"the same words: {same.stderr}")
    for options, how in (((), {"cpu": "max,-aes"}), ((), {"cpu": "max,+smap"}), (("--deny", "aes"), {})):
        done = again(*options, **how)
        check_in("-cpu and --deny ask for another one, which only --renegotiate gives it", done.stderr, f"{how}")
        check_equal(end_of_word("-cpu", done.stdout.split()), end_of_word("-cpu", same.stdout.split()), f"-cpu of {how}")
    check_in("without smap, which is required", again("--require", "smap", status=10).stderr, "--require")
    again("--require", "aes")
    again(status=10, machine="pc")
    check_in("cpu-pm", pair.a.run("--vm", VM, "--peer", "b", "--", *pair.guest("a"), "-overcommit", "cpu-pm=on", check=10).stderr, "")
    check_equal(kept(pair.a), first, "the agreement")
    # -loadvm keeps its CPU.
    loadvm = [*pair.guest("a"), "-loadvm", "old"]
    done = pair.a.run("--vm", VM, "--peer", "b", "--dry-run", "--", *loadvm, check=0)
    check_in("as agreed", done.stderr, "-loadvm")
    done = pair.a.run("--vm", VM, "--peer", "b", "--renegotiate", "--", *loadvm, check=10)
    check_in("cannot be agreed anew (--renegotiate)", done.stderr, "-loadvm with --renegotiate")
    # An interrupted commit is no way around that.
    (pair.a.home / "state" / "agreements" / f"{VM}.committing").write_text(
        (pair.a.home / "state" / "agreements" / f"{VM}.json").read_text()
    )
    (pair.a.home / "state" / "agreements" / f"{VM}.committing").chmod(0o600)
    done = pair.a.run("--vm", VM, "--peer", "b", "--timeout", "8", "--", *loadvm, check=10)
    check_in("cannot be agreed anew", done.stderr, "-loadvm after a commit that was not finished")


@test(timeout=120)
def agreed_anew(t):
    """--renegotiate: what the guest gains and loses, and its machine type, is said on both sides"""
    pair = Pair(t, deny_b="smap")
    launched(pair)
    first = kept(pair.a)
    pair.config(pair.b, deny="aes")
    for process in pair.dry_run():
        process.expect_status(0 if "a-launch" in process.name else 12)
    check_equal(kept(pair.a), first, "without --renegotiate")
    for process in pair.dry_run("--renegotiate"):
        process.expect_status(0)
        check_in(f"{VM}: against the agreement before it gains: smap", process.stderr(), process.name)
        check_in(f"{VM}: against the agreement before it loses: aes", process.stderr(), process.name)
    check(kept(pair.a) != first and kept(pair.a) == kept(pair.b), "the agreements")
    for process in pair.dry_run("--renegotiate"):
        process.expect_status(0)
        check("against the agreement before" not in process.stderr(), f"nothing has changed: {process.stderr()}")
    guests = {f"guest_{name}": pair.guest(name, machine="pc") for name in "ab"}
    for process in pair.dry_run("--renegotiate", **guests):
        process.expect_status(0)
        check_in("against the agreement before it has pc-i440fx-", process.stderr(), process.name)
    # One that cannot be read stands in the way, and --renegotiate replaces it.
    path = pair.a.home / "state" / "agreements" / f"{VM}.json"
    path.write_text("{")
    done = pair.a.run("--vm", VM, "--peer", "b", "--", *pair.guest("a"), check=65)
    check_in(str(path), done.stderr, "a damaged agreement")
    for process in pair.dry_run("--renegotiate"):
        process.expect_status(0)
    check_equal(kept(pair.a), kept(pair.b), "the agreements")


@test(timeout=90)
def machine_types_in_turn(t):
    """one host's profiles for two machine types, again and again: none of them is taken for an old one"""
    pair = Pair(t)
    for machine in ("q35", "pc", "q35", "q35", "pc"):
        guests = {f"guest_{name}": pair.guest(name, machine=machine) for name in "ab"}
        for process in pair.dry_run("--renegotiate", **guests):
            process.expect_status(0)


@test(timeout=120)
def without_a_proof(t):
    """agreed with --no-proof, launched again: what the hosts offer is looked at, a warning says so"""
    pair = Pair(t)
    launched(pair, "--no-proof")
    source, destination = pair.launch("--no-proof")
    for one in (source, destination):
        check_in("was agreed without a proof (--no-proof)", one.process.stderr(), "what is said")
    check_equal(source.features(), destination.features(), "features")
    source.process.kill()
    source.process.wait(10)
    pair.config(pair.a, deny="aes")
    done = pair.a.run("--vm", VM, "--peer", "b", "--no-proof", "--", *pair.guest("a"), check=12)
    check_in("aes is gone on a (policy)", done.stderr, "what a says when it cannot")


@test(timeout=90)
def three_without_a_proof(t):
    """--no-proof with two agents and a file: the agents check what they are told"""
    site = Site(t, "abc", more={"c": "[policy]\ndeny = smap\n"})
    a = site.launch("a", "b", "c", options=["--no-proof"])
    check_equal(a.features()["smap"], False, "smap, which c denies")
    check_equal([kept(site[name])["proof"] for name in "abc"], [None] * 3, "proofs")
    check_in("nobody has looked whether a guest sees the same CPU on all", a.process.stderr(), "what is said")


@test(timeout=120)
def killed_before_the_acknowledgement(t):
    """a pair whose source is killed while it waits for b's acknowledgement: found, said, and agreed anew or finished"""
    pair = Pair(t)
    bad_peer_path(t)
    bad = start_bad(t, pair, "listen", "no-commit")
    process = pair.connect("--timeout", "30")
    committing = pair.a.home / "state" / "agreements" / f"{VM}.committing"
    wait_until(committing.exists, 20, "the agreement that all have signed")
    process.kill()
    process.wait(10)
    bad.kill()
    bad.wait(10)
    check_equal(kept(pair.a), None, "what counts on a")
    signed = kept(pair.a, committing.name)
    # Nobody is there: nothing is started.
    done = pair.a.run("--vm", VM, "--peer", "b", "--timeout", "2", "--", *pair.guest("a"), check=69, timeout=40)
    check_in("found an agreement that not all have acknowledged", done.stderr, "what the next launch says")
    check_in("it does not count, and is agreed anew", done.stderr, "what the next launch says")
    check_equal((kept(pair.a), t.alive()), (None, []), "what has begun")
    # b listens, and knows nothing of it: agreed anew.
    listener = pair.listen("--dry-run")
    process = pair.connect("--dry-run", "--timeout", "20")
    process.expect_status(0, 40)
    listener.expect_status(0, 20)
    check(not committing.exists(), "what was not finished is still there")
    check_equal(kept(pair.a), kept(pair.b), "agreement")
    check(kept(pair.a) != signed, "what b never had counts")


@test(timeout=90)
def approved_and_never_agreed(t):
    """the listener's side: what it approved and nobody committed is said, and does not count"""
    pair = Pair(t)
    bad_peer_path(t)
    bad = start_bad(t, pair, "connect", "die-before-commit")
    listener = pair.listen("--timeout", "9")
    listener.expect_status(69, 30)
    bad.wait(10)
    check((pair.b.home / "state" / "agreements" / f"{VM}.pending").exists(), "what b approved")
    check_equal(kept(pair.b), None, "what counts on b")
    pair.b.run("agreement", "check", VM, check=64)
    for process in pair.dry_run():
        process.expect_status(0)
        if process.name == "b-launch":
            check_in("never came to an agreement: it does not count", process.stderr(), "what b says")
    check(not (pair.b.home / "state" / "agreements" / f"{VM}.pending").exists(), "it is still there")
    for process in pair.dry_run("--renegotiate"):
        check("does not count" not in process.stderr(), f"it is said again: {process.stderr()}")


@test(timeout=90)
def who_is_given_twice(t):
    """options that do not go together, and parties that are one: 64 or 10, before anybody is asked"""
    desk = Desk(t, b="", c="")
    profile = desk.profile("b")
    guest = desk.pair.guest("a")
    for options, status, word in (
        ((), 64, "give --peer HOST"),
        (("--listen", *files(profile)), 64, "one of them"),
        (("--listen", "--offline-ok"), 64, "--offline-ok is about --peer"),
        (("--offline-ok", *files(profile)), 64, "--offline-ok is about --peer"),
        (("--peer", "b", "--peer", "b"), 64, "given twice"),
        (("--peer", "b", "--peer", f"b:{desk.pair.port}"), 64, "are one party, b"),
        (("--peer", "nobody"), 77, "no trust entry"),
        (("--agreement", "x.json", *files(profile)), 64, "--agreement needs no --peer"),
        (("--agreement", "x.json", "--peer", "b"), 64, "--agreement needs no --peer"),
    ):
        done = desk.a.run("--vm", VM, *options, "--", *guest, check=status)
        check_in(word, done.stderr, f"{options}")
        check_equal(len(done.stderr.splitlines()), 1, f"lines: {done.stderr}")


@test(timeout=150)
def a_listener_among_agents(t):
    """--peer b, which listens and is the destination, and c, an agent that denies smap: three parties, and the guest moves
    to b; what b's own command line demands counts, though only a has all profiles"""
    site = Site(t, "abc", more={"c": "[policy]\ndeny = smap\n"})
    site.stop("b")

    def listen(*options, **how):
        words = ("--vm", VM, "--listen", f"127.0.0.1:{site.ports['b']}", "--incoming", *options)
        process = site["b"].start(*words, "--", *site.guest("b", **how), name="b-launch")
        process.wait_output("waiting for a peer")
        return process

    def connect(*options):
        words = ("--vm", VM, "--peer", "b", "--peer", "c", "--timeout", "25", *options)
        return site["a"].start(*words, "--", *site.guest("a"), name="a-launch")

    for options, status, word in ((("--require", "smap"), 10, "smap is required on b"), (("--no-proof",), 10, "--no-proof")):
        listener = listen("--timeout", "15", *options)
        process = connect()
        process.expect_status(status, 40)
        check_in(word, process.stderr(), f"what a says of {options}")
        listener.signal(15)
        listener.wait(20)
        check_equal([kept(site[name]) for name in "abc"], [None] * 3, f"agreements after {options}")
    listener = listen(cpu="max,-aes")
    source = Launched(site["a"], connect(), "a")
    destination = Launched(site["b"], listener, "b")
    features = source.features()
    check_equal((features["smap"], features["aes"]), (False, False), "smap, which c denies, and aes, which b's user does")
    check_equal(destination.features(), features, "features on b")
    check_in("SECURITY feature lost: smap, which b has", destination.process.stderr(), "what b says")
    for name in "abc":
        roles = {party["host"]: party["role"] for party in kept(site[name])["parties"]}
        check_equal(roles, {"a": "source", "b": "destination", "c": "party"}, f"roles on {name}")
    source.serial.wait_lines(2)
    site.migrate("a")
    destination.serial.wait_more()
    destination.serial.check_continues(source.serial)
    site["b"].run("verify", VM, check=0)
