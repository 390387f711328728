"""The clients: how each connects, asks and reports an error. What is asked lives in checks."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import tempfile

# FreeTDS: without a word of it, the login is encrypted if the server can.
ENCRYPTION = {"off": "off", "login": None, "full": "require"}


class SqlError(Exception):
    """An error that the server named."""

    def __init__(self, number, text):
        super().__init__(f"{number}: {text}")
        self.number = number


class Broken(Exception):
    """The connection ended, or could not be made."""


def results(cursor):
    """All that a DB-API cursor has to give, a list a result set."""
    all_of_them = []
    while True:
        if cursor.description:
            all_of_them.append([tuple(row) for row in cursor.fetchall()])
        if not cursor.nextset():
            return all_of_them


class Driver:
    """What the clients with a DB-API have in common; their exceptions are read by `read`."""

    def errors(self):
        return translated(self.kinds, self.read)

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
        # The first message of the server ends in its number and the function's name.
        numbers = [int(number) for number in re.findall(r"\[SQL Server\].*?\((\d+)\) \(SQL\w+\)", text, re.S)]
        return SqlError(numbers[0], text) if numbers and error.args[0] != "08S01" else Broken(text)

    def ask(self, text, *values, timeout=0):
        with self.errors():
            self.connection.timeout = timeout
            cursor = self.connection.cursor()
            cursor.execute(text, *values) if values else cursor.execute(text)
            return results(cursor)


class Pymssql(Driver):
    """pymssql, with the FreeTDS that it carries."""

    name = "pymssql"
    # Its parameters are put into the text by the client, so there is no statement to try.
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
        # DB-Library's own numbers are 20000 and more; a refused login ends with one, after the server's.
        named = re.search(r"\b(18456|4060|954|955)\b", text)
        if isinstance(number, int) and (number < 20000 or number == 50000) and number:
            return SqlError(number, text)
        return SqlError(int(named[1]), text) if named else Broken(f"{number} {text}")

    def ask(self, text, *values, timeout=0):
        with self.errors():
            cursor = self.connection.cursor()
            cursor.execute(text)
            return results(cursor)


class Pytds(Driver):
    """python-tds, a client in Python alone."""

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

    def ask(self, text, *values, timeout=0):
        with self.errors():
            cursor = self.connection.cursor()
            cursor.execute(text, values) if values else cursor.execute(text)
            return results(cursor)


class Tsql:
    """FreeTDS' tsql: each `ask` is a session of its own, read as text."""

    name = "freetds"
    parameters = cancels = partner = False
    keeps = "first"

    def __init__(self):
        said = subprocess.run(["tsql", "-C"], capture_output=True, text=True, check=True).stdout
        self.version = re.search(r"freetds v([\d.]+)", said)[1]

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
        self.ask("SELECT 1")
        return self

    def ask(self, text, *values, timeout=0):
        # `go` on a line of its own would end the batch: no text that is asked here has one.
        said = subprocess.run(self.arguments, input=f"{text}\ngo\n", capture_output=True, text=True, env=self.environment,
                              timeout=60)
        errors = re.findall(r"Msg (\d+) \(severity (\d+), state \d+\) from [^\n]*\n\s*\"?([^\n]*)", said.stderr + said.stdout)
        named = [(int(number), words) for number, severity, words in errors if int(severity) > 10]
        if named:
            raise SqlError(*named[0])
        if said.returncode or re.search(r"Error 200\d\d", said.stderr + said.stdout):
            raise Broken((said.stderr + said.stdout).strip()[-300:])
        # It ends in silence when the connection does: every SELECT that is asked here has columns to name.
        if text.startswith("SELECT") and not said.stdout.strip():
            raise Broken("the answer is missing")
        return self.rows(said.stdout)

    @staticmethod
    def rows(text):
        """Every line of fields is a row. A row of one field is known only where nothing else has a line of its own."""
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


class translated:
    """Turns a client's own exceptions into ours."""

    def __init__(self, kinds, read):
        self.kinds, self.read = kinds, read

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and isinstance(error, self.kinds):
            raise self.read(error) from error
        return False


CLIENTS = [Tsql, Odbc, Pymssql, Pytds]
