# SPDX-License-Identifier: GPL-3.0-or-later
"""Real etcd for tests of the pool: one member or three, in the clear or over TLS with client certificates; and a store
that lies."""
import base64
import http.server
import json
import shutil
import ssl
import threading
import urllib.error
import urllib.request

from .process import free_port
from .wait import Failure, Skip, wait_until


def encode(text):
    """Base64, as the gateway has keys and values."""
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Authority:
    """A CA in the test's folder and its certificates, made by openssl."""

    def __init__(self, t, name="ca"):
        self.t = t
        self.folder = t.dir / name
        self.folder.mkdir()
        self.ca = self.folder / "ca.pem"
        t.run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", self.folder / "ca.key", "-out", self.ca),
            check=0,
        )

    def issue(self, name, names="IP:127.0.0.1"):
        """(certificate, key) with both usages: etcd's gateway is a client of its own server."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self.t.run(
            *("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", key, "-out", self.folder / f"{name}.csr"),
            check=0,
        )
        self.t.run(
            *("openssl", "x509", "-req", "-in", self.folder / f"{name}.csr", "-CA", self.ca, "-days", "2"),
            *("-CAkey", self.folder / "ca.key", "-CAcreateserial", "-extfile", extensions, "-out", cert),
            check=0,
        )
        key.chmod(0o600)
        return cert, key


class Etcd:
    """A cluster of etcd on loopback.

    .members    its processes; .ports their clients' ports
    .authority  of TLS, or None: in the clear
    """

    def __init__(self, t, count=1, tls=False):
        if not shutil.which("etcd"):
            raise Skip("no etcd (Debian: etcd-server)")
        self.t = t
        self.authority = Authority(t) if tls else None
        self.scheme = "https" if tls else "http"
        self.ports = [free_port() for _ in range(count)]
        self.peer_ports = [free_port() for _ in range(count)]
        self.server = self.authority.issue("server") if tls else None
        self.client = self.authority.issue("client") if tls else None
        self.members = [self.start_member(i) for i in range(count)]
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        if tls:
            context = ssl.create_default_context(cafile=self.authority.ca)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which Python 3.13 sets, and openssl's own CAs do not fulfil
            context.load_cert_chain(*self.client)
            self.opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
        wait_until(self.answers, 30, "answer from etcd")

    def start_member(self, i):
        """Starts (again) member i."""
        scheme, url, peer = self.scheme, f"{self.scheme}://127.0.0.1:{self.ports[i]}", self.peer_ports[i]
        words = ["etcd", "--name", f"m{i}", "--data-dir", self.t.dir / f"etcd-{i}", "--logger", "zap", "--log-level", "error"]
        words += ["--listen-client-urls", url, "--advertise-client-urls", url]
        words += ["--listen-peer-urls", f"{scheme}://127.0.0.1:{peer}"]
        words += ["--initial-advertise-peer-urls", f"{scheme}://127.0.0.1:{peer}", "--initial-cluster"]
        words += [",".join(f"m{n}={scheme}://127.0.0.1:{port}" for n, port in enumerate(self.peer_ports))]
        words += ["--heartbeat-interval", "100", "--election-timeout", "1000"]
        if self.authority:
            for prefix in ("", "peer-"):
                words += [f"--{prefix}cert-file", self.server[0], f"--{prefix}key-file", self.server[1]]
                words += [f"--{prefix}trusted-ca-file", self.authority.ca, f"--{prefix}client-cert-auth"]
        return self.t.start(*words, name=f"etcd-{i}")

    def answers(self):
        """Whether the store can be written."""
        try:
            self.put("ready", "1")
            return True
        except (OSError, Failure):
            return False

    def post(self, path, body, token=None):
        """One request by a client of our own, to the first member that answers."""
        reason = Failure("no member of etcd runs")
        for member, port in zip(self.members, self.ports):
            if not member.alive():
                continue
            headers = {"Authorization": token} if token else {}
            request = urllib.request.Request(
                f"{self.scheme}://127.0.0.1:{port}{path}", json.dumps(body).encode(), headers
            )
            try:
                with self.opener.open(request, timeout=10) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                reason = Failure(f"{path}: {error.read().decode()}")
            except OSError as error:
                reason = error
        raise reason

    def put(self, key, value):
        """Writes a key, as anybody could who has access to the store."""
        self.post("/v3/kv/put", {"key": encode(key), "value": encode(value)})

    def put_many(self, pairs):
        """The same for many, 100 in a transaction."""
        pairs = list(pairs)
        for i in range(0, len(pairs), 100):
            puts = [{"requestPut": {"key": encode(k), "value": encode(v)}} for k, v in pairs[i : i + 100]]
            self.post("/v3/kv/txn", {"success": puts})

    def get(self, prefix):
        """{key: value} of all keys that begin with prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.post("/v3/kv/range", {"key": encode(prefix), "range_end": encode(end)})
        return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode() for kv in found.get("kvs", [])}

    def delete(self, key):
        """Deletes a key."""
        self.post("/v3/kv/deleterange", {"key": encode(key)})

    def config(self, *more, prefix="test/fleet", ports=None):
        """The [pool] section for a host of this pool."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or self.ports)
        lines = ["[pool]", f"url = etcd+{self.scheme}://{hosts}/{prefix}"]
        if self.authority:
            lines += [f"ca = {self.authority.ca}", f"cert = {self.client[0]}", f"key = {self.client[1]}"]
        return "\n".join([*lines, *more, ""])


class Liar:
    """A server in this process, with a good certificate, that answers what the test wants.

    answer(path, body) returns (status, bytes), or None: it says nothing until the end. .asked: the paths so far
    """

    def __init__(self, server, answer):
        liar = self
        self.asked = []
        self.over = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                liar.asked.append(self.path)
                result = answer(self.path, body)
                if result is None:
                    liar.over.wait(60)
                    return
                status, data, *headers = result
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*server)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        """Ends it."""
        self.over.set()
        self.http.shutdown()
