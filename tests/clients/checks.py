"""The checks that run with every client. A check raises AssertionError, or NotForClient with the reason."""

import copy
import pathlib
import re
import threading
import time

from drivers import Broken, SqlError
from pair import DATABASES, LOGIN, MODES, PASSWORD, PLAIN, WEAK, WEAK_PASSWORD

SQL = pathlib.Path(__file__).resolve().parents[2] / "src/sql"
# The read-only batch of the operator that polls a server.
POLL_SQL = SQL / "poll.sql"
ROLES = ("SELECT d.name, m.mirroring_state, m.mirroring_role FROM sys.databases AS d JOIN sys.database_mirroring AS m "
         "ON m.database_id = d.database_id WHERE m.mirroring_guid IS NOT NULL ORDER BY d.name")


class NotForClient(Exception):
    """The client does not have the feature."""


# For a client that reports only the last of several errors: a part of the text of the first error.
FIRST_ERROR_TEXT = {1416: "not configured for database mirroring", 1470: "only be initiated on the current principal", 5011: "permission", 4060: "Cannot open database"}

# For a client that reports only the severest error: these two have class 14 and 11, and the next error has class 16 and 14.
SEVEREST = {5011: 5069, 4060: 18456}


class Context:
    """One client, one pair and one mode. `reported_failures` counts the failures that earlier checks caused."""

    def __init__(self, client, pair, mode):
        self.client, self.pair, self.mode = client, pair, mode

    def connect(self, server="a", login=LOGIN, password=PASSWORD, **more):
        return copy.copy(self.client).connect(self.pair, server, self.mode, login, password, **more)

    def query(self, text, *values, server="a", **more):
        connection = self.connect(server, **more)
        try:
            return connection.query(text, *values)
        finally:
            connection.close()

    def refused(self, number, act):
        try:
            act()
        except SqlError as error:
            expected = {"first": False, "last": error.number in (5069, 18456) and FIRST_ERROR_TEXT.get(number, "?") in str(error),
                        "severest": SEVEREST.get(number) == error.number}[self.client.keeps]
            assert error.number == number or expected, f"expected error {number}, got {error}"
        else:
            raise AssertionError(f"expected error {number}, got no error")

    def broken(self, act):
        try:
            act()
        except Broken:
            return
        except SqlError as error:
            raise AssertionError(f"expected a broken connection, got {error}") from None
        raise AssertionError("expected a broken connection, got a response")

    def guard(self, act, database, server, partner, sequence):
        """A batch of the operator from src/sql/golden, with the names and the GUID of this pair."""
        guid = next(row for row in flat(self.query("SELECT d.name, CAST(m.mirroring_guid AS nvarchar(36)) FROM sys.databases AS d "
                    f"JOIN sys.database_mirroring AS m ON m.database_id = d.database_id WHERE d.name = N'{database}'", server=server))
                    if row[0] == database)[1]
        text = (SQL / "golden" / f"{act}.sql").read_text()
        for old, new in (("ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB", str(guid)), ("rtcxds", database), (r"SQL-A\RTC", "<one>"),
                         (r"SQL-B\RTC", self.pair.names[partner]), ("<one>", self.pair.names[server]), ("@sequence = 7", f"@sequence = {sequence}")):
            assert old in text, f"golden/{act}.sql does not contain {old!r}"
            text = text.replace(old, new)
        return text

    def roles(self, server):
        """By database: mirroring state and role on a server."""
        return {row[0]: (int(row[1]), int(row[2])) for row in flat(self.query(ROLES, server=server)) if row[0] in DATABASES}


def flat(results):
    return [row for result in results for row in result]


def as_text(results):
    return [["NULL" if cell is None else str(cell) for cell in row] for row in flat(results)]


def connects(context):
    before = context.pair.last("/logins")
    context.connect().close()
    login = [entry for entry in context.pair.get(f"/logins?since={before}") if entry["login"] == LOGIN][-1]
    assert login["outcome"] == "done", login
    assert login["encryption"] == MODES[context.mode][1], f"the simulator recorded encryption of {login['encryption']!r}"


def wrong_password(context):
    context.refused(18456, lambda: context.connect(password="wrong"))


def no_such_database(context):
    context.refused(4060, lambda: context.connect(database="nowhere"))


def mirror_is_closed(context):
    context.refused(4060, lambda: context.connect("b", database="rtcxds"))


