"""What every client has to find true of the pair. A check raises AssertionError, or NotForClient with the reason."""

import copy
import pathlib
import re
import threading
import time

from drivers import Broken, SqlError
from pair import DATABASES, LOGIN, MODES, PASSWORD, PLAIN, WEAK, WEAK_PASSWORD

SQL = pathlib.Path(__file__).resolve().parents[2] / "src/sql"
ROLES = ("SELECT d.name, m.mirroring_state, m.mirroring_role FROM sys.databases AS d JOIN sys.database_mirroring AS m "
         "ON m.database_id = d.database_id WHERE m.mirroring_guid IS NOT NULL ORDER BY d.name")


class NotForClient(Exception):
    """The client has no such thing."""


# For a client that keeps only the last of several errors: what the first one says.
SAID = {1416: "not configured for database mirroring", 1470: "only be initiated on the current principal", 5011: "permission", 4060: "Cannot open database"}

# For a client that keeps only the severest: these two are of class 14 and 11, what follows them is of class 16 and 14.
SEVEREST = {5011: 5069, 4060: 18456}


class Bench:
    """One client against one pair, in one mode."""

    def __init__(self, client, pair, mode):
        self.client, self.pair, self.mode = client, pair, mode

    def connect(self, server="a", login=LOGIN, password=PASSWORD, **more):
        return copy.copy(self.client).connect(self.pair, server, self.mode, login, password, **more)

    def ask(self, text, *values, server="a", **more):
        connection = self.connect(server, **more)
        try:
            return connection.ask(text, *values)
        finally:
            connection.close()

    def refused(self, number, act):
        try:
            act()
        except SqlError as error:
            told = {"first": False, "last": error.number in (5069, 18456) and SAID.get(number, "?") in str(error),
                    "severest": SEVEREST.get(number) == error.number}[self.client.keeps]
            assert error.number == number or told, f"error {number} was due, {error} came"
        else:
            raise AssertionError(f"error {number} was due, and nothing of the kind came")

    def broken(self, act):
        try:
            act()
        except Broken:
            return
        except SqlError as error:
            raise AssertionError(f"a broken connection was due, {error} came") from None
        raise AssertionError("a broken connection was due, and an answer came")

    def guard(self, act, database, server, partner, sequence):
        """The operator's own batch, for the session that this pair has."""
        guid = next(row for row in flat(self.ask("SELECT d.name, CAST(m.mirroring_guid AS nvarchar(36)) FROM sys.databases AS d "
                    f"JOIN sys.database_mirroring AS m ON m.database_id = d.database_id WHERE d.name = N'{database}'", server=server))
                    if row[0] == database)[1]
        text = (SQL / "golden" / f"{act}.sql").read_text()
        for old, new in (("ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB", str(guid)), ("rtcxds", database), (r"SQL-A\RTC", "<one>"),
                         (r"SQL-B\RTC", self.pair.names[partner]), ("<one>", self.pair.names[server]), ("@sequence = 7", f"@sequence = {sequence}")):
            assert old in text, f"golden/{act}.sql does not hold {old!r} any more"
            text = text.replace(old, new)
        return text

    def roles(self, server):
        return {row[0]: (int(row[1]), int(row[2])) for row in flat(self.ask(ROLES, server=server)) if row[0] in DATABASES}


def flat(results):
    return [row for result in results for row in result]


def words(results):
    return [["NULL" if cell is None else str(cell) for cell in row] for row in flat(results)]


def connects(bench):
    before = bench.pair.last("/logins")
    bench.connect().close()
    login = [entry for entry in bench.pair.get(f"/logins?since={before}") if entry["login"] == LOGIN][-1]
    assert login["outcome"] == "done", login
    assert login["encryption"] == MODES[bench.mode][1], f"the pair saw {login['encryption']!r} encrypted"


def wrong_password(bench):
    bench.refused(18456, lambda: bench.connect(password="wrong"))


def no_such_database(bench):
    bench.refused(4060, lambda: bench.connect(database="nowhere"))


def mirror_is_closed(bench):
    bench.refused(4060, lambda: bench.connect("b", database="rtcxds"))


def look(bench):
    for server, other, role in (("a", "b", "1"), ("b", "a", "2")):
        rows = words(bench.ask((SQL / "look.sql").read_text(), server=server))
        assert any(row[0] == bench.pair.names[server] and LOGIN in row and "master" in row for row in rows), rows[:3]
        for database in DATABASES:
            row = next(row for row in rows if row[0] == database and len(row) > 6)
            # mirroring_state, role, role sequence, safety, then the partner's address and name.
            assert row[5:9] == ["4", role, "7", "2"] and row[10] == bench.pair.names[other], row
            assert row[12] == "1", f"witness {row[11:13]}"
        assert any("mirroring_endpoint" in row and "5022" in row for row in rows), "no mirroring endpoint"
        assert any(row[0] == "Redo Queue KB" for row in rows), "no counters"
    witnessed = words(bench.ask((SQL / "look.sql").read_text(), server="w"))
    assert sum(bench.pair.names["a"] in row and bench.pair.names["b"] in row for row in witnessed) == len(DATABASES), witnessed


