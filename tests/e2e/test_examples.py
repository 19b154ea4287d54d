# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of every manual page, as they are printed: who reads them can type them.

In EXAMPLES a line behind "HOST$ " or "$ " is a command, with what follows a backslash; lines under it are what it says, of
which some may be left out. In what it says "..." stands for anything, and what differs between hosts and days counts as
alike (VARIES). PIN-OF-HOST is the pin of HOST.
"""
import re
from dataclasses import dataclass, field
from pathlib import Path

from lib.harness import REGISTERED, check, check_equal, check_in, test
from lib.stage import Stage, run_lasting

MAN = Path(__file__).resolve().parents[2] / "man"
PROMPT = re.compile(r"^    (?:(\w+)\$|\$) (.+)$")
LASTING = re.compile(r"^qemu-migrate-launch (serve|(?!migrate).* --( |$))", re.S)
VARIES = (
    (r"sha256//[A-Za-z0-9+/]{43}=", "PIN"),
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
    (r"\bpid \d+", "pid N"),
    (r"\bpc-q35-[0-9.]+", "pc-q35"),
    (r"\b(kvm|tcg)\b", "ACCEL"),
    (r"\b[A-Za-z][\w-]*-v\d+\b", "MODEL"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
)
GUEST = ("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "256", "-display", "none")


@dataclass
class Example:
    """A command, on which host, and what it says."""

    host: str
    text: str
    said: list = field(default_factory=list)


def examples(page):
    """The commands of a page's EXAMPLES, in order."""
    text = (MAN / f"{page}.pod").read_text()
    part = re.search(r"^=head1 EXAMPLES\n(.*?)(?=^=head1|\Z)", text, re.M | re.S)
    found = []
    for line in part[1].splitlines() if part else []:
        prompt = PROMPT.match(line)
        if prompt:
            found.append(Example(prompt[1] or "", prompt[2]))
        elif line.startswith("    ") and found and found[-1].text.endswith("\\"):
            found[-1].text += f"\n{line}"
        elif line.startswith("    ") and found:
            found[-1].said.append(line[4:])
    return found


# What is not run once more: by which test it is.
BY_OTHERS = {
    "qemu-migrate-launch trust pair dst": "trust_pair",
    "qemu-migrate-launch trust pair admin@dst --sudo --as dst-system": "trust_pair",
    "qemu-migrate-launch verify web2": "verify.differs_own",
    **{one.text: "examples.from_the_beginning" for one in examples("qemu-migrate-launch.1") if "--vm" in one.text},
}
STATUS = {
    "qemu-migrate-launch baseline --agreement web1 b.profile c.profile": 10,
    "qemu-migrate-launch doctor": 78,
    "qemu-migrate-launch migrate web1 --resume-on source": 14,
}


def alike(text):
    """A text without what varies, and with blanks of one kind."""
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return " ".join(text.split())


def check_said(example, text):
    """Each printed line is said, in this order."""
    rest = [alike(line) for line in text.splitlines()]
    for line in example.said:
        pattern = re.compile(".*".join(re.escape(part) for part in alike(line).split("...")))
        while rest and not pattern.fullmatch(rest[0]):
            rest.pop(0)
        check(rest, f"`{example.text}` does not say {line!r}: {text}")
        rest.pop(0)


def play(stage, example, number):
    """Runs one, as it is printed."""
    host = stage[example.host] if example.host else next(iter(stage.hosts.values()))
    text = re.sub(r"\bPIN-OF-([A-Z]+)\b", lambda name: stage[name[1].lower()].pin(), example.text)
    if LASTING.match(text):
        run_lasting(host, text, f"example-{number}")
        return
    stage.settle_all()
    done = host.run("bash", "-c", text, check=None, timeout=90)
    check_equal(done.returncode, STATUS.get(text, 0), f"status of `{text}`: {done.stdout} {done.stderr[-800:]}")
    check_said(example, done.stdout + done.stderr)


# What is so before a page's examples begin. A command without a host's name is for the first of the scene.


def nothing(stage):
    """As the page before has left it."""


def agents_of_b_and_c(stage):
    stage.trust()
    for name in "bc":
        stage[name].serve()


def agent_of_a(stage):
    stage["a"].serve()


def moving(stage):
    """web1 on src, dst waits for it; an agent on dst."""
    stage.trust()
    stage["dst"].serve()
    stage["src"].program("trust", "remove", "dst")
    stage["src"].program("trust", "add", "dst", stage["dst"].pin(), "--address", "dst:49152")
    stage["dst"].become("--vm", "web1", "--listen", "dst:49152", "--incoming", "--", *GUEST)
    stage["src"].become("--vm", "web1", "--peer", "dst", "--", *GUEST)
    stage.settle_all()


