"""Runs every check with every client in every mode, and prints the table. Arguments: the mirror-sim binary, and words that
the names of clients or checks have to hold."""

import concurrent.futures
import os
import pathlib
import re
import sys

from checks import CHECKS, Bench, NotForClient
from drivers import CLIENTS
from pair import MODES, VERSIONS, Pair

README = pathlib.Path(__file__).resolve().parents[1] / "sim/README.md"


def column(binary, network, kind, mode, version, checks):
    """One client, one mode, one version: all checks in their order, on a pair of their own."""
    pair, client, cells = Pair(binary, mode, version, network), kind(), {}
    try:
        bench = Bench(client, pair, mode)
        bench.noted = 0
        for check in checks:
            try:
                check(bench)
                cells[check] = "ok"
            except NotForClient as why:
                cells[check] = f"n/a {why}"
            except Exception as error:  # noqa: BLE001: a cell that failed, whatever it was
                cells[check] = f"FAILED {type(error).__name__}: {error}"
            failures = pair.get("/failures")[bench.noted:]
            if failures and cells[check] == "ok":
                cells[check] = f"FAILED the pair was asked what no server knows: {failures}"
            bench.noted = len(pair.get("/failures"))
    finally:
        pair.stop()
    return cells


def main():
    binary, wanted = sys.argv[1], sys.argv[2:]
    clients = [client() for client in CLIENTS if not wanted or any(word in client.name for word in wanted) or not any(
        word in each.name for word in wanted for each in CLIENTS)]
    checks = [check for check in CHECKS if not any(word in each.__name__ for word in wanted for each in CHECKS)
              or any(word in check.__name__ for word in wanted)]
    jobs = {}
    # A process each: some of the clients keep their last error for the whole process.
    with concurrent.futures.ProcessPoolExecutor(max_workers=4, max_tasks_per_child=1) as workers:
        for client in clients:
            for version in VERSIONS:
                for mode in MODES:
                    network = f"127.{77 + os.getpid() % 100}.{len(jobs)}"
                    jobs[client.name, version, mode] = workers.submit(column, binary, network, type(client), mode, version, checks)
        cells = {key: job.result() for key, job in jobs.items()}

    modes = [(version, mode) for version in VERSIONS for mode in MODES]
    print("Cells: TDS 7.3B (a server of 2008 R2) with TLS off, for the login, for everything; then TDS 7.4 (2014) likewise.\n")
    print("".join(f"  {client.name} {client.version}\n" for client in clients))
    print(f"{'':26}" + "".join(f"{client.name:>16}" for client in clients))
    notes, counts = [], {"ok": 0, "n/a": 0, "FAILED": 0}
    for check in checks:
        line = f"{check.__name__.replace('_', ' '):26}"
        for client in clients:
            found = [cells[client.name, version, mode][check] for version, mode in modes]
            for cell in found:
                counts[cell.split()[0]] += 1
            marks = {"ok": "+", "n/a": "-", "FAILED": "X"}
            marks = "".join(marks[cell.split()[0]] for cell in found)
            line += f"{marks[:3] + ' ' + marks[3:]:>16}"
            for (version, mode), cell in zip(modes, found):
                if cell.startswith("FAILED"):
                    notes.append(f"X {client.name}, TLS {mode}, TDS {version}, {check.__name__}: {cell[7:]}")
            if "n/a" in found[0]:
                notes.append(f"- {client.name}, {check.__name__.replace('_', ' ')}: {found[0][4:]}")
        print(line)
    print("\n" + "\n".join(notes) + f"\n\n{sum(counts.values())} cells: {counts['ok']} passed, {counts['FAILED']} failed, "
          f"{counts['n/a']} not for that client")
    said = re.search(r"(\d+) cells, (\d+) of them", README.read_text())
    if not wanted and (not said or [int(each) for each in said.groups()] != [sum(counts.values()), counts["ok"]]):
        print(f"{README.name} of tests/sim does not say: {sum(counts.values())} cells, {counts['ok']} of them")
        return 1
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
