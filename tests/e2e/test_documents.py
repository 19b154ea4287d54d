# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read and type: the manual pages, --help, and the completion of bash and zsh, all of one synopsis."""
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

from lib.documents import row_of
from lib.harness import check, check_equal, check_in, test, wait_until
from lib.schema import table

TOP = Path(__file__).resolve().parents[2]
SYNOPSIS = TOP / "src/cli/synopsis.def"
COMMANDS = re.findall(r"^COMMAND\((\w+)", SYNOPSIS.read_text(), re.M)


def made_of_synopsis(t, kind, path, name):
    """A file of the source tree with what man/synopsis puts into it."""
    made = t.dir / name
    made.write_text(t.run(TOP / "man/synopsis", kind, path, check=0).stdout)
    return made


def need(t, *tools):
    for tool in tools:
        if not shutil.which(tool):
            t.skip(f"no {tool}")


@test(timeout=120)
def manual_pages(t):
    """every page renders without a warning, at 80 columns and at 60; each command has one, and is named in the overview"""
    need(t, "man", "groff", "pod2man", "podchecker")
    pages = sorted((TOP / "man").glob("*.pod"))
    overview = (TOP / "man/qemu-migrate-launch.1.pod").read_text()
    for command in COMMANDS:
        check(TOP / f"man/qemu-migrate-launch-{command}.1.pod" in pages, f"no page of {command}")
        check_in(f"=item L<qemu-migrate-launch-{command}(1)>", overview, "commands in the overview")
    for page in pages:
        pod = made_of_synopsis(t, "pod", page, page.name)
        checked = t.run("podchecker", "-warnings", "-warnings", pod)
        check_equal((checked.returncode, "WARNING" in checked.stderr), (0, False), checked.stderr)
        name, section = page.name.removesuffix(".pod").rsplit(".", 1)
        roff = t.dir / f"{name}.{section}"
        t.run("pod2man", "--utf8", f"--section={section}", f"--name={name.upper()}", pod, roff, check=0)
        for width in "80", "60":
            env = {**os.environ, "MANWIDTH": width, "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
            shown = t.run("man", "-l", "--warnings", roff, env=env, check=0)
            # groff cannot break a path that is longer than a line of 60 columns; since 1.23 it says so in other words
            unbroken = re.compile("can't break line|cannot (break|adjust) line")
            warnings = [line for line in shown.stderr.splitlines() if width == "80" or not unbroken.search(line)]
            check_equal(warnings, [], f"{page.name}, {width} columns")
            check(len(shown.stdout) > 500, f"{page.name}: {shown.stdout}")
            check("=for" not in shown.stdout and "B<" not in shown.stdout, f"{page.name}: marks are left")


@test()
def help_in_eighty_columns(t):
    """--help of all and of each command: its own usages, no line over 80 columns, where its page is"""
    for words in [[], *([command] for command in COMMANDS)]:
        shown = t.run(t.program, *words, "--help", check=0)
        long = [line for line in shown.stdout.splitlines() if len(line) > 80 and "Start QEMU" not in line]
        check_equal(long, [], "lines over 80 columns")
        told = set(re.findall(r"^  qemu-migrate-launch \[?([a-z]+)", shown.stdout, re.M))
        check_equal(told, set(words or COMMANDS), f"usages in --help of {words}")
        check_in(f"See qemu-migrate-launch{'-' if words else ''}{''.join(words)}(1).", shown.stdout, "the page")


def hosts(t):
    """A home that trusts two hosts; names are asked of the program, which finds it by the environment."""
    home = t.host("a")
    for letter in "bc":
        home.run("trust", "add", f"host-{letter}", t.host(letter).identity_pin(), check=0)
    (t.dir / "bin").mkdir()
    (t.dir / "bin/qemu-migrate-launch").symlink_to(t.program)
    path = f"{t.dir}/bin:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "QEMU_MIGRATE_LAUNCH_HOME": str(home.home), "LC_ALL": "C.UTF-8"}


# (what was typed, what is offered: all of these, and nothing of those)
CASES = (
    (["mig"], ["migrate"], ["launch"]),
    (["doc"], ["doctor"], []),
    (["migrate", "--mu"], ["--multifd"], ["--postcopy"]),
    (["migrate", "web1", "--resume-on", ""], ["source", "destination"], ["--to", "none"]),
    (["--vm", "web1", "--cpu-form", "b"], ["base"], ["host"]),
    (["agreement", "s"], ["show"], ["check"]),
    (["migrate", "--to", "host"], ["host-b", "host-c"], ["--to"]),
    (["-q", "prof"], ["profile"], []),
    (["verify", "--js"], ["--json"], ["--multifd"]),
)


@test()
def completion_of_bash(t):
    """commands, options, words that an option takes, names of peers"""
    table = made_of_synopsis(t, "table", TOP / "contrib/completion/qemu-migrate-launch.in", "completion")
    env = hosts(t)
    script = t.dir / "complete"
    script.write_text(
        f'source {table}\ncompopt() {{ :; }}\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n'
        '_qemu_migrate_launch "$1"\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    for words, offered, not_offered in CASES:
        shown = t.run("bash", script, "qemu-migrate-launch", *words, env=env, check=0).stdout.split()
        for word in offered:
            check_in(word, shown, f"offered behind {words}")
        check(not set(not_offered) & set(shown), f"behind {words}: {shown}")


@test(timeout=90)
def completion_of_zsh(t):
    """the same in a real zsh at a terminal"""
    need(t, "zsh")
    made_of_synopsis(t, "table", TOP / "contrib/completion/_qemu-migrate-launch.in", "_qemu-migrate-launch")
    env = hosts(t)
    env["TERM"] = "dumb"
    for number, (words, offered, not_offered) in enumerate(CASES):
        listed = t.dir / f"listed-{number}"
        # Whatever compadd is given that fits the word is written down, and nothing is shown.
        (t.dir / ".zshrc").write_text(
            f"PS1=ready; fpath=({t.dir} $fpath); autoload -Uz compinit; compinit -D -u\n"
            f"compadd() {{ local -a hits; builtin compadd -O hits \"$@\"; print -l -- $hits >>{listed}; builtin compadd \"$@\" }}\n"
            f"done_() {{ print end >>{listed} }}; zle -N done_; bindkey '^T' done_; bindkey '^I' complete-word\n"
        )
        main, side = pty.openpty()
        with subprocess.Popen(
            ["zsh", "-i"], stdin=side, stdout=side, stderr=side, env={**env, "ZDOTDIR": str(t.dir)}, start_new_session=True
        ) as shell:
            os.close(side)
            os.set_blocking(main, False)
            seen = bytearray()

            def read():
                try:
                    seen.extend(os.read(main, 65536))
                except BlockingIOError:
                    pass
                return bytes(seen)

            try:
                wait_until(lambda: b"ready" in read(), 20, f"prompt of zsh: {bytes(seen)}")
                os.write(main, " ".join(["qemu-migrate-launch", *words]).encode() + b"\t\x14")
                wait_until(
                    lambda: (read(), listed.exists() and listed.read_text().endswith("end\n"))[1], 20, "completion by zsh"
                )
            finally:
                shell.kill()
                os.close(main)
        shown = listed.read_text().split()
        for word in offered:
            check_in(word, shown, f"offered behind {words}: {shown}")
        check(not set(not_offered) & set(shown), f"behind {words}: {shown}")


def usages():
    """{(command, word, ...): the whole usage} of src/cli/synopsis.def, each with the words that it begins with."""
    found = {}
    for command, quoted in re.findall(r"^COMMAND\((\w+),\s*((?:\"[^\n]*\"\s*)+)\)", SYNOPSIS.read_text(), re.M):
        for line in "".join(re.findall(r'"([^"]*)"', quoted)).split("\\n"):
            words = line.split()
            choice = re.fullmatch(r"\[([a-z|]+)\]", words[1]) if len(words) > 1 else None
            if words[0].strip("[]") == command and choice:
                found.update({(command, word): line for word in choice.group(1).split("|")})
            elif len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
                found[command, words[1]] = line
            else:
                found[(command,)] = f"{found.get((command,), '')} {line}"
    return found


@test()
def every_json_has_a_schema(t):
    """each usage of a command has a row in FORMATS that says what it prints with --json; each row is about one that there is"""
    known = usages()
    check_equal({words[0] for words in known}, set(COMMANDS), "commands of the usages")
    for words in known:
        _, named = row_of(list(words))
        check_equal(tuple(named.split())[:2], words, f"the row for {' '.join(words)}")
    for row in table("command"):
        for named in row.words:
            words = named.split()
            line = known.get(tuple(words[:2]), known.get((words[0],), ""))
            check(line or len(words) == 1, f"FORMATS has {named}, which is no command")
            for option in [word for word in words if word.startswith("-")]:
                check_in(option, re.split(r"[\s\[\]|]+", line), f"options of {named}")
