# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool in a real etcd, by tests/pool_tool.c: who is there, what of it counts, and when the store is down or lies."""
import json
import os
import signal
import time
from pathlib import Path

from lib.documents import check_files
from lib.etcd import Authority, Etcd, Liar, encode
from lib.harness import Skip, check, check_equal, check_in, test, wait_until
from lib.schema import check_document

HOSTS = "test/fleet/hosts/"
AGREEMENTS = "test/fleet/agreements/"
PRESENCE = "qemu-migrate-launch-presence+json"
LEASE = 20


def tool(t):
    """The program by which a test uses the pool."""
    path = Path(os.environ.get("QML_BAD_PEER") or t.program).parent / "pool-tool"
    if not os.access(path, os.X_OK):
        raise Skip(f"{path} is not there: make pool-tool")
    return path


def hosts(t, etcd, *names, trusting=None):
    """Hosts of the pool; the first trusts all others, or those in `trusting`."""
    made = [t.host(name) for name in names]
    for host in made:
        host.identity_pin()
        host.write_config(f"[host]\nname = {host.name}\n" + etcd.config(f"address = {host.name}.lan:77"))
    for host in made[1:]:
        if trusting is None or host.name in trusting:
            made[0].trust(host, name=host.name.upper())
    return made


def run(t, host, *words, status=0, input=None, timeout=60):
    """pool-tool to its end; (standard output, standard error)."""
    result = t.run(tool(t), host.home, *words, check=status, input=input, timeout=timeout)
    return result.stdout, result.stderr


def members(t, host, status=0, timeout=60):
    """(names, what was said)."""
    out, err = run(t, host, "members", status=status, timeout=timeout)
    return [line.split()[0] for line in out.splitlines()], err


def publish(t, host):
    """The agent's part: a process with a publisher."""
    parent = t.start(tool(t), host.home, "publish", name=f"{host.name}-publish")
    parent.wait_output("\n")
    return parent


def wait_published(etcd, *names):
    """Waits until exactly these are in the store."""
    wait_until(lambda: set(etcd.get(HOSTS)) == {HOSTS + name for name in names}, 15, f"presence of {names}")


def presence(t, signer, **changes):
    """Signed by this host, with what a test wants in it."""
    now = int(time.time())
    payload = {"version": 1, "host": signer.name, "address": "", "port": 7, "accels": [], "qemu": []}
    payload |= {"issued": now, "expires": now + 300, "serial": now * 1000}
    payload |= changes
    return run(t, signer, "sign", PRESENCE, input=json.dumps(payload))[0].strip()


@test(timeout=120)
def finds(t):
    """Hosts find each other over TLS; an end takes a host away, of the agent or of its publisher."""
    etcd = Etcd(t, 3, tls=True)
    a, b, c, d = hosts(t, etcd, "a", "b", "c", "d", trusting=("b", "c"))
    parents = {host.name: publish(t, host) for host in (a, b, c, d)}
    wait_published(etcd, "a", "b", "c", "d")
    out, err = run(t, a, "members")
    check_equal(out, "B b.lan 77\nC c.lan 77\n", "the members")
    check_in("1 host is not trusted here and ignored: d ", err, "what was said")
    check_equal(members(t, b)[0], [], "members for a host that trusts nobody")
    check_equal(check_files(a)["seen"], 1, "seen.json")
    for signed in etcd.get(HOSTS).values():
        check_document(json.loads(signed), "envelope", "a presence in the pool")
    # A graceful end takes it out at once; so does the agent's death, since its publisher sees it.
    parents["b"].signal(signal.SIGTERM)
    parents["b"].expect_status(0)
    wait_until(lambda: HOSTS + "b" not in etcd.get(HOSTS), 5, "end of b's presence")
    names, err = members(t, a)
    check_equal(names, ["C"], "the members without b")
    check_in("B is not in the pool now", err, "what was said of b")
    parents["c"].kill()
    wait_until(lambda: HOSTS + "c" not in etcd.get(HOSTS), 5, "end of c's presence")
    left = [line for line in t.alive() if f"{c.home} publish" in line[1]]
    check_equal(left, [], "processes of c")
    # A publisher that is killed cannot revoke its lease; the store ends it.
    began = time.monotonic()
    os.kill(int(parents["d"].stdout()), signal.SIGKILL)
    wait_until(lambda: HOSTS + "d" not in etcd.get(HOSTS), LEASE + 15, "end of d's lease")
    check(time.monotonic() - began > 5, "d was gone before its lease ended")
    parents["d"].signal(signal.SIGTERM)
    parents["d"].expect_status(0)