def nulls(bench):
    """Rows that are NULL for the most part leave as NBCROW (TDS 7.3B and later)."""
    rows = words(bench.ask((SQL / "look.sql").read_text()))
    plain = next(row for row in rows if row[0] == "plain")
    assert plain[1] == "0" and set(plain[4:]) == {"NULL"}, plain


def many_packets(bench):
    names = {row[0] for row in words(bench.ask("SELECT name, state FROM sys.databases ORDER BY name"))}
    assert set(PLAIN) <= names, sorted(set(PLAIN) - names)[:3]


def compare(bench):
    rows = words(bench.ask((SQL / "compare.sql").read_text()))
    login = next(row for row in rows if row[0] == "contoso_lync")
    assert re.search("0102030405060708090a0b0c0d0e0f10|\\\\x01\\\\x02\\\\x03", login[1].lower()) or login[1] == str(bytes(range(1, 17))), login
    assert any(row[0] == "backup of rtcxds" for row in rows) and any(row == ["REPORTS"] for row in rows), rows


def without_rights(bench):
    def ask(text):
        return bench.ask(text, login=WEAK, password=WEAK_PASSWORD)

    rows = words(ask((SQL / "look.sql").read_text()))
    assert any(row[0] == bench.pair.names["a"] and "0" in row[5:] for row in rows), rows[:2]
    assert not any(row[0] in DATABASES and len(row) > 6 and row[5] == "4" for row in rows), "a reader sees the mirroring"
    bench.refused(229, lambda: ask((SQL / "compare.sql").read_text()))
    bench.refused(5011, lambda: ask("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"))


def parameters(bench):
    if not bench.client.parameters:
        raise NotForClient("sends no parameters: it puts them into the text")
    for name in (PLAIN[0], PLAIN[7], "x' OR 1=1 --", "]; DROP DATABASE [plain]"):
        marker = "?" if bench.client.name == "msodbcsql" else "%s"
        found = words(bench.ask(f"SELECT name FROM sys.databases WHERE name = {marker}", name))
        assert found == ([[name]] if name in PLAIN else []), f"{name!r}: {found}"


def not_mirrored(bench):
    bench.refused(1416, lambda: bench.ask("ALTER DATABASE [plain] SET PARTNER FAILOVER"))


def on_the_mirror(bench):
    bench.refused(1470, lambda: bench.ask("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER", server="b"))


def no_database_of_that_name(bench):
    bench.refused(911, lambda: bench.ask("USE [nowhere]"))


def unknown_statement(bench):
    """What no server knows is an error, and noted as what nobody should have asked."""
    before = len(bench.pair.get("/failures"))
    bench.refused(102, lambda: bench.ask("FROBNICATE DATABASE rtcxds"))
    bench.refused(208, lambda: bench.ask("SELECT name FROM sys.no_such_view"))
    assert len(bench.pair.get("/failures")) == before + 2
    bench.noted = before + 2


def guard_refuses(bench):
    before = bench.pair.get("/failovers")
    bench.refused(50000, lambda: bench.ask(bench.guard("fail_over", "rtcxds", "a", "b", 6)))
    assert bench.pair.get("/failovers") == before


def severe_error(bench):
    """Class 21 ends the connection, and nothing was done."""
    bench.pair.do(do="failStatement", server="a", number=5173, **{"class": 21})
    connection = bench.connect()
    try:
        connection.ask("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER")
        raise AssertionError("the statement was answered without an error")
    except (SqlError, Broken):
        pass
    assert not bench.pair.get("/failovers")
    if bench.client.name != "freetds":
        bench.broken(lambda: connection.ask("SELECT 1"))
    connects(bench)


def cancel(bench):
    if not bench.client.cancels:
        raise NotForClient("has no way to cancel a statement that runs")
    connection = bench.connect()
    before = bench.pair.last("/journal")
    try:
        connection.ask("WAITFOR DELAY '00:05:00'", timeout=1)
        raise AssertionError("nothing was cancelled")
    except (SqlError, Broken):
        pass
    outcomes = [entry["outcome"] for entry in bench.pair.get(f"/journal?since={before}") if "WAITFOR" in entry["text"]]
    assert outcomes == ["cancelled"], outcomes
    # The answers stay in step.
    assert words(connection.ask("SELECT 22")) == [["22"]]
    connection.close()


