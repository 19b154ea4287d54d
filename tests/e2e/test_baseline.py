# SPDX-License-Identifier: GPL-3.0-or-later
"""The baseline command: what stored profiles have in common, said to people and to programs."""
import base64
import copy
import itertools
import json
import os
import pty
import re
import subprocess
from pathlib import Path

from lib.harness import check, check_equal, check_in, test
from lib.pair import Pair, said

TOP = Path(__file__).resolve().parents[2]
KEYS = {"features", "dropped", "model", "machine", "hosts", "costs", "warnings", "form"}
KEYS |= {"devices", "migration", "compat"}
ESCAPE = "\033"
COMMANDS = ("query-version", "query-kvm", "query-machines", "query-cpu-definitions", "query-cpu-model-expansion")


class Desk:
    """Where somebody plans: a host that no profile is of, and the files of profiles."""

    def __init__(self, t):
        self.t = t
        self.host = t.host("desk")
        self.real = {}  # by binary

    def profile(self, name, binary=None, accel="tcg", without=(), **cpu):
        """An unsigned profile as the program writes it (TCG: the same on every machine) for the host `name`, changed:
        as if under `accel`, without these features, with these members of its "cpu"."""
        binary = binary or self.t.qemu_path
        if binary not in self.real:
            argv = ("profile", "--unsigned", "--accel", "tcg", "--machine", "q35", "--qemu", binary)
            self.real[binary] = json.loads(self.host.run(*argv, check=0).stdout)
        made = copy.deepcopy(self.real[binary])
        made["probe"]["accel"] = accel
        made["cpu"].update(host=name, accel=accel)
        made["cpu"]["available"] = [one for one in made["cpu"]["available"] if one not in without]
        made["cpu"].update(cpu)
        return made

    def file(self, made, name=None):
        """Stores a profile under its host's name."""
        path = self.t.dir / f"{name or made['cpu']['host']}.profile"
        path.write_text(made if isinstance(made, str) else json.dumps(made))
        return path

    def files(self, *made):
        return [self.file(one) for one in made]

    def run(self, *args, **options):
        return self.host.run("baseline", *args, **options)

    def document(self, *args):
        """The document of --json."""
        return json.loads(self.run("--json", *args, check=0).stdout)

    def refuses(self, status, words, *args):
        """One line on standard error with all the words, nothing on standard output, this status."""
        result = self.run(*args, check=status)
        lines = result.stderr.strip().splitlines()
        check_equal(len(lines), 1, f"lines of the refusal {lines}")
        for word in words:
            check_in(word, lines[0], "the refusal")
        check_equal(result.stdout, "", "standard output of a refusal")
        return lines[0]


def whys(document):
    """{feature: {host: why}} of what is dropped."""
    return {
        one["feature"]: {lack["host"]: lack["why"] for lack in one["missing_on"]} for one in document["dropped"]
    }


def recorded(t, name, binary=None, model="max", accel="tcg"):
    """What a real QEMU answers to the commands of `profile --from-qmp`."""
    requests = [{"execute": "qmp_capabilities"}]
    for command in COMMANDS:
        expansion = {"arguments": {"type": "static", "model": {"name": model}}} if "expansion" in command else {}
        requests.append({"execute": command, **expansion})
    requests.append({"execute": "quit"})
    argv = [binary or t.qemu_path, "-machine", "none", "-accel", accel, "-nodefaults", "-no-user-config"]
    result = t.run(*argv, "-display", "none", "-qmp", "stdio", input="\n".join(map(json.dumps, requests)), check=0)
    replies = [reply["return"] for reply in map(json.loads, result.stdout.splitlines()) if "return" in reply]
    return {"name": name, **dict(zip(COMMANDS, replies[1:]))}


