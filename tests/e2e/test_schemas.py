# SPDX-License-Identifier: GPL-3.0-or-later
"""The schemas of doc/schema: that they refuse what is broken, and that files and messages are as they say. What is printed
with --json every test holds against them (lib/documents.py)."""
import copy
import json
import re
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import jsonschema

from lib.documents import check_files
from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM
from lib.schema import FORMATS, mistakes, schemas, table, validator
from lib.signed import Signed
from test_formats import block
from test_receive import Site


@test(timeout=240)
def messages_and_files(t):
    """a VM agreed on, received, a migration given up, one that ends well: each message, statement and file is as its
    schema has it, and so is what every command prints about it"""
    signed = Signed(t)
    site = Site(t, "ab", env=signed.env)
    a, b = site["a"], site["b"]
    refused = a.run("--vm", VM, "--peer", "b", "--require", "avx512f", "--dry-run", "--", *site.guest("a"), check=10)
    check_in("avx512f", refused.stderr, "what cannot be had")
    source = site.launch("a", "b", guest=site.guest("a", memory=64))
    source.serial.wait_lines(3)
    words = site.guest("b", memory=64)
    waiting = site.receive("b", "a", guest=words)
    moving = a.start("migrate", VM, "--json", "--bandwidth", "64K", name="a-migrate")
    wait_until(lambda: "active" in moving.stdout(), 30, "progress of the migration")
    moving.signal(signal.SIGINT)
    moving.expect_status(13, 30)
    waiting.process.wait()
    arrived = site.receive("b", "a", guest=words)
    kept = check_files(a)
    site.migrate("a", "--to", "127.0.0.1", "--json")  # by its address: its agent is asked who waits there
    arrived.serial.wait_more()
    for command in (
        ("agreement", "list"), ("agreement", "show", VM), ("agreement", "show", VM, "--cpuid"), ("agreement", "check", VM),
        ("identity",), ("trust", "list"), ("verify", VM), ("profile", "--accel", "tcg"),
        ("profile", "--accel", "tcg", "--unsigned"), ("profile", "--accel", "tcg", "-o", t.dir / "b.profile"),
    ):
        b.run(*command, "--json", env={"LD_PRELOAD": None}, check=0)  # with it nothing is asked of QEMU once for all
    a.run("profile", "--verify", t.dir / "b.profile", "--json", check=0)
    seen = {(one["role"], one["name"], "error" in one["body"]) for one in signed.check()}
    requests = set(schemas()["request"]["properties"]["name"]["enum"])
    check_equal(requests - {name for role, name, _ in seen if role == "initiator"}, {"recover"}, "requests not seen")
    answered = {name for role, name, error in seen if role == "responder" and not error}
    check_equal(requests - answered, {"recover", "stream"}, "requests without a good answer")
    for host in (a, b):
        for name, number in check_files(host).items():
            kept[name] = kept.get(name, 0) + number
    missing = {row.schema for row in table("file") if row.schema} - set(kept)
    check_equal(missing - {"tap"}, {"seen"}, "files not seen")  # not every machine has taps


# The schemas themselves. tests/data/documents/NAME.json has documents that are as doc/schema/NAME.json says, cut short.

DOCUMENTS = Path(__file__).resolve().parents[1] / "data" / "documents"
PARTS = {"common"}  # only others refer to it
# What no value of this kind may be: of another kind, a control character, a number that is too small.
BROKEN = {str: ("\a", 1.5), int: (-(2**70), 1.5), bool: (1.5,), type(None): (1.5,), list: ({},), dict: ([],)}
# Members that may be left out: of an object that has them, by the name of the schema or of the member that holds it.
OPTIONAL = {
    "profile": {"key", "imported", "devices"},
    "models": {"identity"},
    "arguments": {"smp", "memory", "memory_options"},
    "guest-table": {"xcr0"},
    "table": {"xcr0"},
    "trust-entry": {"address", "addresses", "expires"},
    "peers": {"host", "port", "expires"},
    "migrate": {
        *("total", "remaining", "transferred", "rate", "dirty_rate", "elapsed_ms", "expected_downtime_ms", "throttle"),
    },
}
# Objects whose members' names are not ours, so that each of them may go.
MAPPINGS = {
    *("models", "modules", "parameters", "classes", "backends", "knobs", "costs", "values", "capabilities", "blocks"),
    "addresses",
    *("unshown", "aliases", "machine", "smp", "accel"),
}
ANY_NAME = {"parameters", "blocks"}  # of what is the kernel's, or QEMU's
# Texts that may be anything: file names, and a user's own words.
ANY_TEXT = {
    "launch": {"argv", "values"},
    "baseline": {"values"},
    "receive-proposal": {"proposal"},
    "vm-record": {"socket", "qemu", "arguments"},
    "probe": {"path", "binary", "modules", "loader", "files", "folders"},
}
NOT_OURS = {"qmp-replies"}  # what QEMU says may have more in it, and less


