# SPDX-License-Identifier: GPL-3.0-or-later
"""The program with sanitizers, and the one without; what sanitizers say, wherever they say it."""
import os
import re


def is_sanitized():
    """Whether the program under test has sanitizers."""
    return bool(os.environ.get("QML_SANITIZED"))


def options(folder):
    """The environment with which sanitizers write their reports to this folder."""
    if not is_sanitized():
        return {}
    reports = f"log_path={folder}/sanitizer"
    return {
        "ASAN_OPTIONS": f"{reports}:abort_on_error=0:exitcode=99",
        "UBSAN_OPTIONS": f"{reports}:print_stacktrace=1",
    }


def _report_in(path):
    """[what a sanitizer says in this file], from its first line on, or []."""
    try:
        text = path.read_bytes()[: 8 << 20].decode(errors="replace")
    except OSError:
        return []
    found = re.search(r"^.*(==\d+==ERROR: \w+Sanitizer|: runtime error: ).*$", text, re.MULTILINE)
    return [f"{path.name}: {text[found.start() :][:8000]}"] if found else []


def use_plain():
    """From here on this process uses the program without sanitizers; False when there is none."""
    if not is_sanitized():
        return True
    plain = os.environ.get("QML_PLAIN_PROGRAM")
    if not plain:
        return False
    del os.environ["QML_SANITIZED"]
    os.environ["QML_PROGRAM"] = plain
    if os.environ.get("QML_PLAIN_BAD_PEER"):
        os.environ["QML_BAD_PEER"] = os.environ["QML_PLAIN_BAD_PEER"]
    return True


def reports(folder):
    """What sanitizers said in a test's folder: in files of their own, or, from a process that was given another
    environment, wherever it writes: output, logs."""
    found = [path.read_text(errors="replace") for path in sorted(folder.glob("sanitizer.*"))]
    if is_sanitized():
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".out", ".err", ".log") and path.is_file() and not path.is_symlink():
                found += _report_in(path)
    return "\n".join(found)


LEAK = re.compile(r"^(?:Direct|Indirect) leak of .*?(?=^(?:Direct|Indirect) leak of |^SUMMARY|\Z)", re.MULTILINE | re.DOTALL)


def drop_leaks(folder, library):
    """Forgets reports of nothing but leaks of what this library allocated for itself: with memory that lacked."""
    for path in folder.glob("sanitizer.*"):
        text = path.read_text(errors="replace")
        leaks = LEAK.findall(text)
        own = [leak for leak in leaks if re.search(rf"^ +#1 .*/{library}[^/]*$", leak, re.MULTILINE)]
        others = re.findall(r"ERROR: (?!LeakSanitizer)|runtime error:", text)
        if leaks and len(own) == len(leaks) and not others:
            path.unlink()