def synthetic(name, on, off=(), vendor="GenuineIntel", **members):
    """A record of a host under KVM with these features, of which nothing else is known."""
    props = {**{one: True for one in on}, **{one: False for one in off}}
    props.update(vendor=vendor, family=6, model=85, stepping=7)
    props["model-id"] = "A CPU, of some kind"
    return {
        "name": name,
        **{command: None for command in COMMANDS},
        "query-kvm": {"enabled": True, "present": True},
        "query-cpu-model-expansion": {"model": {"name": "base", "props": props}},
        **members,
    }


def imported(desk, record):
    """The file of the profile that profile --from-qmp makes of a record."""
    source = desk.t.dir / "record.json"
    source.write_text(json.dumps(record))
    path = desk.t.dir / f"{record['name'].lower()}.imported"
    desk.host.run("profile", "--from-qmp", source, "-o", path, check=0)
    return path


def on_a_terminal(t, argv, env=None):
    """What a program prints on a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=its, stderr=its, env=t.environment(env)) as process:
        os.close(its)
        said = b""
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        check_equal(process.wait(30), 0, f"exit status of {argv}, which said {said!r}")
    os.close(ours)
    return said.decode()


@test()
def table_and_colours(t):
    """plain in a pipe, coloured on a terminal or with --color always; NO_COLOR and --color never are honoured"""
    desk = Desk(t)
    files = desk.files(desk.profile("a"), desk.profile("b", without=["smap", "clwb"]))
    plain = desk.run(*files, check=0)
    check(ESCAPE not in plain.stdout + plain.stderr, "there are escapes in a pipe")
    lines = plain.stdout.splitlines()
    check_in("SECURITY smap: ", lines[0], "the first line, which tells the worst")
    rows = [line.split() for line in lines if re.match(r"(FEATURE|smap|clwb) ", line)]
    check_equal(rows, [["FEATURE", "a", "b"], ["smap", "yes", "qemu"], ["clwb", "yes", "qemu"]], "rows of the table")
    check("smep " not in plain.stdout.split("features for all")[0], "a feature that all have is in the table")

    colored = desk.run("--color", "always", *files, check=0).stdout
    check_in("\033[31msmap", colored, "--color always")
    check_equal(re.sub(r"\033\[[0-9;]*m", "", colored), plain.stdout, "the coloured table without its colours")
    argv = desk.host.argv("baseline", *files)
    check_in("\033[31msmap", on_a_terminal(t, argv, {"NO_COLOR": None}), "on a terminal")
    check_in("\033[31msmap", on_a_terminal(t, argv, {"NO_COLOR": ""}), "on a terminal with an empty NO_COLOR")
    check(ESCAPE not in on_a_terminal(t, argv, {"NO_COLOR": "1"}), "NO_COLOR is not honoured")
    check(ESCAPE not in on_a_terminal(t, [*argv, "--color", "never"], {"NO_COLOR": None}), "never is not honoured")


@test()
def columns_fit(t):
    """the table of a few hosts fits 80 columns, also with long names, which then stand above it"""
    desk = Desk(t)
    for names in (["a"], ["a", "b", "c", "d", "e"], ["rack-7-machine-12.cluster.example", "b"], ["x" * 64, "y" * 64]):
        files = [desk.file(desk.profile(name, without=["smap"][: number % 2])) for number, name in enumerate(names)]
        said = desk.run(*files, check=0).stdout
        table = [line for line in said.splitlines() if not re.match(r"SECURITY |\S+: -cpu |\S+ alone costs |migration: ", line)]
        wide = [line for line in table if len(line) > 80]
        check_equal(wide, [], "lines over 80 columns")
        for name in names:
            check(any(name in line for line in table) or len(names) == 1, f"{name} is not in the table")
        if len(names) > 1:
            (row,) = [line.split() for line in table if line.startswith("smap ")]
            check_equal(row[1:], ["qemu" if number % 2 else "yes" for number in range(len(names))], "row of smap")


@test()
def document_has_its_keys(t):
    """--json prints one document with exactly the documented keys, lists sorted, and one -cpu for each host"""
    desk = Desk(t)
    document = desk.document(*desk.files(desk.profile("b"), desk.profile("a", without=["smap"])))
    check_equal(set(document), KEYS, "keys")
    check_equal(document["features"], sorted(set(document["features"])), "features")
    check_equal([set(one) for one in document["hosts"]], [{"name", "cpu"}] * 2, "keys of hosts")
    check_equal([one["name"] for one in document["hosts"]], ["b", "a"], "hosts, in the order of the arguments")
    check_equal(
        document["dropped"],
        [{"feature": "smap", "missing_on": [{"host": "a", "why": "qemu"}], "security": True}],
        "dropped",
    )
    check_equal(document["costs"], {"a": ["smap"], "b": []}, "costs")
    check_equal(document["form"], "named", "form")
    check_equal(document["warnings"], [], "warnings")
    check(re.fullmatch(r"pc-q35-\d+\.\d+", document["machine"]), f"machine {document['machine']}")
    for one in document["hosts"]:
        check_equal(one["cpu"].split(",")[0], document["model"], "the named form's model")
        check("smap=on" not in one["cpu"], "a lost feature is switched on")
    for form, first in (("base", "base"), ("host", "max")):
        other = desk.document("--cpu-form", form, *[t.dir / "a.profile", t.dir / "b.profile"])
        check_equal(other["features"], document["features"], f"features of the form {form}")
        check_equal({one["cpu"].split(",")[0] for one in other["hosts"]}, {first}, f"model of the form {form}")


@test()
def why_is_told(t):
    """why a feature is missing: cpu, kvm, policy and request, each with its host"""
    desk = Desk(t)
    plain = desk.profile("a", accel="kvm")
    has = plain["cpu"]["available"]
    check({"avx2", "clwb", "smap", "erms", "adx"} <= set(has), "TCG's max has changed")
    policy = desk.host.write_config("[host]\nname = c\n[policy]\ndeny = clwb\n")
    denied = json.loads(desk.host.run("profile", "--unsigned", "--accel", "tcg", "--machine", "q35", check=0).stdout)
    policy.unlink()
    check_equal(denied["cpu"]["denied"], ["clwb"], "what the policy of c denies")
    files = desk.files(
        {**plain, "cpu": {**plain["cpu"], "physical": has}},
        desk.profile("b", accel="kvm", without=["avx2", "adx"], physical=[one for one in has if one != "avx2"]),
        {**denied, "probe": plain["probe"], "cpu": {**denied["cpu"], "accel": "kvm", "physical": has}},
    )
    found = whys(desk.document("--deny", "erms", "--cpu", "max,smap=off", *files))
    expected = {
        "avx2": {"b": "cpu"},
        "adx": {"b": "kvm"},
        "clwb": {"c": "policy"},
        "erms": {"a": "request", "b": "request", "c": "request"},
        "smap": {"a": "request", "b": "request", "c": "request"},
    }
    check_equal({name: found.get(name) for name in expected}, expected, "why")


@test()
def why_is_qemu(t):
    """between QEMU 7.2 and 10.0 under TCG it is always QEMU, also where the other has no name for the feature"""
    desk = Desk(t)
    files = desk.files(desk.profile("old"), desk.profile("new", binary=t.second_qemu_path))
    document = desk.document(*files)
    found = whys(document)
    check(found, "two versions of QEMU have the same features")
    check_equal({why for lacks in found.values() for why in lacks.values()}, {"qemu"}, "reasons")
    old, new = (json.loads(path.read_text())["cpu"] for path in files)
    unnamed = set(new["available"]) - set(old["known"])
    for name in unnamed:
        check_equal(found.get(name), {"old": "qemu"}, f"who lacks {name}")
    (cpu,) = [one["cpu"] for one in document["hosts"] if one["name"] == "old"]
    named = {word.split("=")[0] for word in cpu.split(",")[1:]}
    check_equal(named & (set(new["known"]) - set(old["known"])), set(), "names that the older QEMU does not know")


@test()
def imported_profiles(t):
    """recorded replies are a profile that is marked and unsigned, and can be planned with beside others"""
    desk = Desk(t)
    common = ["sse2", "lm", "cx16", "avx", "xsave", "nx", "syscall"]
    a = imported(desk, synthetic("Host A", [*common, "avx2", "kvmclock"], ["amx-int8"]))
    b = imported(desk, synthetic("b", common, ["avx2", "kvmclock", "amx-int8"]))
    profile = json.loads(a.read_text())
    check_equal(profile["imported"], True, "mark of an imported profile")
    check("signature" not in profile, "an imported profile is signed")
    check_equal((profile["cpu"]["host"], profile["cpu"]["accel"]), ("host-a", "kvm"), "host and accelerator")
    document = desk.document("--cpu-form", "base", a, b)
    check_equal(document["features"], sorted(common), "features")
    check_equal(whys(document), {"avx2": {"b": "cpu"}, "kvmclock": {"b": "kvm"}}, "why")
    check_equal(document["machine"], "", "machine type of hosts that tell none")
    # Beside a profile that was made here; and the forms that need no definitions of models.
    real = desk.file(desk.profile("c", accel="kvm", physical=None))
    intel = desk.profile("d", accel="kvm")
    intel["cpu"]["identity"]["vendor"] = "GenuineIntel"
    document = desk.document(a, desk.file(intel))
    check("amx-int8" not in document["features"] and "sse2" in document["features"], "features beside a real profile")
    check(document["model"], "no model, though one profile tells the definitions")
    desk.refuses(10, ["vendors never mix", "host-a", "c"], a, real)
    lent = desk.document("--qemu", t.qemu_path, a, b)
    check(lent["model"], "no model, though --qemu tells the definitions")
    # Replies of a real QEMU.
    whole = imported(desk, recorded(t, "tcg"))
    document = desk.document("--cpu-form", "base", whole, desk.file(desk.profile("e")))
    check_equal(document["dropped"], [], "what is lost between a profile and the recorded replies of the same QEMU")
    check_in("pc-q35-", document["machine"], "machine type beside a profile for q35")
    check_in("pc-i440fx-", desk.document("--cpu-form", "base", whole)["machine"], "machine type of recorded replies")
    document = desk.document("--cpu-form", "base", "--machine", "q35", whole)
    check_in("pc-q35-", document["machine"], "machine type asked for")


@test(timeout=120)
def recorded_real_hosts(t):
    """the recorded replies of real CPUs: each alone, all of a vendor in two orders, never two vendors"""
    folder = Path(os.environ.get("QML_HOST_DATA") or TOP / "tests" / "data" / "hosts")
    records = sorted(folder.glob("*.json"))
    if not records:
        t.skip(f"no recorded replies in {folder}")
    desk = Desk(t)
    vendors = {}
    for number, path in enumerate(records):
        record = {**json.loads(path.read_text()), "name": f"host{number}"}
        props = record["query-cpu-model-expansion"]["model"]["props"]
        made = imported(desk, record)
        vendors.setdefault(props["vendor"], []).append((made, {name for name in props if props[name] is True}))
        alone = desk.document("--cpu-form", "base", made)
        lacking = {name for name, value in props.items() if value is True} - set(alone["features"]) - {"lmce"}
        check_equal(lacking - set(whys(alone)), set(), f"what {path.name} loses by itself and is not told")
    for vendor, hosts in vendors.items():
        files = [made for made, _ in hosts]
        first, second = desk.document("--cpu-form", "base", *files), desk.document("--cpu-form", "base", *files[::-1])
        check_equal(first["features"], second["features"], f"features of all of {vendor} in two orders")
        for path, has in hosts:
            check(set(first["features"]) <= has, f"{path} does not have {set(first['features']) - has}")
        lost = set.union(*(has for _, has in hosts)) - set(first["features"]) - {"lmce"}
        check_equal(set(whys(first)), lost, f"what is told as lost between all of {vendor}")
    if len(vendors) > 1:
        desk.refuses(10, ["vendors never mix"], "--cpu-form", "base", *(hosts[0][0] for hosts in vendors.values()))


@test()
def costs_of_each(t):
    """what one host alone costs the others: of three, what only it lacks"""
    desk = Desk(t)
    files = desk.files(
        desk.profile("a"),
        desk.profile("b", without=["clwb", "adx"]),
        desk.profile("c", without=["erms", "smap", "adx"]),
    )
    check_equal(desk.document(*files)["costs"], {"a": [], "b": ["clwb"], "c": ["smap", "erms"]}, "costs")
    said = desk.run(*files, check=0).stdout
    check_in("\nb alone costs 1: clwb\n", said, "text")
    check_in("\nc alone costs 2: smap erms\n", said, "text")
    check("\na alone costs" not in said, "a costs something")
    check_equal(desk.document(files[0])["costs"], {"a": []}, "costs of one host")


@test()
def required_features(t):
    """--require and a site's own require that cannot be had: 10, naming the feature and who lacks it, not who has it"""
    desk = Desk(t)
    strict = desk.profile("strict", required=["erms"])
    a, b, c = desk.files(strict, desk.profile("good"), desk.profile("bad", without=["smap", "erms"]))
    line = desk.refuses(10, ["smap", "--require", "bad (qemu)"], "--require", "smap", b, c)
    check("good" not in line, f"it names who has it: {line}")
    desk.refuses(10, ["erms", "site policy of strict", "bad (qemu)"], a, c)
    desk.refuses(10, ["adx", "--require", "request"], "--require", "adx", "--deny", "adx", b)
    desk.refuses(10, ["no-such-feature"], "--require", "no-such-feature", b)
    document = desk.document("--require", "smap,erms", a, b)
    check_in("smap", document["features"], "features with a requirement that holds")
    desk.refuses(64, ["--require"], "--require", "a,B c", b)


