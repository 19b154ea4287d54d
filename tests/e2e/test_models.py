# SPDX-License-Identifier: GPL-3.0-or-later
"""Every named CPU model of both QEMUs, in every form: the real QEMU takes what baseline renders without a word, and its
vCPU is what was promised.

Each model is tried in one form in the test with both QEMUs and, half of them each, in that of one; with QML_FULL=1 each in all
forms in all three."""
import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from lib.harness import MACHINE, QMP, Failure, check, check_equal, test

FORMS = ("named", "base", "host")
BENIGN = {"ht", "cmp-legacy"}  # contrib/feature-rules: QEMU 10.0 reports them with -smp, 7.2 does not
NUMBERS = ("vendor", "family", "model", "stepping", "model-id", "level", "xlevel", "phys-bits")
VCPU = "/machine/unattached/device[0]"
SHOWN = 12  # deviations that a failure shows


class Side:
    """A host with one of the QEMUs, and its profile."""

    def __init__(self, t, name, binary):
        self.t, self.name, self.binary = t, name, binary
        self.host = t.host(name)
        self.host.write_config(f"[host]\nname = {name}\n")
        self.profile = t.dir / f"{name}.profile"
        self.host.run(
            *("profile", "--unsigned", "--accel", "tcg", "--machine", MACHINE, "--qemu", binary, "-o", self.profile),
            check=0,
        )
        self.cpu = json.loads(self.profile.read_text())["cpu"]
        self.known = self.cpu["known"]
        self.numbers = count()

    def forget(self, process):
        """A process that did well: else a failure would show the logs of hundreds."""
        self.t.processes.remove(process)
        process.out.unlink()
        process.err.unlink()

    def start(self, value, *extra):
        """(properties of the vCPU that QEMU makes of this -cpu value, what it said on stderr)."""
        name = f"{self.name}-{next(self.numbers)}"
        socket = self.t.dir / f"{name}.qmp"
        process = self.t.start(
            *(self.binary, "-S", "-nodefaults", "-no-user-config", "-display", "none", "-machine", MACHINE),
            *("-accel", "tcg", "-m", "16", "-cpu", value, "-qmp", f"unix:{socket},server=on,wait=off", *extra),
            name=name,
        )
        try:
            with QMP(socket, timeout=30, alive=process.alive) as qmp:
                names = [*self.known, *NUMBERS]
                replies = qmp.pipeline([("qom-get", {"path": VCPU, "property": each}) for each in names])
                qmp.command("quit")
            check_equal(process.wait(30), 0, "exit status")
        except Exception as reason:
            raise Failure(f"QEMU of {self.name} with -cpu {value}: {reason}: {process.stderr().strip()}") from None
        said = process.stderr().strip()
        self.forget(process)
        return {name: reply.get("return") for name, reply in zip(names, replies)}, said


def written(value):
    """{property: text} of a -cpu value."""
    return dict(word.split("=", 1) for word in value.split(",")[1:])


def promised_numbers(base, identity):
    """What the vCPU's numbers must be: as the base form, which fixes all of them, writes them, and as the model's."""
    words = written(base)
    numbers = {
        name: words[name] if name in ("vendor", "model-id") else int(words[name]) for name in NUMBERS if name in words
    }
    for name in ("vendor", "family", "model", "stepping"):
        check_equal(numbers[name], identity[name], f"{name} in the base form")
    check_equal(numbers["model-id"], identity["model_id"].replace(",", ";"), "model-id in the base form")
    return numbers


def baseline(sides, model, form):
    """The document of `baseline --json` for this request."""
    profiles = [side.profile for side in sides]
    options = ("--json", "--cpu", model, "--cpu-form", form)
    process = sides[0].host.start("baseline", *options, *profiles, name=f"baseline-{next(sides[0].numbers)}")
    process.expect_status(0)
    text = process.stdout()
    sides[0].forget(process)
    return json.loads(text)


def identity_of(models, name):
    """A model's identity, which may stand with one that it is like."""
    while "identity" not in models[name]:
        name = models[name]["like"]
    return models[name]["identity"]


