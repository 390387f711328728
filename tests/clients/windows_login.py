"""Microsoft's ODBC driver logs on with Kerberos: windows_login.py ADDRESS,PORT SPN. Prints the login as the server knows it."""

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