def poll(context):
    for server, other, role in (("a", "b", "1"), ("b", "a", "2")):
        rows = as_text(context.query(POLL_SQL.read_text(), server=server))
        assert any(row[0] == context.pair.names[server] and LOGIN in row and "master" in row for row in rows), rows[:3]
        for database in DATABASES:
            row = next(row for row in rows if row[0] == database and len(row) > 6)
            # mirroring_state, role, role sequence, safety, then the address and the name of the partner.
            assert row[3:7] == ["4", role, "7", "2"] and row[8] == context.pair.names[other], row
            assert row[10] == "1", f"witness {row[9:11]}"
        assert any("mirroring_endpoint" in row and "5022" in row for row in rows), "no mirroring endpoint"
        assert any(row[0] == "Redo Queue KB" for row in rows), "no counters"
    witnessed = as_text(context.query(POLL_SQL.read_text(), server="w"))
    assert sum(context.pair.names["a"] in row and context.pair.names["b"] in row for row in witnessed) == len(DATABASES), witnessed


def nulls(context):
    """Mostly NULL rows are sent as NBCROW (TDS 7.3B and later)."""
    rows = as_text(context.query(POLL_SQL.read_text()))
    plain = next(row for row in rows if row[0] == "plain")
    assert plain[1] == "0" and set(plain[2:]) == {"NULL"}, plain


def many_packets(context):
    names = {row[0] for row in as_text(context.query("SELECT name, state FROM sys.databases ORDER BY name"))}
    assert set(PLAIN) <= names, sorted(set(PLAIN) - names)[:3]


def compare(context):
    rows = as_text(context.query((SQL / "inventory.sql").read_text()))
    login = next(row for row in rows if row[0] == "contoso_lync")
    assert re.search("0102030405060708090a0b0c0d0e0f10|\\\\x01\\\\x02\\\\x03", login[1].lower()) or login[1] == str(bytes(range(1, 17))), login
    assert any(row[0] == "backup of rtcxds" for row in rows) and any(row == ["REPORTS"] for row in rows), rows


def without_rights(context):
    def query(text):
        return context.query(text, login=WEAK, password=WEAK_PASSWORD)

    rows = as_text(query(POLL_SQL.read_text()))
    assert any(row[0] == context.pair.names["a"] and "0" in row[5:] for row in rows), rows[:2]
    assert not any(row[0] in DATABASES and len(row) > 6 and row[5] == "4" for row in rows), "a login without permissions sees mirroring rows"
    context.refused(229, lambda: query((SQL / "inventory.sql").read_text()))
    context.refused(5011, lambda: query("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"))


def parameters(context):
    if not context.client.parameters:
        raise NotForClient("inserts parameters into the text and sends none")
    for name in (PLAIN[0], PLAIN[7], "x' OR 1=1 --", "]; DROP DATABASE [plain]"):
        marker = "?" if context.client.name == "msodbcsql" else "%s"
        found = as_text(context.query(f"SELECT name FROM sys.databases WHERE name = {marker}", name))
        assert found == ([[name]] if name in PLAIN else []), f"{name!r}: {found}"


def not_mirrored(context):
    context.refused(1416, lambda: context.query("ALTER DATABASE [plain] SET PARTNER FAILOVER"))


def on_the_mirror(context):
    context.refused(1470, lambda: context.query("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER", server="b"))


def no_database_of_that_name(context):
    context.refused(911, lambda: context.query("USE [nowhere]"))


def unknown_statement(context):
    """Unsupported statements return an error and are recorded as failures."""
    before = len(context.pair.get("/failures"))
    context.refused(102, lambda: context.query("FROBNICATE DATABASE rtcxds"))
    context.refused(208, lambda: context.query("SELECT name FROM sys.no_such_view"))
    assert len(context.pair.get("/failures")) == before + 2
    context.reported_failures = before + 2


def guard_refuses(context):
    before = context.pair.get("/failovers")
    context.refused(50000, lambda: context.query(context.guard("fail_over", "rtcxds", "a", "b", 6)))
    assert context.pair.get("/failovers") == before


def severe_error(context):
    """An error of class 21 ends the connection; the statement is not executed."""
    context.pair.do(do="failStatement", server="a", number=5173, **{"class": 21})
    connection = context.connect()
    try:
        connection.query("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER")
        raise AssertionError("the statement returned no error")
    except (SqlError, Broken):
        pass
    assert not context.pair.get("/failovers")
    if context.client.name != "freetds":
        context.broken(lambda: connection.query("SELECT 1"))
    connects(context)


def cancel(context):
    if not context.client.cancels:
        raise NotForClient("cannot cancel a running statement")
    connection = context.connect()
    before = context.pair.last("/journal")
    try:
        connection.query("WAITFOR DELAY '00:05:00'", timeout=1)
        raise AssertionError("the statement was not cancelled")
    except (SqlError, Broken):
        pass
    outcomes = [entry["outcome"] for entry in context.pair.get(f"/journal?since={before}") if "WAITFOR" in entry["text"]]
    assert outcomes == ["cancelled"], outcomes
    # The next response belongs to the next statement.
    assert as_text(connection.query("SELECT 22")) == [["22"]]
    connection.close()


