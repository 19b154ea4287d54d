# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of doc/FORMATS.md, exactly as printed there, on what the program has just written."""
import base64
import json
import os
import re
import shutil
from pathlib import Path

from lib.harness import check, check_equal, check_in, free_port, test

FORMATS = Path(__file__).resolve().parents[2] / "doc" / "FORMATS.md"
PROFILE = "qemu-migrate-launch-profile+json"


def block(name):
    """The shell commands of doc/FORMATS.md behind the comment `test: NAME`."""
    found = re.findall(rf"^<!-- test: {name} -->\n```sh\n(.*?)^```$", FORMATS.read_text(), re.M | re.S)
    check_equal(len(found), 1, f"blocks called {name} in doc/FORMATS.md")
    return found[0]


def prepare(t):
    """Saves `verify` in the test's folder, as the document says."""
    for tool in ("jq", "openssl", "base64"):
        if not shutil.which(tool):
            t.skip(f"no {tool}")
    (t.dir / "verify").write_text(block("verify"))


def host(t, name):
    """A host with an identity that is called `name`."""
    made = t.host(name)
    made.write_config(f"[host]\nname = {name}\n")
    made.identity_pin()
    return made


def verify(t, path, pin, kind=PROFILE):
    return t.run("sh", "verify", path, pin, kind)


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def another(text, place):
    """The text with another letter at that place."""
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


def with_payload(envelope, change):
    """The envelope with its payload changed and its old signature."""
    payload = json.loads(decode(envelope["payload"]))
    change(payload)
    return {**envelope, "payload": encode(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode())}


def with_header(envelope, **members):
    header = {**json.loads(decode(envelope["protected"])), **members}
    return {**envelope, "protected": encode(json.dumps(header, separators=(",", ":")).encode())}


@test()
def profile_verifies_by_hand(t):
    """the openssl commands of FORMATS say OK to a stored profile, and to no other signer, kind or byte"""
    prepare(t)
    a, b = host(t, "a"), host(t, "b")
    b.trust(a)
    a.run("profile", "--accel", "tcg", "-o", t.dir / "a.profile", check=0)
    pin = a.identity_pin()
    good = verify(t, "a.profile", pin)
    check_equal(good.returncode, 0, f"status of verify, which said {good.stderr!r}")
    check(re.search(r"^OK [0-9a-f]{64}$", good.stdout, re.M), f"no OK: {good.stdout!r}")
    check_in("good: profile of a", b.run("profile", "--verify", t.dir / "a.profile", check=0).stdout, "profile --verify")

    stranger = verify(t, "a.profile", b.identity_pin())
    check_in("signed by another key", stranger.stdout, "verify with another pin")
    check(stranger.returncode != 0, "verify takes another pin")
    check_equal(verify(t, "a.profile", pin, "qemu-migrate-launch-agreement+json").returncode, 1, "another kind")

    envelope = json.loads((t.dir / "a.profile").read_text())
    b.run("profile", "--accel", "tcg", "-o", t.dir / "b.profile", check=0)
    other = json.loads((t.dir / "b.profile").read_text())
    wrong = {
        "payload": with_payload(envelope, lambda payload: payload.update(serial=99)),
        "features": with_payload(envelope, lambda payload: payload["cpu"]["available"].append("avx512f")),
        "signature": {**envelope, "signature": another(envelope["signature"], 20)},
        "short signature": {**envelope, "signature": envelope["signature"][:-4]},
        "other's signature": {**envelope, "signature": other["signature"]},
        "other's payload": {**envelope, "payload": other["payload"]},
        "other's kid": with_header(envelope, kid=b.identity_pin()),
        "other type": with_header(envelope, typ="qemu-migrate-launch-approval+json"),
        "no algorithm": with_header(envelope, alg="none"),
        "spaces in the header": {**envelope, "protected": encode(decode(envelope["protected"]) + b" ")},
        "no signature": {**envelope, "signature": ""},
    }
    for name, text in wrong.items():
        (t.dir / "wrong.profile").write_text(json.dumps(text))
        result = verify(t, "wrong.profile", pin)
        check(result.returncode != 0, f"{name}: verify takes it")
        check(not re.search("^OK", result.stdout, re.M), f"{name}: verify says OK")
        b.run("profile", "--verify", t.dir / "wrong.profile", check=65)


@test()
def profile_commands_run(t):
    """the example of FORMATS for a profile runs as it is printed"""
    prepare(t)
    a = host(t, "a")
    path = f"{t.program.parent}:{os.environ['PATH']}"
    result = t.run("sh", "-ec", block("verify-profile"), env={"PATH": path, "QEMU_MIGRATE_LAUNCH_HOME": a.home})
    check_equal(result.returncode, 0, f"status of the commands, which said {result.stderr!r}")
    check(re.search(r"^OK [0-9a-f]{64}$", result.stdout, re.M), f"no OK: {result.stdout!r}")
    check_in('"kernel_irqchip"', result.stdout, "the payload")


@test()
def agreement_verifies_by_hand(t):
    """the commands of FORMATS for a stored agreement: both have signed it, and nothing else passes"""
    prepare(t)
    a, b = host(t, "a"), host(t, "b")
    port = free_port()
    a.trust(b, address=f"127.0.0.1:{port}")
    b.trust(a)
    qemu = ("--dry-run", "--", t.qemu_path, "-machine", "q35,accel=tcg", "-cpu", "max")
    listener = b.start("--vm", "web1", "--listen", f"127.0.0.1:{port}", "--incoming", *qemu)
    a.run("--vm", "web1", "--peer", "b", *qemu, check=0)
    listener.expect_status(0)
    stored = [(one.home / "state" / "agreements" / "web1.json").read_text() for one in (a, b)]
    check_equal(stored[0], stored[1], "the agreement on both hosts")

    pins = {"PIN_A": a.identity_pin(), "PIN_B": b.identity_pin(), "VM": "web1"}
    document = json.loads(stored[0])
    agreement, approval = document["agreement"], document["approvals"][0]

    def run(changed, env=None):
        (t.dir / "web1.json").write_text(json.dumps(changed))
        return t.run("sh", "-c", block("verify-agreement"), env={**pins, **(env or {})})

    good = run(document)
    check_equal(good.returncode, 0, f"status of the commands, which said {good.stderr!r}")
    check_in("OK: both have signed ", good.stdout, "the commands' output")
    check_equal(json.loads(decode(approval["payload"]))["agreement"], good.stdout.split()[-1], "digest")

    wrong = {
        "features": with_payload(agreement, lambda payload: payload["baseline"]["features"].append("avx512f")),
        "signature": {**agreement, "signature": another(agreement["signature"], 20)},
    }
    for name, text in wrong.items():
        result = run({**document, "agreement": text})
        check(result.returncode != 0 and "both have signed" not in result.stdout, f"agreement with another {name}")
    result = run({**document, "approvals": [with_payload(approval, lambda payload: payload.update(vm="web2"))]})
    check(result.returncode != 0 and "both have signed" not in result.stdout, "a changed approval")
    result = run(document, env={"PIN_B": a.identity_pin()})
    check(result.returncode != 0 and "both have signed" not in result.stdout, "an approval by another key")
