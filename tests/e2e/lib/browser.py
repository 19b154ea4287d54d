# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, driven by the DevTools protocol over a pair of pipes (--remote-debugging-pipe): JSON messages that
each end with a NUL, https://chromedevtools.github.io/devtools-protocol/."""
import base64
import json
import os
import select
import shutil
import time

from .wait import Failure, Skip, patience

PROGRAMS = ("chromium-headless-shell", "chromium", "chrome-headless-shell", "google-chrome")
# No network, no accounts, no crash reports: nothing but the page that is opened.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync")
FLAGS += ("--disable-breakpad", "--no-first-run", "--no-default-browser-check", "--mute-audio", "--hide-scrollbars")
FLAGS += ("--host-resolver-rules=MAP * ~NOTFOUND", "--force-device-scale-factor=1", "--remote-debugging-pipe")
DOMAINS = ("Page", "Runtime", "Log", "Network", "Audits")


class Browser:
    """One Chromium with one page. Skips the test where there is none."""

    def __init__(self, t):
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if not program:
            raise Skip("no Chromium (Debian: chromium)")
        its_in, self.out = os.pipe()
        self.incoming, its_out = os.pipe()
        # Chromium reads descriptor 3 and writes 4; whatever ours are called, a shell gives them these names.
        script = f'exec "$@" 3<&{its_in} 4>&{its_out}'
        home = t.dir / "browser"
        home.mkdir()
        argv = ("sh", "-c", script, "sh", program, *FLAGS, f"--user-data-dir={home}")
        environment = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home, "DBUS_SESSION_BUS_ADDRESS": None}
        environment["LD_PRELOAD"] = None
        self.process = t.start(*argv, name="chromium", env=environment, pass_fds=(its_in, its_out))
        os.close(its_in)
        os.close(its_out)
        self.pending, self.replies, self.events, self.number, self.session = b"", {}, [], 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in DOMAINS:
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """What the browser answers to one command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        self._read_until(lambda: self.number in self.replies, method)
        reply = self.replies.pop(self.number)
        if "error" in reply:
            raise Failure(f"{method}: {reply['error']}")
        return reply["result"]

    def _read_until(self, done, what, seconds=40):
        deadline = time.monotonic() + patience(seconds)
        while not done():
            ready, _, _ = select.select([self.incoming], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.incoming, 1 << 20) if ready else b""
            if not data:
                how = "has ended" if ready else "does not answer in time"
                raise Failure(f"Chromium {how} at {what}: {self.process.stderr()[-400:]}")
            *whole, self.pending = (self.pending + data).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self.replies[message["id"]] = message
                else:
                    self.events.append(message)

    def open(self, path):
        """Shows a file, and forgets what was said of others."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self._read_until(lambda: any(one["method"] == "Page.loadEventFired" for one in self.events), f"loading {path}")

    def evaluate(self, expression):
        """The value of an expression in JavaScript, which the browser's own hand writes: no policy of the page's forbids
        it."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise Failure(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def size(self, width, height):
        """The window's, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, word):
        """What the user prefers: dark or light."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": word}])

    def press(self, key, code, text=""):
        """A key, as from a keyboard. code: Windows' number of it."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector):
        """The first button of the mouse on the middle of an element, which is scrolled to."""
        found = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=found[0], y=found[1], button="left", clickCount=1)

    def screenshot(self):
        """The window's content as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def complaints(self):
        """What the console, the log and the audits of the page say: errors, warnings, violations of its policy."""
        found = []
        for event in self.events:
            method, what = event["method"], event.get("params", {})
            if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded"):
                found.append(f"{method}: {json.dumps(what)[:400]}")
        return found

    def requests(self):
        """The addresses that the page has fetched, its own among them; what its policy held back is none."""
        told = [(event["method"], event["params"]) for event in self.events]
        held = {
            what["requestId"]
            for method, what in told
            if method == "Network.loadingFailed" and what.get("blockedReason") == "csp"
        }
        sent = [what for method, what in told if method == "Network.requestWillBeSent"]
        return [what["request"]["url"] for what in sent if what["requestId"] not in held]