def lives_on_a(stage):
    """web1 on a, agreed with b's profile; c denies what it has."""
    stage.trust()
    for name, policy in zip("abc", ("", "", "[policy]\ndeny = smap\n")):
        stage[name].write("/etc/qemu-migrate-launch/config.ini", f"[host]\nname = {name}\n{policy}")
        stage[name].program("profile", "--accel", "tcg", "--machine", "q35", "-o", f"{name}.profile")
    for old, new in (("a", "src"), ("b", "dst")):
        (stage.folder / f"{new}.profile").write_bytes((stage.folder / f"{old}.profile").read_bytes())
    stage["a"].become("--vm", "web1", "--peer-profile", "b.profile", "--", *GUEST, "-smp", "4")


def trusting(stage):
    stage.trust()


def trouble(stage):
    """A trust entry that expires soon, a key that all can read."""
    src = stage["src"]
    src.program("trust", "remove", "dst")
    soon = stage.t.run("date", "-u", "-d", "+5 days", "+%F", check=0).stdout.strip()
    src.program("trust", "add", "dst", stage["dst"].pin(), "--address", "dst", "--expires", soon)
    src.run("chmod", "644", "/etc/qemu-migrate-launch/identity.key")


def plain_qemu(stage):
    src = stage["src"]
    src.run("chmod", "600", "/etc/qemu-migrate-launch/identity.key")
    src.start(*GUEST, "-cpu", "qemu64", "-qmp", "unix:/run/web1.qmp,server=on,wait=off", name="plain")
    src.run("bash", "-c", "for i in {1..200}; do [[ -S /run/web1.qmp ]] && exit; sleep 0.1; done; exit 1", timeout=40)


# (hosts, the pages that are played on them one after the other, each with what is done before)
SCENES = {
    "from_the_beginning": (("src", "dst"), {"qemu-migrate-launch.1": nothing}),
    "without_a_launch": (
        ("src", "dst"),
        {
            "qemu-migrate-launch-identity.1": nothing,
            "qemu-migrate-launch-trust.1": nothing,
            "qemu-migrate-launch-profile.1": trusting,
            "qemu-migrate-launch-config.5": nothing,
            "qemu-migrate-launch-doctor.1": trouble,
            "qemu-migrate-launch-adopt.1": plain_qemu,
            "qemu-migrate-launch-serve.1": nothing,
        },
    ),
    "with_agents": (
        ("a", "b", "c"),
        {"qemu-migrate-launch-launch.1": agents_of_b_and_c, "qemu-migrate-launch-receive.1": agent_of_a},
    ),
    "where_it_waits": (("src", "dst", "c"), {"qemu-migrate-launch-migrate.1": moving}),
    "about_a_guest": (
        ("a", "b", "c"),
        {
            "qemu-migrate-launch-agreement.1": lives_on_a,
            "qemu-migrate-launch-verify.1": nothing,
            "qemu-migrate-launch-formats.5": nothing,
            "qemu-migrate-launch-baseline.1": nothing,
        },
    ),
}


def register(name):
    """The test of one scene."""

    def function(t):
        hosts, pages = SCENES[name]
        stage = Stage(t, *hosts)
        for page, given in pages.items():
            given(stage)
            mine = [one for one in examples(page) if BY_OTHERS.get(one.text, "") in ("", f"examples.{name}")]
            check(mine, f"{page}: no example is run")
            for number, example in enumerate(mine):
                play(stage, example, number)

    function.__name__ = f"test_{name}"
    function.__module__ = __name__
    function.__doc__ = f"the examples of {', '.join(SCENES[name][1])}, as they are printed"
    test(timeout=200)(function)


for chosen in SCENES:
    register(chosen)


@test()
def every_page_has_some(t):
    """each manual page has examples, and a scene for them here; each that is run elsewhere is"""
    pages = sorted(path.stem for path in MAN.glob("*.pod"))
    played = sorted(page for _, among in SCENES.values() for page in among)
    check_equal(pages, played, "pages")
    told = {page: [one.text for one in examples(page)] for page in pages}
    check_equal([page for page in pages if not told[page]], [], "pages without examples")
    everything = [text for texts in told.values() for text in texts]
    for text, name in BY_OTHERS.items():
        check_in(text, everything, "commands of the pages")
        check(any(one.startswith(name) for one in REGISTERED), f"no test {name}")
    for text in STATUS:
        check_in(text, everything, "commands of the pages")