@test()
def requests(t):
    """--cpu is understood as QEMU's -cpu: +f and -f, off, numbers, aliases, models; repeated, the last one counts"""
    desk = Desk(t)
    a, b = desk.files(desk.profile("a"), desk.profile("b", without=["adx"]))
    for request, lost in (
        ("max,-smap", {"smap"}),
        ("max,smap=off", {"smap"}),
        ("host,sse4_1=off,-sse4_2", {"sse4.1", "sse4.2"}),
        ("max,+smap,-smap", {"smap"}),
        ("max,-smap,smap=on", {"smap"}),
        ("max,+smap,smap=off", set()),
        ("max,smap=off,smap=on", set()),
    ):
        document = desk.document("--cpu", request, a)
        check_equal(set(whys(document)), lost, f"what is lost with {request}")
        for name in lost:
            check_equal(whys(document)[name], {"a": "request"}, f"why, with {request}")
    document = desk.document("--deny", "xsave", a)
    check_equal(whys(document).get("avx2"), {"a": "request"}, "why avx2 goes with xsave")
    check_equal({"avx", "fma", "xsavec"} & set(document["features"]), set(), "what needs xsave and is left without")
    for request in ("max,+adx", "max,adx=on"):
        document = desk.document("--cpu", request, a, b)
        check("adx" not in document["features"], "what b lacks is there")
        (warning,) = document["warnings"]
        check("adx" in warning and "b (qemu)" in warning, f"the warning {warning!r}")
        desk.refuses(10, ["adx", "enforce", "b (qemu)"], "--cpu", f"{request},enforce", a, b)
    for request in ("max,tsc-freq=2G", "max,tsc-frequency=2000000000"):
        for one in desk.document("--cpu", request, a, b)["hosts"]:
            check_in(",tsc-frequency=2000000000,", one["cpu"], f"-cpu with {request}")
    for one in desk.document("--cpu", "max,phys-bits=36", a)["hosts"]:
        check_in(",phys-bits=36,", one["cpu"], "-cpu with phys-bits")
    document = desk.document("--cpu", "Westmere-v1", a, b)
    check_equal(document["model"], "Westmere-v1", "the model asked for")
    check("avx" not in document["features"] and "ssse3" in document["features"], "features of Westmere")
    document = desk.document("--cpu", "Westmere-v1", "--cpu", "max,smap=off", a)
    check_equal(set(whys(document)), {"smap"}, "what is lost when --cpu is repeated")
    check(document["model"] != "Westmere-v1", "the first --cpu counts, too")
    desk.refuses(10, ["NoSuchCPU", "a"], "--cpu", "NoSuchCPU", a)
    document = desk.document("--cpu", "486-v1,+avx", a, b)
    check_equal(whys(document).get("avx"), {"a": "request", "b": "request"}, "why avx is lost without xsave")
    refused = ["", ",", "a b", "base", "max,smap=maybe", "max,SMAP=x", "max,tsc-freq=fast", "max,level=4"]
    refused += ["max,x-force-features=on", "max,hv-passthrough", "max,host-cache-info=on"]
    for request in refused:
        desk.refuses(64, ["-cpu"], "--cpu", request, a)
    for words in (("--cpu-form", "best"), ("--machine", "a b"), ("--deny", "A"), ("--nonsense",)):
        desk.refuses(64, [words[0]], *words, a)


