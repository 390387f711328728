"""Runs all checks with all clients in all modes and prints a table.

Arguments: the mirror-sim binary, then optional parts of the names of clients and checks that select some of them.
"""

import concurrent.futures
import os
import pathlib
import re
import sys

from checks import CHECKS, Context, NotForClient
from drivers import CLIENTS
from pair import MODES, VERSIONS, Pair

README = pathlib.Path(__file__).resolve().parents[1] / "sim/README.md"


def column(binary, network, kind, mode, version, checks):
    """Runs the checks in order for one client, mode and version, on a separate pair. Returns the cells by check."""
    pair, client, cells = Pair(binary, mode, version, network), kind(), {}
    try:
        context = Context(client, pair, mode)
        context.reported_failures = 0
        for check in checks:
            try:
                check(context)
                cells[check] = "ok"
            except NotForClient as why:
                cells[check] = f"n/a {why}"
            except Exception as error:  # noqa: BLE001: any error fails the cell
                cells[check] = f"FAILED {type(error).__name__}: {error}"
            failures = pair.get("/failures")[context.reported_failures:]
            if failures and cells[check] == "ok":
                cells[check] = f"FAILED unsupported requests: {failures}"
            context.reported_failures = len(pair.get("/failures"))
    finally:
        pair.stop()
    return cells


def main():
    binary, wanted = sys.argv[1], sys.argv[2:]
    clients = [client() for client in CLIENTS if not wanted or any(part in client.name for part in wanted) or not any(
        part in other.name for part in wanted for other in CLIENTS)]
    checks = [check for check in CHECKS if not any(part in other.__name__ for part in wanted for other in CHECKS)
              or any(part in check.__name__ for part in wanted)]
    jobs = {}
    # One process per job: some clients keep their last error for the whole process.
    with concurrent.futures.ProcessPoolExecutor(max_workers=4, max_tasks_per_child=1) as workers:
        for client in clients:
            for version in VERSIONS:
                for mode in MODES:
                    network = f"127.{77 + os.getpid() % 100}.{len(jobs)}"
                    jobs[client.name, version, mode] = workers.submit(column, binary, network, type(client), mode, version, checks)
        cells = {key: job.result() for key, job in jobs.items()}

    modes = [(version, mode) for version in VERSIONS for mode in MODES]
    print("Cells: TDS 7.3B (SQL Server 2008 R2) with TLS off, for the login and for the whole connection; then TDS 7.4 (2014).\n")
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
          f"{counts['n/a']} not available in the client")
    documented = re.search(r"(\d+) cells, (\d+) of them", README.read_text())
    if not wanted and (not documented or [int(number) for number in documented.groups()] != [sum(counts.values()), counts["ok"]]):
        print(f"tests/sim/{README.name} must contain: {sum(counts.values())} cells, {counts['ok']} of them")
        return 1
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
