//! Every command of a reason page is run in the state that the page is about, and has the effect that the page describes.
//!
//! Each test owns some pages and one simulated pair. It brings the pair and the resource into the state of a page, waits for
//! the reason, runs the commands of the page as printed, and waits for what the page promises. `Reader::finish` fails if a
//! block of the pages was not run. A block in no page of a test fails `page_with_commands_belongs_to_one_test`.

mod block;
mod encryption;
mod login;
mod loss;
mod moves;
mod network;
mod reader;
mod session;

use std::collections::BTreeMap;

use block::{Block, blocks};

/// The pages of each test.
const PAGES: [&[&str]; 13] = [
    session::WITNESS,
    session::LINK,
    login::FILES,
    login::LOGINS,
    loss::FORCED,
    loss::WITH_WITNESS,
    loss::BY_HAND,
    loss::COPIES,
    moves::HELD,
    moves::WAITING,
    moves::RUNNING,
    encryption::PAGES,
    network::PAGES,
];

/// Commands that cannot be run here: page, first line of the block, reason. Every entry must occur.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("reasons/ConnectionRefused", "nc -vz sql-a.contoso.com 1433", IN_A_POD),
    ("reasons/ConnectionTimedOut", "nc -vz -w 5 sql-a.contoso.com 1433", IN_A_POD),
    ("reasons/HostUnreachable", "nc -vz sql-a.contoso.com 1433", IN_A_POD),
    ("reasons/ProtocolError", "nc -vz sql-a.contoso.com 1433", IN_A_POD),
    ("reasons/ResolverSilent", "nslookup sql-a.contoso.com", IN_A_POD),
    ("reasons/ConnectionRefused", "Start-Service 'MSSQL$RTC'", ON_WINDOWS),
    ("reasons/InstanceNotFound", "Start-Service SQLBrowser", ON_WINDOWS),
    ("reasons/ServerPaused", "Resume-Service 'MSSQL$RTC'", ON_WINDOWS),
    ("reasons/IsolatedPrincipal", "Test-NetConnection sql-b.contoso.com -Port 5022", ON_WINDOWS),
    ("reasons/PartnersDisconnected", "Test-NetConnection sql-b.contoso.com -Port 5022", ON_WINDOWS),
    (
        "reasons/ServiceUnknown",
        r#"sqlcmd -S tcp:sql-a.contoso.com\RTC -E -l 10 -d rtcxds -Q "SELECT @@SERVERNAME""#,
        ON_WINDOWS,
    ),
    ("reasons/LoginLocked", "Unlock-ADAccount svc-lync", IN_THE_DOMAIN),
    ("reasons/LoginFailed", "setspn -Q MSSQLSvc/sql-a.contoso.com*", IN_THE_DOMAIN),
    ("reasons/SpnUnknown", "setspn -Q MSSQLSvc/sql-a.contoso.com*", IN_THE_DOMAIN),
    (
        "reasons/NoKerberosCredentials",
        r"ktpass /princ svc-lync@CONTOSO.COM /mapuser CONTOSO\svc-lync /crypto AES256-SHA1 /ptype KRB5_NT_PRINCIPAL /pass * /out svc-lync.keytab",
        IN_THE_DOMAIN,
    ),
    ("reasons/TicketExpired", "Get-ADUser svc-lync -Properties AccountExpirationDate,PasswordExpired", IN_THE_DOMAIN),
    ("reasons/TicketExpired", "w32tm /stripchart /computer:dc1.contoso.com /samples:1 /dataonly", IN_THE_DOMAIN),
    (
        "reasons/MirroringRemoved",
        "Install-CsMirrorDatabase -DatabaseType User -SqlServerFqdn sql-a.contoso.com -SqlInstanceName RTC `",
        OF_LYNC,
    ),
    ("reasons/SecondCentralMgmt", "Get-CsManagementConnection", OF_LYNC),
];

const IN_A_POD: &str = "a tool of an image that the reader chooses, in a Pod: there is no node";
const ON_WINDOWS: &str = "a command of Windows, on a server or a Front End";
const IN_THE_DOMAIN: &str = "a command of Windows against Active Directory";
const OF_LYNC: &str = "a command of the Lync Server Management Shell";

/// Why a block cannot be run.
fn not_run(block: &Block) -> Option<&'static str> {
    let mut entries = NOT_RUN.iter().filter(|(page, line, _)| *page == block.page && *line == block.first_line());
    entries.next().map(|(_, _, reason)| *reason)
}

#[test]
fn page_with_commands_belongs_to_one_test() {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for page in PAGES.iter().copied().flatten() {
        *owners.entry(page).or_default() += 1;
    }
    let all = blocks();
    for block in &all {
        let owners = owners.get(block.page.as_str()).copied().unwrap_or_default();
        let excused = not_run(block).is_some();
        assert!(owners == 1 || (owners == 0 && excused), "{} in {owners} tests: {}", block.page, block.text);
    }
    for (page, line, reason) in NOT_RUN {
        let occurs = all.iter().any(|block| block.page == *page && block.first_line() == *line);
        assert!(occurs, "{page} has no block that starts with {line:?} ({reason}): remove the entry");
    }
    for page in owners.keys() {
        assert!(all.iter().any(|block| block.page == *page), "{page} has no commands: remove it from the test");
    }
}
