"""The clients: connection, query and error translation. Module checks contains the checks."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import tempfile

# The option `encryption` of FreeTDS by mode. The default encrypts the login if the server supports TLS.
ENCRYPTION = {"off": "off", "login": None, "full": "require"}


class SqlError(Exception):
    """An error of the server, with its number."""

    def __init__(self, number, text):
        super().__init__(f"{number}: {text}")
        self.number = number


class Broken(Exception):
    """The connection ended or could not be opened."""


def results(cursor):
    """All result sets of a DB-API cursor: a list of rows per result set."""
    result_sets = []
    while True:
        if cursor.description:
            result_sets.append([tuple(row) for row in cursor.fetchall()])
        if not cursor.nextset():
            return result_sets


class Driver:
    """Base class of the clients with a DB-API. Method `read` translates their exceptions.

    `keeps` is the error that the client reports out of several: the first, the last or the severest. `parameters`,
    `cancels` and `partner` state whether the client has the feature.
    """

    def errors(self):
        return Translated(self.kinds, self.read)

    def close(self):
        self.connection.close()


class Odbc(Driver):
    """Microsoft ODBC Driver 18, by pyodbc."""

    name = "msodbcsql"
    parameters = cancels = partner = True
    keeps = "first"

    def __init__(self):
        import mssql_python_odbc
        import pyodbc
        pyodbc.pooling = False
        self.odbc = pyodbc
        self.kinds = pyodbc.Error
        folder = pathlib.Path(mssql_python_odbc.__file__).parent / "libs/linux/debian_ubuntu/x86_64/lib"
        self.library = next(folder.glob("libmsodbcsql-*.so.*"))
        self.version = self.library.name.removeprefix("libmsodbcsql-")

    def connect(self, pair, server, mode, login, password, database="master", timeout=20, partner=None):
        host, port = pair.address(server)
        encrypt = "yes" if mode == "full" else "no"
        address = pair.names[server] if partner else f"tcp:{host},{port}"
        text = (f"DRIVER={self.library};SERVER={address};UID={login};PWD={{{password}}};DATABASE={database};"
                f"Encrypt={encrypt};TrustServerCertificate=yes;")
        if partner:
            text += f"Failover_Partner={pair.names[partner]};"
        with self.errors():
            self.connection = self.odbc.connect(text, autocommit=True, timeout=timeout)
        return self

    @staticmethod
    def read(error):
        text = str(error.args[-1])
        # The first message of the server ends with the error number and the function name.
        numbers = [int(number) for number in re.findall(r"\[SQL Server\].*?\((\d+)\) \(SQL\w+\)", text, re.S)]
        return SqlError(numbers[0], text) if numbers and error.args[0] != "08S01" else Broken(text)

    def query(self, text, *values, timeout=0):
        with self.errors():
            self.connection.timeout = timeout
            cursor = self.connection.cursor()
            cursor.execute(text, *values) if values else cursor.execute(text)
            return results(cursor)


class Pymssql(Driver):
    """pymssql, with its bundled FreeTDS."""

    name = "pymssql"
    # The client inserts parameters into the text and sends none to the server.
    parameters = cancels = partner = False
    keeps = "severest"

    def __init__(self):
        import pymssql
        self.module = pymssql
        self.kinds = (pymssql.Error, pymssql._mssql.MSSQLException)
        self.version = pymssql.__version__

    def connect(self, pair, server, mode, login, password, database="master", timeout=20, partner=None):
        host, port = pair.address(server)
        encryption = ENCRYPTION[mode]
        with self.errors():
            self.connection = self.module.connect(server=host, port=str(port), user=login, password=password, database=database,
                                                  autocommit=True, login_timeout=timeout, encryption=encryption, tds_version="7.4")
        return self

    @staticmethod
    def read(error):
        parts = error.args[0] if error.args and isinstance(error.args[0], tuple) else error.args
        number, text = (parts + ("", ""))[:2] if isinstance(parts, tuple) else (getattr(error, "number", 0), parts)
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        # DB-Library numbers start at 20000. A rejected login ends with such a number after the one of the server.
        named = re.search(r"\b(18456|4060|954|955)\b", text)
        if isinstance(number, int) and (number < 20000 or number == 50000) and number:
            return SqlError(number, text)
        return SqlError(int(named[1]), text) if named else Broken(f"{number} {text}")

    def query(self, text, *values, timeout=0):
        with self.errors():
            cursor = self.connection.cursor()
            cursor.execute(text)
            return results(cursor)


class Pytds(Driver):
    """python-tds, a client in pure Python."""

    name = "python-tds"
    parameters = True
    keeps = "last"
    cancels = partner = False

    def __init__(self):
        import pytds
        self.module = pytds
        self.kinds = (pytds.Error, OSError, EOFError)
        self.version = importlib.metadata.version("python-tds")

    def connect(self, pair, server, mode, login, password, database="master", timeout=20, partner=None):
        host, port = pair.address(server)
        secure = {} if mode == "off" else {"cafile": str(pair.ca), "validate_host": False, "enc_login_only": mode == "login"}
        with self.errors():
            self.connection = self.module.connect(dsn=host, port=port, user=login, password=password, database=database,
                                                  autocommit=True, login_timeout=timeout, disable_connect_retry=True, **secure)
        return self

    @staticmethod
    def read(error):
        number = getattr(error, "msg_no", 0) or getattr(error, "number", 0)
        return SqlError(number, str(error)) if number else Broken(f"{type(error).__name__}: {error}")

    def query(self, text, *values, timeout=0):
        with self.errors():
            cursor = self.connection.cursor()
            cursor.execute(text, values) if values else cursor.execute(text)
            return results(cursor)


class Tsql:
    """tsql of FreeTDS. Each query opens its own session; the output is parsed as text."""

    name = "freetds"
    parameters = cancels = partner = False
    keeps = "first"

    def __init__(self):
        settings = subprocess.run(["tsql", "-C"], capture_output=True, text=True, check=True).stdout
        self.version = re.search(r"freetds v([\d.]+)", settings)[1]

    def connect(self, pair, server, mode, login, password, database="master", timeout=20, partner=None):
        host, port = pair.address(server)
        self.folder = tempfile.TemporaryDirectory(prefix="lync-mirror-tsql-")
        conf = pathlib.Path(self.folder.name) / "freetds.conf"
        secure = f"encryption = {ENCRYPTION[mode]}\n" if ENCRYPTION[mode] else ""
        secure += "" if mode != "full" else f"ca file = {pair.ca}\n check certificate hostname = no\n"
        conf.write_text(f"[pair]\n host = {host}\n port = {port}\n tds version = 7.4\n client charset = UTF-8\n"
                        f" database = {database}\n {secure}")
        self.environment = {**os.environ, "FREETDSCONF": str(conf), "LC_ALL": "C.UTF-8"}
        self.arguments = ["tsql", "-S", "pair", "-U", login, "-P", password, "-D", database, "-o", "q", "-t", "\x1f"]
        self.query("SELECT 1")
        return self

    def query(self, text, *values, timeout=0):
        # A line `go` would end the batch; no query of the checks has one.
        process = subprocess.run(self.arguments, input=f"{text}\ngo\n", capture_output=True, text=True, env=self.environment,
                              timeout=60)
        errors = re.findall(r"Msg (\d+) \(severity (\d+), state \d+\) from [^\n]*\n\s*\"?([^\n]*)", process.stderr + process.stdout)
        named = [(int(number), message) for number, severity, message in errors if int(severity) > 10]
        if named:
            raise SqlError(*named[0])
        if process.returncode or re.search(r"Error 200\d\d", process.stderr + process.stdout):
            raise Broken((process.stderr + process.stdout).strip()[-300:])
        # tsql exits without output when the connection ends. Every SELECT of the checks has named columns.
        if text.startswith("SELECT") and not process.stdout.strip():
            raise Broken("no response")
        return self.rows(process.stdout)

    @staticmethod
    def rows(text):
        """Groups the rows by their number of fields. A line of one field counts as a row, unless it is a known message."""
        lines = [re.sub(r"^(\d+> )+", "", line) for line in text.splitlines()]
        groups, last = [], 0
        for line in lines:
            fields = tuple(None if field == "NULL" else field for field in line.split("\x1f"))
            if not line or line.startswith(("locale is", "locale charset", "using default", "Setting ", "Default database")):
                continue
            if len(fields) != last:
                groups.append([])
                last = len(fields)
            groups[-1].append(fields)
        return groups

    def close(self):
        self.folder.cleanup()


class Translated:
    """Context manager that translates the exceptions of a client into SqlError or Broken."""

    def __init__(self, kinds, read):
        self.kinds, self.read = kinds, read

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and isinstance(error, self.kinds):
            raise self.read(error) from error
        return False


CLIENTS = [Tsql, Odbc, Pymssql, Pytds]
