"""A simulated pair as a process, and its HTTP control."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

LOGIN, PASSWORD = "lync-mirror", "Demo-Passw0rd"
WEAK, WEAK_PASSWORD = "reader", "Reader-Passw0rd"
DATABASES = ["rtcab", "rtcshared", "rtcxds"]
# The number and length of the names make their list span many packets.
PLAIN = ["plain"] + [f"plain {i:02} {'Ω' * (i * 2)}" for i in range(60)]
# The product version by the TDS version of the server.
VERSIONS = {"7.3B": "10.50.6000.34", "7.4": "12.0.6024.0"}
# By mode of the table: the TLS mode of the server, and the encryption that the simulator must record for a login.
MODES = {"off": ("off", "nothing"), "login": ("loginOnly", "login"), "full": ("required", "everything")}


class Pair:
    """A running simulator with servers a and b and witness w.

    `network` is the IPv4 network without the last number. Each server has its own address, name and SQL Browser.
    """

    def __init__(self, binary, mode, version, network):
        # A client connects to the partner by name, so that the names must resolve: they are addresses.
        self.names = {server: rf"{network}.{at}\RTC" for at, server in enumerate("abw", start=1)}
        self.folder = tempfile.TemporaryDirectory(prefix="lync-mirror-clients-")
        folder = pathlib.Path(self.folder.name)
        (folder / "pair.json").write_text(json.dumps(self.config(mode, version)))
        ready = folder / "ready.json"
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [binary, "--config", folder / "pair.json", "--ready-file", ready, "--log", "warn"],
            stdout=subprocess.DEVNULL, stderr=self.log)
        while not ready.exists():
            if self.process.poll() is not None:
                self.log.seek(0)
                raise RuntimeError(f"mirror-sim ended: {self.log.read()}")
            time.sleep(0.01)
        endpoints = json.loads(ready.read_text())
        self.control, self.servers = endpoints["control"], endpoints["servers"]
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.read("/ca.pem"))

    def config(self, mode, version):
        def server(key):
            address = self.names[key].partition("\\")[0]
            logins = [{"name": LOGIN, "password": PASSWORD}, {"name": WEAK, "password": WEAK_PASSWORD, "sysadmin": False}]
            return {"id": key, "name": self.names[key], "version": VERSIONS[version], "listen": f"{address}:0", "instance": "RTC",
                    "tls": {"mode": MODES[mode][0], "certificateNames": [address]}, "logins": logins,
                    "plainDatabases": PLAIN if key == "a" else [],
                    "inventory": {"logins": {"contoso_lync": "0102030405060708090A0B0C0D0E0F10"}, "jobs": ["backup of rtcxds"],
                                   "linkedServers": ["REPORTS"]}}

        return {"servers": [server(key) for key in self.names],
                "pairs": [{"name": "user", "primary": "a", "mirror": "b", "witness": "w", "databases": DATABASES,
                           "timeoutSeconds": 0.3, "switchMillis": 150, "roleSequence": 7}]}

    def read(self, path):
        with urllib.request.urlopen(f"http://{self.control}{path}", timeout=30) as answer:
            return answer.read()

    def get(self, path):
        return json.loads(self.read(path))

    def do(self, **verb):
        """Executes one command; raises RuntimeError with the response if the simulator rejects it."""
        request = urllib.request.Request(f"http://{self.control}/do", data=json.dumps(verb).encode(), method="POST")
        try:
            urllib.request.urlopen(request, timeout=30).read()
        except urllib.error.HTTPError as refused:
            raise RuntimeError(f"{verb}: {refused.read().decode()}") from None

    def address(self, server):
        return self.servers[server]["ip"], self.servers[server]["port"]

    def last(self, path):
        """The number of the newest entry of /journal or /logins; 0 without entries."""
        return max((entry["seq"] for entry in self.get(path)), default=0)

    def states(self):
        """By database: role on a, role on b, mirroring state on a, mirroring state on b."""
        return {each["database"]: (each["primary"]["role"], each["mirror"]["role"], each["primary"]["state"], each["mirror"]["state"])
                for each in self.get("/state")["databases"]}

    def until(self, what, wanted):
        """Waits up to 30 s until `wanted()` is true. `what` names the condition in the error."""
        end = time.monotonic() + 30
        while not wanted():
            if time.monotonic() > end:
                raise AssertionError(f"timeout: {what() if callable(what) else what}; state of the pair: {self.states()}")
            time.sleep(0.02)

    def synchronized(self):
        """Whether every database is SYNCHRONIZED on both partners."""
        return all(state[2:] == ("SYNCHRONIZED", "SYNCHRONIZED") for state in self.states().values())

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()