@test()
def order_does_not_matter(t):
    """the same profiles in any order: the same document byte for byte, but for the order of hosts"""
    desk = Desk(t)
    made = [desk.profile("a", tsc_khz=2000000)]
    made.append(desk.profile("b", without=["smap", "clwb"], phys_bits=39, tsc_khz=2500000))
    made.append(desk.profile("c", without=["adx"], denied=["erms"]))
    made.append(desk.profile("d", without=["clwb"]))
    made[2]["cpu"]["identity"].update(stepping=0)
    if os.environ.get("QML_SECOND_QEMU"):
        made.append(desk.profile("e", binary=t.second_qemu_path))
    files = desk.files(*made)
    for options in ([], ["--cpu-form", "host"], ["--cpu-form", "base", "--cpu", "max,+adx"], ["--cpu", "Westmere-v1"]):
        seen = set()
        for order in itertools.islice(itertools.permutations(files), 0, None, 5):
            document = desk.document(*options, *order)
            check_equal([one["name"] for one in document["hosts"]], [path.stem for path in order], "order of hosts")
            document["hosts"].sort(key=lambda one: one["name"])
            document["compat"]["known"].sort()
            for one in document["dropped"]:
                one["missing_on"].sort(key=lambda lack: lack["host"])
            document["warnings"] = [sorted(re.findall(r"[\w.-]+", line)) for line in document["warnings"]]
            seen.add(json.dumps(document))
        check_equal(len(seen), 1, f"different results with {options}")


