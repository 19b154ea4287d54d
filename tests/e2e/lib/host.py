# SPDX-License-Identifier: GPL-3.0-or-later
"""The program under test, as installed on one of several hosts that share this machine."""
import os
import subprocess

from .wait import check_equal


class Host:
    """One host: a folder of its own for configuration, state and runtime files (`home`). Made by Test.host.

        a, b = t.host("a"), t.host("b")
        a.trust(b, address=f"127.0.0.1:{port}")
        b.trust(a)
        listener = b.start("--vm", "web1", "--listen", f"127.0.0.1:{port}", "--", t.qemu_path, ...)
        a.run("profile", "--json", check=0)

    The home is passed as --home, before the first `--`.
    """

    def __init__(self, test, name):
        self.test = test
        self.name = name
        self.home = test.dir / name
        self.home.mkdir()
        self.env = {}  # added to the environment of every run and start

    def argv(self, *args):
        """The full command line for these arguments, with --home before the first `--`."""
        words = [str(word) for word in args]
        end = words.index("--") if "--" in words else len(words)
        return [str(self.test.program), *words[:end], "--home", str(self.home), *words[end:]]

    def run(self, *args, timeout=30, env=None, input=None, check=None, cwd=None):
        """Runs the program to its end and returns a CompletedProcess with text `stdout` and `stderr`.

        check: the exit status that it must have, else Failure with what it said. `env` is added to the environment.
        """
        return self.test.run(
            *self.argv(*args), timeout=timeout, env={**self.env, **(env or {})}, input=input, check=check, cwd=cwd
        )

    def start(self, *args, env=None, name=None, stdin=subprocess.DEVNULL, **options):
        """Starts the program and returns a Process."""
        return self.test.start(
            *self.argv(*args),
            name=name or f"{self.name}-{args[0] if args else 'program'}".replace("/", "_"),
            env={**self.env, **(env or {})},
            stdin=stdin,
            **options,
        )

    def prepare(self, *args):
        """Runs a command that only prepares what the test is about: with the program without sanitizers, if there is
        one, which starts in a third of the time; not where something else starts it. It must end with status 0."""
        argv = self.argv(*args)
        if argv[0] == str(self.test.program):
            argv[0] = os.environ.get("QML_PLAIN_PROGRAM") or argv[0]
        return self.test.run(*argv, env=self.env, check=0)

    def identity_pin(self):
        """The host's pin (`sha256//…`); the identity is made at the first call."""
        if not (self.home / "config" / "identity.key").exists():
            self.prepare("identity", "init")
        pin = self.prepare("identity", "show").stdout.strip()
        check_equal(pin[:8], "sha256//", f"start of the pin of {self.name}")
        return pin

    def trust(self, other, name=None, address=None):
        """`trust add`: this host trusts `other` under `name` (default: the other's own), reached at `address`."""
        extra = ["--address", address] if address else []
        self.prepare("trust", "add", name or other.name, other.identity_pin(), *extra)

    def write_config(self, text):
        """Writes the host's config.ini and returns its path."""
        path = self.home / "config" / "config.ini"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text)
        return path
