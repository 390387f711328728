"""Logs in with Kerberos through Microsoft's ODBC driver: windows_login.py ADDRESS,PORT SPN. Prints the login name on the server."""

import sys

import drivers


def main(server, spn):
    driver = drivers.Odbc()
    text = (
        f"Driver={{{driver.library}}};Server={server};ServerSPN={spn};Trusted_Connection=yes;"
        "Encrypt=yes;TrustServerCertificate=yes;LoginTimeout=10"
    )
    try:
        connection = driver.odbc.connect(text, autocommit=True, timeout=10)
    except driver.kinds as error:
        sys.exit(f"refused: {error}")
    print(connection.cursor().execute("SELECT SUSER_SNAME()").fetchone()[0])


main(*sys.argv[1:])
