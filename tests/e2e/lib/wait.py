# SPDX-License-Identifier: GPL-3.0-or-later
"""How a test fails or is skipped, and how it waits."""
import os
import time


class Failure(AssertionError):
    """The test failed; the text is the reason that is shown."""


class Skip(Exception):
    """The test cannot run here; the text is the reason that is shown."""


def patience(timeout):
    """How long to wait for what is done in so many seconds: a program with sanitizers is three times as slow."""
    return 3 * timeout if os.environ.get("QML_SANITIZED") else timeout


def wait_until(predicate, timeout, what):
    """Calls `predicate` every 20 ms until it returns something true, and returns that.

    After `timeout` seconds, or longer with sanitizers, it raises Failure, naming `what` was waited for.
    """
    timeout = patience(timeout)
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"after {timeout} s still no {what}")
        time.sleep(0.02)


def check(condition, message):
    """Failure with `message` unless `condition` is true."""
    if not condition:
        raise Failure(message)


def check_equal(found, expected, what):
    """Failure that shows both unless they are equal."""
    if found != expected:
        raise Failure(f"{what}: {found!r} instead of {expected!r}")


def check_in(part, whole, what):
    """Failure that shows both unless `part` is in `whole`."""
    if part not in whole:
        raise Failure(f"{what}: no {part!r} in {whole!r}")