@test(timeout=180)
def member_stopped(t):
    """Members of etcd that are down: one is passed over; two are a store without a quorum; then all is well again."""
    etcd = Etcd(t, 3, tls=True)
    a, b = hosts(t, etcd, "a", "b")
    parent = publish(t, b)
    wait_published(etcd, "b")
    check_in(f":{etcd.ports[0]})", parent.stderr(), "the endpoint that was asked first")
    etcd.members[0].kill()
    check_equal(members(t, a)[0], ["B"], "the members with one of etcd's down")
    time.sleep(LEASE + 6)  # b's lease would have ended
    check_equal(members(t, a)[0], ["B"], "the members a lease later")
    etcd.members[1].kill()
    names, err = members(t, a, status=69)
    for port in etcd.ports:
        check_in(f"https://127.0.0.1:{port}: ", err, "the endpoints that were tried")
    check_in("the pool cannot be asked", err, "what failed")
    parent.wait_output("trying on", 30)
    time.sleep(LEASE + 2)
    etcd.members[0] = etcd.start_member(0)
    etcd.members[1] = etcd.start_member(1)
    parent.wait_output("answers again", 60)
    wait_until(lambda: members(t, a)[0] == ["B"], 30, "b in the pool again")


@test(timeout=120)
def tls(t):
    """A wrong CA, a wrong or no client certificate, another name: 77, and the store is told nothing."""
    etcd = Etcd(t, 1, tls=True)
    (a,) = hosts(t, etcd, "a")
    good = a.write_config("").parent / "config.ini"
    other = Authority(t, "other")
    cert, key = other.issue("client")
    host = "[host]\nname = a\n"

    def said(text, status=77):
        good.write_text(host + text)
        return members(t, a, status=status)[1]

    port = etcd.ports[0]
    said(etcd.config(), status=0)
    err = said(etcd.config().replace(str(etcd.authority.ca), str(other.ca)))
    check_in("certificate is not good under [pool] ca", err, "a wrong CA")
    err = said(etcd.config().replace("127.0.0.1", "localhost"))
    check_in("certificate is not good", err, "a name that the certificate does not have")
    for _ in range(8):  # with TLS 1.3 etcd's alert may come too late to be read, or in time
        err = said(etcd.config().replace(str(etcd.client[0]), str(cert)).replace(str(etcd.client[1]), str(key)))
        check_in("does not take our certificate", err, "a client certificate of another CA")
    err = said(f"[pool]\nurl = etcd+https://127.0.0.1:{port}/x\nca = {etcd.authority.ca}\n")
    check_in("does not take our certificate", err, "no client certificate")
    err = said(f"[pool]\nurl = etcd+https://127.0.0.1:{port}/x\n")
    check_in("certificate is not good", err, "the system's CAs")
    good.write_text(f"{host}[pool]\nurl = etcd+http://127.0.0.1:{port}/x\n")
    check_in(t.run(tool(t), a.home, "members").returncode, (69, 76), "the status in the clear to TLS")
    err = said(etcd.config().replace(str(etcd.client[1]), str(key)), status=78)
    check_in("cannot be used", err, "another certificate's key")
    etcd.client[1].chmod(0o640)
    err = said(etcd.config())
    check_in(str(etcd.client[1]), err, "a key that others can read")
    etcd.client[1].chmod(0o600)
    said(etcd.config(), status=0)