def places(value, path=()):
    """The path of every value in a document: keys and indices."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


@contextmanager
def changed(holder, change, *words):
    """Inside, `change` is done to this object or list."""
    before = copy.copy(holder)
    change(holder, *words)
    yield
    holder.clear()
    holder.update(before) if isinstance(holder, dict) else holder.extend(before)


def member_name(name, path):
    """What the object with this path is called: the member that it is, or that has a list or a mapping of it."""
    words = [key for key in path if isinstance(key, str)]
    if len(words) > 1 and words[-2] in MAPPINGS - {"machine", "smp", "accel"}:
        return words[-2]
    return words[-1] if words else name


def changes(name, document):
    """(what is done, where, object or list, function, words) for all that may not be done to a document."""
    for path in list(places(document)):
        value = document
        for key in path:
            holder, value = value, value[key]
        for broken in BROKEN[type(value)] if path else ():
            if not (broken == "\a" and ANY_TEXT.get(name, set()) & {*path}):
                yield repr(broken), path, holder, type(holder).__setitem__, (path[-1], broken)
        called = member_name(name, path)
        if isinstance(value, dict) and path[-1:] and path[-1] in MAPPINGS:
            if value and path[-1] not in ANY_NAME:
                yield "a bad name", path, value, dict.__setitem__, ("\a", next(iter(value.values())))
        elif isinstance(value, dict):
            yield "another member", path, value, dict.__setitem__, ("more", 1)
            for key in set(value) - OPTIONAL.get(called, set()):
                yield f"without {key}", path, value, dict.pop, (key,)


def taken(name, document):
    """What a schema takes though it is broken: (what was done, where)."""
    check = validator(name).is_valid
    found = {("a number", ()) for one in (1.5,) if check(one)}
    for what, path, holder, change, words in changes(name, document):
        with changed(holder, change, *words):
            if check(document):
                found.add((what, path))
    return found


@test(timeout=120)
def refuse_what_is_broken(t):
    """each is a schema, takes its documents, and refuses each of these with any value of another kind, without any member,
    and with another one"""
    check_equal({path.stem for path in DOCUMENTS.glob("*.json")}, set(schemas()) - PARTS, "documents and schemas")
    for name, schema in schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for document in [] if name in PARTS else json.loads((DOCUMENTS / f"{name}.json").read_text()):
            check_equal(mistakes(document, name), [], f"a document of {name}")
            check_equal(taken(name, document) if name not in NOT_OURS else set(), set(), f"what {name} takes")
    for path in (DOCUMENTS.parent / "hosts").glob("*.json"):
        check_equal(mistakes(json.loads(path.read_text()), "qmp-replies"), [], path.name)


@test()
def formats_names_them(t):
    """each schema is named in FORMATS and in formats(5), and there is one of each that is named; the commands there run as
    printed"""
    text = FORMATS.read_text()
    named = set(re.findall(r"\]\(schema/([a-z-]+)\.json\)", text))
    check_equal(named | {"message"}, set(schemas()), "schemas in FORMATS")
    page = (FORMATS.parents[1] / "man/qemu-migrate-launch-formats.5.pod").read_text()
    listed = {name.strip() for names in re.findall(r"\[([a-z,\s-]+)\]", page) for name in names.split(",")}
    check_equal(listed | {"common", "envelope-header", "message", "guardian-control"}, set(schemas()), "schemas in formats(5)")
    check_equal(set(re.findall(r"\"\$ref\": \"([a-z-]+)\.json", json.dumps(list(schemas().values())))) - set(schemas()), set(), "refs")
    if not shutil.which("jsonschema", path="/usr/bin:/bin"):
        t.skip("no jsonschema")
    host = t.host("a")
    host.identity_pin()
    (t.dir / "bin").mkdir()
    (t.dir / "bin/qemu-migrate-launch").symlink_to(t.program)
    env = {"PATH": f"{t.dir}/bin:/usr/bin:/bin", "QEMU_MIGRATE_LAUNCH_HOME": host.home, "SCHEMAS": FORMATS.parent / "schema"}
    result = t.run("sh", "-ec", block("schema"), env=env, check=0)
    check_equal(result.stdout, "as in the schema\n", f"what the commands print, with {result.stderr}")