@test()
def never_two_kinds(t):
    """Intel with AMD, or KVM with TCG: 10, naming both hosts"""
    desk = Desk(t)
    intel = desk.profile("intel")
    intel["cpu"]["identity"]["vendor"] = "GenuineIntel"
    amd = desk.profile("amd")
    amd["cpu"]["identity"]["vendor"] = "AuthenticAMD"
    files = desk.files(intel, amd, desk.profile("kvm", accel="kvm"))
    for order in (files[:2], files[1::-1]):
        desk.refuses(10, ["vendors never mix", "intel", "amd", "GenuineIntel", "AuthenticAMD"], *order)
    desk.refuses(10, ["kvm", "tcg", "amd"], files[1], files[2])


@test()
def bad_profiles(t):
    """a profile that is not as it should be: 65, with the file and one line"""
    desk = Desk(t)
    good = desk.profile("a")
    text = json.dumps(good)
    available = good["cpu"]["available"]
    model = next(iter(good["cpu"]["models"].values()))

    def with_feature(name, place="available"):
        return {**good, "cpu": {**good["cpu"], place: [*good["cpu"][place], name]}}

    def without(key):
        return {name: value for name, value in good.items() if name != key}

    bad = {
        "another version": {**good, "version": 4},
        "no version": without("version"),
        "a version that is text": {**good, "version": "1"},
        "a member too many": {**good, "more": 1},
        "a member less": without("machines"),
        "a comma in a feature": with_feature("avx,smap=on"),
        "an upper-case feature": with_feature("AVX"),
        "a feature of 65 characters": with_feature("a" * 65),
        "an empty feature": with_feature(""),
        "a feature twice": with_feature(available[0]),
        "a comma in a known feature": with_feature("avx,smap=on", "known"),
        "a feature that is a number": with_feature(1),
        "a host with an upper-case letter": {**good, "cpu": {**good["cpu"], "host": "A"}},
        "another accelerator": {**good, "cpu": {**good["cpu"], "accel": "xen"}},
        "two accelerators": {**good, "cpu": {**good["cpu"], "accel": "kvm"}},
        "65 address bits": {**good, "cpu": {**good["cpu"], "phys_bits": 65}},
        "a negative serial": {**good, "serial": -1},
        "a vendor with a comma": {
            **good, "cpu": {**good["cpu"], "identity": {**good["cpu"]["identity"], "vendor": "Genuine,tel=1"[:12]}}
        },
        "a model with a comma": {**good, "cpu": {**good["cpu"], "models": {"a,b": model}}},
        "a machine type with a comma": {
            **good, "machines": [{"name": "q35,x=y", "alias": "", "deprecated": False, "default": False}]
        },
        "a key twice": text.replace('"version": 3', '"version": 3, "version": 3', 1),
        "2^63": text.replace('"serial": 0', '"serial": 9223372036854775808', 1),
        "a fraction": text.replace('"serial": 0', '"serial": 0.5', 1),
        "cut off": text[:-20],
        "nothing": "",
        "more behind it": f"{text} 1",
        "an array": f"[{text}]",
        "not ASCII": text.replace("tcg", "t\u00e7g", 1),
        "nested too deeply": '{"version":' + "[" * 100000,
        "too large": text + " " * (1 << 20),
    }
    for what, made in bad.items():
        check(made != text, f"{what}: nothing was replaced")
        path = desk.file(made, "bad")
        result = desk.run(path)
        check_equal(result.returncode, 65, f"status for {what}, which said {result.stderr[:300]!r}")
        check_equal(len(result.stderr.strip().splitlines()), 1, f"lines for {what}")
        check_in("bad.profile", result.stderr, f"what is said of {what}")
        check_equal(result.stdout, "", f"standard output for {what}")