@test(timeout=120)
def lies(t):
    """What others write into the store, or the store plays back, does not count and is said."""
    etcd = Etcd(t)
    a, b, c, mallory = hosts(t, etcd, "a", "b", "c", "mallory", trusting=("b", "c"))
    good_b, good_c = presence(t, b), presence(t, c)
    etcd.put(HOSTS + "c", good_c)

    def ignored(value, words, key="b"):
        etcd.put(HOSTS + key, value)
        names, err = members(t, a)
        check_equal(names, ["C"], f"the members with {words!r}")
        check_in(words, err, "what was said")
        etcd.delete(HOSTS + key)

    now = int(time.time())
    forged = json.loads(good_b)
    forged["payload"] = json.loads(good_c)["payload"]
    ignored(json.dumps(forged), "b is ignored: its key is")
    forged = json.loads(good_b)
    forged["signature"] = json.loads(good_c)["signature"]
    ignored(json.dumps(forged), "its signature is wrong")
    ignored(presence(t, mallory, host="b"), "1 host is not trusted here and ignored: b ")
    ignored(good_b, "x is ignored: what is there is signed by B for the name b", key="x")
    ignored(presence(t, b, host="a"), "a is ignored: B has this host's own name", key="a")
    ignored(presence(t, b, issued=now - 400, expires=now - 1), "b is ignored: it expired")
    ignored(presence(t, b, issued=now + 400, expires=now + 500), "set the clocks right")
    ignored(good_b[:-9], "b is ignored: not valid JSON")
    ignored(good_b + " " * 5000, "larger than 4096 bytes")
    ignored("", "b is ignored")
    ignored(b"\0\xff", "b is ignored: not printable ASCII")
    ignored("{}", "b is ignored")
    ignored(run(t, b, "sign", "other+json", input="{}")[0], "not the 'qemu-migrate-launch-presence+json' expected")
    # Played back: what counted before a newer one was read counts no more.
    etcd.put(HOSTS + "b", good_b)
    check_equal(members(t, a)[0], ["B", "C"], "the honest members")
    etcd.put(HOSTS + "b", presence(t, b, serial=(now + 60) * 1000))
    check_equal(members(t, a)[0], ["B", "C"], "the members with b's newer presence")
    ignored(good_b, "older than one read before: the store plays it back")
    names, err = members(t, a)
    check_in("B is not in the pool now", err, "what was said of a hidden host")
    etcd.put_many((f"{HOSTS}m{i}", good_c) for i in range(999))
    names, err = members(t, a)
    check_equal(names, ["C"], "the members among 1000")
    etcd.put_many((f"{HOSTS}m{i}", "x") for i in range(2000))
    names, err = members(t, a, status=65)
    check_in("more than 1000 hosts under test/fleet/hosts/", err, "2000 members")


@test(timeout=120)
def liar(t):
    """A server with a good certificate that is no etcd: one clear error, in bounded time and memory."""
    authority = Authority(t)
    server = authority.issue("server")
    replies = {}
    liar_ = Liar(server, lambda path, body: replies["now"])
    (a,) = [t.host("a")]
    a.identity_pin()
    text = "[host]\nname = a\n[pool]\nurl = etcd+https://127.0.0.1:{}/test/fleet\nca = {}\n"
    a.write_config(text.format(liar_.port, authority.ca))

    def said(reply, status, words):
        replies["now"] = reply
        err = members(t, a, status=status)[1]
        check_in(words, err, f"what was said to {str(reply)[:80]}")

    def keys(*pairs, **more):
        kvs = [{"key": encode(key), "value": encode(value), "mod_revision": "1"} for key, value in pairs]
        return 200, json.dumps({"kvs": kvs, "count": str(len(kvs)), **more}).encode()

    said((200, b"{}"), 0, "")
    said((200, b""), 65, "not valid JSON")
    said((200, b"<html>hello</html>"), 65, "not valid JSON")
    said((200, b"[]"), 65, "not a JSON object")
    said((200, b"[" * 100000), 65, "nested too deeply")
    said((200, b'{"kvs":[],"kvs":[]}'), 65, "duplicate")
    said((200, b'{"kvs":[{"key":"*"}]}'), 65, "'key'")
    said(keys(("test/fleet/secrets/x", "y")), 65, "not asked for")
    said(keys((HOSTS + "b", "x"), (HOSTS + "a", "x")), 65, "not in order")
    said(keys((HOSTS + "b", "x"), (HOSTS + "b", "x")), 65, "not in order")
    said(keys((HOSTS + "b", "x"), more=True), 65, "more than 1000 hosts")
    said(keys(*((f"{HOSTS}m{i:04}", "x") for i in range(2000))), 65, "2000 keys")
    said(keys((HOSTS + "b", "x"))[:1] + (keys((HOSTS + "b", "x"))[1][:-7],), 65, "not valid JSON")
    said((200, b" " * (20 << 20)), 65, "its answer has more than")
    said((200, b"{}", ("X-Long", "x" * 30000)), 65, "its answer has more than")
    said((302, b"", ("Location", "https://example.org/")), 76, "HTTP status 302")
    said((404, b'{"error":"no","message":"no \\u001b[31m"}'), 76, "HTTP status 404")
    said((503, b"busy"), 69, "HTTP status 503")
    said((401, b'{"message":"who are you","code":16}'), 77, "who are you")
    count = len(liar_.asked)
    began = time.monotonic()
    said(None, 69, "the pool cannot be asked")
    check(time.monotonic() - began < 12, "a silent store holds a reader for long")
    check_equal(len(liar_.asked), count + 1, "requests to a silent store")
    liar_.close()