def check_model(sides, model, forms):
    """Checks one model in these forms on all sides; returns what deviates, a line each."""
    deviations = []
    documents = {form: baseline(sides, model, form) for form in sorted({"base", *forms})}
    features = documents["base"]["features"]
    for form in documents:
        check_equal(documents[form]["features"], features, f"features of {model} in the form {form}")
        check_equal(documents[form]["model"], model, "model")
    vcpus = []
    for position, side in enumerate(sides):
        identity = identity_of(side.cpu["models"], model)
        numbers = promised_numbers(documents["base"]["hosts"][position]["cpu"], identity)
        for form in forms:
            value = documents[form]["hosts"][position]["cpu"]
            vcpu, said = side.start(value)
            where = f"{model}, form {form}, QEMU of {side.name}"
            deviations += [f"{where}: it says {said}"] if said else []
            vcpus.append((where, vcpu))
            for name in set(side.known) - BENIGN:
                if vcpu[name] != (name in features):
                    deviations.append(f"{where}: {name} is {vcpu[name]}")
            deviations += [
                f"{where}: {name} is {vcpu[name]!r}, promised {promised!r}"
                for name, promised in numbers.items()
                if vcpu[name] != promised
            ]
    # What QEMU calls the physical address bits of a CPU with pae and neither pse36 nor lm, 32 in 7.2 and 36 in 10.0, no
    # option can change (target/i386/cpu.c, x86_cpu_realizefn).
    fixed = {"phys-bits"} if "pae" in features and not {"pse36", "lm"} & set(features) else set()
    first_where, first = vcpus[0]
    for where, vcpu in vcpus[1:]:
        deviations += [
            f"{where}: {name} is {vcpu[name]!r}, and {first[name]!r} with {first_where}"
            for name in sorted(set(vcpu) & set(first) - BENIGN - fixed)
            if vcpu[name] != first[name]
        ]
    return deviations


def check_all(sides, turn):
    """Checks every model that all sides know; Failure with the first deviations. turn: of the forms."""

    def check_one(model):
        first = FORMS[(sum(model.encode()) + turn) % len(FORMS)]
        return check_model(sides, model, FORMS if os.environ.get("QML_FULL") else [first])

    models = sorted(set.intersection(*(set(side.cpu["models"]) for side in sides)))
    check(len(models) > 70, f"only {len(models)} models")
    if len(sides) == 1 and not os.environ.get("QML_FULL"):  # each is tried on both, too
        models = models[turn::2]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(check_one, models))
    deviations = [line for lines in found for line in lines]
    if deviations:
        raise Failure(f"{len(deviations)} deviations: " + "; ".join(deviations[:SHOWN]))


@test(timeout=400)
def models_of_this_qemu(t):
    """every model of this machine's QEMU: no warning, and the vCPU is what was promised"""
    check_all([Side(t, "a", t.qemu_path)], 0)


@test(timeout=400)
def models_of_the_second_qemu(t):
    """every model of the second QEMU: no warning, and the vCPU is what was promised"""
    check_all([Side(t, "b", t.second_qemu_path)], 1)


@test(timeout=400)
def models_of_both_qemus(t):
    """every model that both QEMUs know, for hosts of both: the vCPUs are equal and what was promised"""
    check_all([Side(t, "a", t.qemu_path), Side(t, "b", t.second_qemu_path)], 2)


@test()
def smp_raises_no_false_alarm(t):
    """with -smp 2 QEMU 10.0 reports ht and 7.2 does not: not a difference, nor a word about it in the baseline"""
    sides = [Side(t, "a", t.qemu_path), Side(t, "b", t.second_qemu_path)]
    for model in ("Haswell-v4", "EPYC-v2", "host"):
        document = baseline(sides, model, "named")
        told = {loss["feature"] for loss in document["dropped"]} | set(document["warnings"])
        check_equal({name for name in BENIGN if any(name in text.split() for text in told)}, set(), "told about")
        vcpus = []
        for side, host in zip(sides, document["hosts"]):
            vcpu, said = side.start(host["cpu"], "-smp", "2")
            check_equal(said, "", f"what the QEMU of {side.name} says about {model}")
            vcpus.append(vcpu)
        different = {name for name in set(vcpus[0]) & set(vcpus[1]) if vcpus[0][name] != vcpus[1][name]}
        check(different <= BENIGN, f"{model} with -smp 2 differs in {sorted(different)}")