def lost_answer(context):
    context.pair.do(do="cutBefore", server="a", matching="SELECT 4711")
    context.broken(lambda: context.query("SELECT 4711"))
    assert as_text(context.query("SELECT 4711"))[-1] == ["4711"]


def fails_over(context):
    """The batch of the operator fails a database over. A concurrent reader never sees two principals."""
    connection, violations, over = context.connect(), [], threading.Event()
    text = context.guard("fail_over", "rtcab", "a", "b", 7)

    def read_roles():
        while not over.is_set():
            # The servers are read one after the other, so that the first role can be outdated: read the first server again.
            first, second, again = context.roles("a"), context.roles("b"), context.roles("a")
            for database, (_, role) in second.items():
                if role == first[database][1] == again[database][1] == 1:
                    violations.append((database, first, second))

    reader = threading.Thread(target=read_roles)
    reader.start()
    try:
        connection.query(text)
        context.pair.until("the failover", lambda: len(context.pair.get("/failovers")) == 1 and context.pair.synchronized())
    finally:
        over.set()
        reader.join()
        connection.close()
    assert not violations, f"two principals: {violations[0]}"
    assert context.roles("a")["rtcab"] == (4, 2) and context.roles("b")["rtcab"] == (4, 1)
    # The batch for the old roles is rejected.
    context.refused(50000, lambda: context.query(text))


def sessions_end(context):
    """A role change ends the sessions in the database; the new principal accepts the next session."""
    if context.client.name == "freetds":
        raise NotForClient("each statement opens its own session")
    connection = context.connect(database="rtcshared")
    connection.query("SELECT 1")
    context.pair.do(do="failover", pair="user", database="rtcshared")
    context.pair.until("the failover", lambda: len(context.pair.get("/failovers")) == 2 and context.pair.synchronized())
    context.broken(lambda: connection.query("SELECT 1"))
    if context.client.partner:
        # The client received the partner name at login and connects to the partner without help.
        assert context.query("SELECT @@SERVERNAME", database="rtcshared") == [[(context.pair.names["b"],)]]
    else:
        context.refused(4060, lambda: context.connect(database="rtcshared"))
    context.connect("b", database="rtcshared").close()


def failover_partner(context):
    """A client with Failover_Partner finds the principal after every failover."""
    if not context.client.partner:
        raise NotForClient("does not support Failover_Partner")
    done = len(context.pair.get("/failovers"))
    seen, over, wrong, refused = [], threading.Event(), [], [None]

    def use():
        while not over.is_set():
            try:
                connection = context.connect("a", database="rtcxds", partner="b", timeout=15)  # by name, through SQL Browser
                seen.append(connection.query("SELECT @@SERVERNAME")[0][0][0])
                connection.close()
            except (SqlError, Broken) as error:
                refused[0] = error
                time.sleep(0.02)
            except Exception as error:  # noqa: BLE001: the check reports any other error
                wrong.append(error)
                return

    user = threading.Thread(target=use)
    user.start()
    try:
        # The client receives the partner name in its first session.
        context.pair.until("a session on a", lambda: wrong or context.pair.names["a"] in seen)
        for number, name in enumerate(("b", "a", "b"), start=1):
            context.pair.do(do="failover", pair="user", database="rtcxds")
            context.pair.until("the failover", lambda: len(context.pair.get("/failovers")) == done + number and context.pair.synchronized())
            count = len(seen)
            context.pair.until(lambda: f"a session on {name} (last seen {seen[-1:]}, last error {refused[0]})", lambda: wrong or context.pair.names[name] in seen[count:])
    finally:
        over.set()
        user.join()
    assert not wrong, wrong[0]
    # Each session ran on the current principal, so that the order of the names is the order of the failovers.
    order = [name for at, name in enumerate(seen) if at == 0 or seen[at - 1] != name]
    expected = [context.pair.names[name] for name in ("a", "b", "a", "b")]
    assert order == expected, order
    # The other partner is down.
    context.pair.do(do="kill", server="a")
    assert context.query("SELECT @@SERVERNAME", database="rtcxds", partner="b", timeout=15) == [[(context.pair.names["b"],)]]


CHECKS = [connects, wrong_password, no_such_database, mirror_is_closed, poll, nulls, many_packets, compare, without_rights, parameters,
          not_mirrored, on_the_mirror, no_database_of_that_name, unknown_statement, guard_refuses, severe_error, cancel, lost_answer,
          fails_over, sessions_end, failover_partner]