@test(timeout=120)
def agreements(t):
    """An agreement is found again; a newer one stays, whoever comes at the same time; anything else gives way."""
    etcd = Etcd(t)
    (a,) = hosts(t, etcd, "a")

    def put(issued, status=0):
        return run(t, a, "put", "web1", input=json.dumps({"issued": issued, "n": 1}), status=status)[1]

    def found():
        return json.loads(run(t, a, "find", "web1")[0]).get("issued")

    check_equal(run(t, a, "find", "web1")[0], "none\n", "an agreement that is not there")
    put(100)
    check_equal(found(), 100, "the first")
    put(100)
    put(200)
    check_equal(found(), 200, "the second")
    check_in("newer agreement for web1, it stays", put(150, status=10), "an older one")
    check_equal(found(), 200, "the second, still")
    for junk in ("junk", "{}", "[1]", json.dumps({"issued": int(time.time()) + 9999}), "x" * 300000):
        etcd.put(AGREEMENTS + "web1", junk)
        put(150)
        check_equal(found(), 150, f"after {junk[:20]!r}")
    etcd.put(AGREEMENTS + "web1", "x" * 300000)
    check_in("more than", run(t, a, "find", "web1", status=65)[1], "one that is too large")
    etcd.put(AGREEMENTS + "web1", "{")
    check_in("not valid JSON", run(t, a, "find", "web1", status=65)[1], "one that is no JSON")
    started = []
    for issued in (301, 305, 303, 308, 302, 307, 304, 306):
        document = t.dir / f"{issued}.json"
        document.write_text(json.dumps({"issued": issued}))
        with open(document, "rb") as source:
            started.append(t.start(tool(t), a.home, "put", "web1", name=f"put-{issued}", stdin=source))
    for process in started:
        check_in(process.wait(30), (0, 10, 69), f"status of {process.name}: {process.stderr()}")
    check_equal(found(), 308, "the newest of eight at once")


@test(timeout=120)
def users(t):
    """etcd's own users: a password from a file that only we can read; a token that has ended is asked for again."""
    etcd = Etcd(t)
    a, b = hosts(t, etcd, "a", "b")
    password = t.dir / "password"
    password.write_text("secret of a\n")
    password.chmod(0o600)
    etcd.post("/v3/auth/user/add", {"name": "root", "password": "r"})
    etcd.post("/v3/auth/user/grant", {"user": "root", "role": "root"})
    etcd.post("/v3/auth/user/add", {"name": "fleet", "password": "secret of a"})
    etcd.post("/v3/auth/role/add", {"name": "fleet"})
    permission = {"permType": "READWRITE", "key": encode("test/fleet/"), "range_end": encode("test/fleet0")}
    etcd.post("/v3/auth/role/grant", {"name": "fleet", "perm": permission})
    etcd.post("/v3/auth/user/grant", {"user": "fleet", "role": "fleet"})
    etcd.post("/v3/auth/enable", {})
    check_in("HTTP status 400", members(t, a, status=76)[1], "nobody")
    extra = ("user = fleet", f"password-file = {password}")
    for host in (a, b):
        host.write_config(f"[host]\nname = {host.name}\n" + etcd.config(*extra))
    parent = publish(t, b)
    parent.wait_output("this host is there as b")
    check_equal(members(t, a)[0], ["B"], "the members by a user")
    # etcd forgets its tokens when it is started again.
    etcd.members[0].signal(signal.SIGTERM)
    etcd.members[0].wait()
    etcd.members[0] = etcd.start_member(0)
    wait_until(lambda: t.run(tool(t), a.home, "members").stdout.startswith("B "), 40, "b after a start of etcd")
    parent.signal(signal.SIGTERM)
    parent.expect_status(0)
    names, err = members(t, a)
    check_equal(names, [], "the members after b's end, by a token that was new")
    a.write_config("[host]\nname = a\n" + etcd.config(*extra, prefix="test/other"))
    check_in("permission denied", members(t, a, status=77)[1], "another prefix")
    a.write_config("[host]\nname = a\n" + etcd.config(*extra))
    password.write_text("wrong\n")
    check_in("logging in as fleet", members(t, a, status=76)[1], "a wrong password")
    password.chmod(0o604)
    check_in(str(password), members(t, a, status=77)[1], "a password that others can read")


@test(timeout=90)
def namesake(t):
    """Two hosts of one name: said by both publishers' logs and by who has the name itself."""
    etcd = Etcd(t)
    a, b, c = hosts(t, etcd, "a", "b", "c")
    c.write_config("[host]\nname = b\n" + etcd.config())
    first = publish(t, b)
    wait_published(etcd, "b")
    second = publish(t, c)
    second.wait_output("b was there by another key")
    check_in(b.identity_pin(), second.stderr(), "whose")
    check_equal(members(t, a)[0], ["C"], "the members")
    first.wait_output("b was there by another key", 75)