@test()
def signed_profiles(t):
    """a signed profile counts when its signature is right, whoever made it; changed, it does not: 65"""
    desk = Desk(t)
    maker = t.host("maker")
    maker.write_config("[host]\nname = maker\n")
    maker.identity_pin()
    path = t.dir / "maker.profile"
    maker.run("profile", "--accel", "tcg", "--machine", "q35", "-o", path, check=0)
    other = desk.file(desk.profile("other", without=["smap"]))
    check_equal(whys(desk.document(path, other)), {"smap": {"other": "qemu"}}, "signed beside unsigned")
    check_in("not trusted", desk.run("-v", path, check=0).stderr, "what is said of an unknown signer")
    desk.host.trust(maker)
    check("not trusted" not in desk.run("-v", path, check=0).stderr, "the trusted signer is doubted")
    envelope = json.loads(path.read_text())
    for what, changed in (
        ("payload", {**envelope, "payload": envelope["payload"][:-8] + "AAAAAAAA"}),
        ("signature", {**envelope, "signature": "A" * len(envelope["signature"])}),
        ("cut signature", {**envelope, "signature": envelope["signature"][:-4]}),
        ("header", {**envelope, "protected": envelope["protected"][:-4] + "AAAA"}),
        ("member", {**envelope, "more": ""}),
    ):
        result = desk.run(desk.file(changed, "bad"))
        check_equal(result.returncode, 65, f"status for a changed {what}, which said {result.stderr!r}")