def lost_answer(bench):
    bench.pair.do(do="cutBefore", server="a", matching="SELECT 4711")
    bench.broken(lambda: bench.ask("SELECT 4711"))
    assert words(bench.ask("SELECT 4711"))[-1] == ["4711"]


def fails_over(bench):
    """The operator's batch moves a database. Whoever looks meanwhile never sees two principals."""
    connection, worst, over = bench.connect(), [], threading.Event()
    text = bench.guard("fail_over", "rtcab", "a", "b", 7)

    def watch():
        while not over.is_set():
            # One is looked at after the other, so a principal that was seen may have given up meanwhile: ask it again.
            first, second, again = bench.roles("a"), bench.roles("b"), bench.roles("a")
            for database, (_, role) in second.items():
                if role == first[database][1] == again[database][1] == 1:
                    worst.append((database, first, second))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        connection.ask(text)
        bench.pair.until("the failover", lambda: len(bench.pair.get("/failovers")) == 1 and bench.pair.synchronized())
    finally:
        over.set()
        watcher.join()
        connection.close()
    assert not worst, f"two principals: {worst[0]}"
    assert bench.roles("a")["rtcab"] == (4, 2) and bench.roles("b")["rtcab"] == (4, 1)
    # What was planned for the old roles is refused, and so is a second time.
    bench.refused(50000, lambda: bench.ask(text))


def sessions_end(bench):
    """A session in a database that changes role is ended; the new principal takes the next one."""
    if bench.client.name == "freetds":
        raise NotForClient("each statement here is a session of its own")
    connection = bench.connect(database="rtcshared")
    connection.ask("SELECT 1")
    bench.pair.do(do="failover", pair="user", database="rtcshared")
    bench.pair.until("the failover", lambda: len(bench.pair.get("/failovers")) == 2 and bench.pair.synchronized())
    bench.broken(lambda: connection.ask("SELECT 1"))
    if bench.client.partner:
        # The login told it of the partner, where it goes by itself.
        assert bench.ask("SELECT @@SERVERNAME", database="rtcshared") == [[(bench.pair.names["b"],)]]
    else:
        bench.refused(4060, lambda: bench.connect(database="rtcshared"))
    bench.connect("b", database="rtcshared").close()


def failover_partner(bench):
    """The client's own mirroring: with Failover_Partner it finds the principal, wherever it is."""
    if not bench.client.partner:
        raise NotForClient("knows no Failover_Partner")
    done = len(bench.pair.get("/failovers"))
    seen, over, wrong, refused = [], threading.Event(), [], [None]

    def use():
        while not over.is_set():
            try:
                connection = bench.connect("a", database="rtcxds", partner="b", timeout=15)  # by name, and so by the browser
                seen.append(connection.ask("SELECT @@SERVERNAME")[0][0][0])
                connection.close()
            except (SqlError, Broken) as error:
                refused[0] = error
                time.sleep(0.02)
            except Exception as error:  # noqa: BLE001: whatever it is, the check has to tell it
                wrong.append(error)
                return

    user = threading.Thread(target=use)
    user.start()
    try:
        # From its first session it knows the partner's name.
        bench.pair.until("a session on a", lambda: wrong or bench.pair.names["a"] in seen)
        for turn, name in enumerate(("b", "a", "b"), start=1):
            bench.pair.do(do="failover", pair="user", database="rtcxds")
            bench.pair.until("the failover", lambda: len(bench.pair.get("/failovers")) == done + turn and bench.pair.synchronized())
            count = len(seen)
            bench.pair.until(lambda: f"a session on {name} (last seen {seen[-1:]}, last error {refused[0]})", lambda: wrong or bench.pair.names[name] in seen[count:])
    finally:
        over.set()
        user.join()
    assert not wrong, wrong[0]
    # Where it was let in is the principal of that time: the order of the names is the order of the failovers.
    order = [name for at, name in enumerate(seen) if at == 0 or seen[at - 1] != name]
    expected = [bench.pair.names[name] for name in ("a", "b", "a", "b")]
    assert order == expected, order
    # The other one lost altogether.
    bench.pair.do(do="kill", server="a")
    assert bench.ask("SELECT @@SERVERNAME", database="rtcxds", partner="b", timeout=15) == [[(bench.pair.names["b"],)]]


CHECKS = [connects, wrong_password, no_such_database, mirror_is_closed, look, nulls, many_packets, compare, without_rights, parameters,
          not_mirrored, on_the_mirror, no_database_of_that_name, unknown_statement, guard_refuses, severe_error, cancel, lost_answer,
          fails_over, sessions_end, failover_partner]
