"""One simulated pair as a process, and what its control says of it. Nothing about any client lives here."""

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
# Enough of them, and of a length, that their list takes many packets.
PLAIN = ["plain"] + [f"plain {i:02} {'Ω' * (i * 2)}" for i in range(60)]
# What LOGINACK may say: 2008 R2 speaks TDS 7.3B, the later ones 7.4.
VERSIONS = {"7.3B": "10.50.6000.34", "7.4": "12.0.6024.0"}
# The mode of the server's encryption by the column of the table, and what the sim then calls it.
MODES = {"off": ("off", "nothing"), "login": ("loginOnly", "login"), "full": ("required", "everything")}


class Pair:
    """`network` is the address without its last number: each server has an address, a name and a browser of its own."""

    def __init__(self, binary, mode, version, network):
        # A client that is told its partner's name has to find it: the names are addresses.
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
        said = json.loads(ready.read_text())
        self.control, self.servers = said["control"], said["servers"]
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.read("/ca.pem"))

    def config(self, mode, version):
        def server(key):
            address = self.names[key].partition("\\")[0]
            logins = [{"name": LOGIN, "password": PASSWORD}, {"name": WEAK, "password": WEAK_PASSWORD, "sysadmin": False}]
            return {"id": key, "name": self.names[key], "version": VERSIONS[version], "listen": f"{address}:0", "instance": "RTC",
                    "tls": {"mode": MODES[mode][0], "certificateNames": [address]}, "logins": logins,
                    "plainDatabases": PLAIN if key == "a" else [],
                    "belongings": {"logins": {"contoso_lync": "0102030405060708090A0B0C0D0E0F10"}, "jobs": ["backup of rtcxds"],
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
        request = urllib.request.Request(f"http://{self.control}/do", data=json.dumps(verb).encode(), method="POST")
        try:
            urllib.request.urlopen(request, timeout=30).read()
        except urllib.error.HTTPError as refused:
            raise RuntimeError(f"{verb}: {refused.read().decode()}") from None

    def address(self, server):
        return self.servers[server]["ip"], self.servers[server]["port"]

    def last(self, what):
        """The number of the newest entry of /journal or /logins."""
        return max((entry["seq"] for entry in self.get(what)), default=0)

    def states(self):
        """Of each database: role on a, role on b, mirroring state there."""
        return {each["database"]: (each["primary"]["role"], each["mirror"]["role"], each["primary"]["state"], each["mirror"]["state"])
                for each in self.get("/state")["databases"]}

    def until(self, what, wanted):
        """Waits on a condition; a pair that never comes there is a failure that says where it stayed."""
        end = time.monotonic() + 30
        while not wanted():
            if time.monotonic() > end:
                raise AssertionError(f"{what() if callable(what) else what} did not come; the pair stays at {self.states()}")
            time.sleep(0.02)

    def synchronized(self):
        return all(state[2:] == ("SYNCHRONIZED", "SYNCHRONIZED") for state in self.states().values())

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()