def sign(t, host, path, **changes):
    """Changes the payload of a host's signed statement, and signs it again with its key."""
    envelope = json.loads(path.read_text())
    payload = json.loads(base64.urlsafe_b64decode(envelope["payload"] + "=" * (-len(envelope["payload"]) % 4)))
    text = json.dumps({**payload, **changes}, sort_keys=True, separators=(",", ":"))
    envelope["payload"] = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    (t.dir / "signed").write_text(f"{envelope['protected']}.{envelope['payload']}")
    key = host.home / "config" / "identity.key"
    argv = ("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", t.dir / "signed", "-out", t.dir / "signature")
    t.run(*argv, check=0)
    signature = (t.dir / "signature").read_bytes()
    path.write_text(json.dumps({**envelope, "signature": base64.urlsafe_b64encode(signature).decode().rstrip("=")}))


@test()
def imported_from_a_peer(t):
    """a trusted peer that sends and signs an imported profile: 77, no agreement; the same profile is good for planning"""
    bad_peer = os.environ.get("QML_BAD_PEER") or str(t.program.parent / "bad-peer")
    if not os.access(bad_peer, os.X_OK):
        t.skip("QML_BAD_PEER does not name the program of tests/bad_peer.c")
    pair = Pair(t)
    path = t.dir / "b.profile"
    pair.b.run("profile", "--accel", "tcg", "--machine", "q35", "-o", path, check=0)
    sign(t, pair.b, path, imported=True)
    # The deviation is to send the statement in a file instead of this host's profile.
    t.start(bad_peer, pair.b.home, "listen", pair.port, "old-profile", t.qemu_path, path)
    connector = pair.connect("--timeout", "10")
    connector.expect_status(77)
    (line,) = said(connector)
    check_in("planning only", line, "the refusal")
    check_equal(list((pair.a.home / "state").glob("agreements/*.json")), [], "agreements of a")
    check_equal(Desk(t).document(path)["dropped"], [], "what the baseline of it alone loses")


@test()
def other_refusals(t):
    """another feature table 76, a host twice 65, no such file 78, no profile 64; one profile alone is fine"""
    desk = Desk(t)
    good = desk.profile("a")
    a = desk.file(good)
    desk.refuses(76, ["newer.profile", "feature table"], a, desk.file({**good, "table": good["table"] + 1}, "newer"))
    desk.refuses(65, ["a.profile", "again.profile", "host a"], a, desk.file(good, "again"))
    desk.refuses(78, ["none.profile"], a, t.dir / "none.profile")
    desk.refuses(64, ["profile"])
    document = desk.document(a)
    check_equal((document["dropped"], document["warnings"]), ([], []), "what one host loses")
    check_equal(document["features"], sorted(good["cpu"]["available"]), "features of one host")
    old = desk.run(desk.file({**good, "issued": 1000, "expires": 2000}, "old"), check=0)
    check_in("old.profile", old.stderr, "the warning of an expired profile")


@test(timeout=900, full=True)
def tables_are_reproduced(t):
    """contrib/feature-table makes the committed tables of QEMU 7.2 and 10.0, byte for byte"""
    binaries = [t.qemu_path, t.second_qemu_path]
    for binary, version in zip(binaries, ("7.2.", "10.0.")):
        said = t.run(binary, "-version", check=0).stdout
        if f"version {version}" not in said:
            t.skip(f"the tables are made of {version}x, not of {said.splitlines()[0]}")
    for options, name in (([], "feature_table.def"), (["--models"], "model_table.def")):
        made = t.run(TOP / "contrib" / "feature-table", *options, *binaries, timeout=440, check=0).stdout
        check(made == (TOP / "src" / "cpu" / name).read_text(), f"{name} comes out differently")
