//! The differences of two inventories, row by row.

use super::*;

fn texts(a: &ServerInventory, b: &ServerInventory, databases: &[DatabaseName], principal: Seat) -> Vec<String> {
    let found = differences(a, b, databases, principal).into_differences();
    assert_eq!(found.total(), found.texts().len());
    found.texts().to_vec()
}

fn login(sid: u8) -> ServerLogin {
    ServerLogin {
        sid: vec![sid, 1],
        is_sql: true,
        disabled: false,
        default_database: Some("master".to_owned()),
        policy_checked: Some(true),
        server_roles: ["dbcreator".to_owned()].into(),
    }
}

fn copy() -> DatabaseCopy {
    DatabaseCopy {
        owner_sid: vec![1],
        owner: Some("sa".to_owned()),
        trustworthy: false,
        chaining: false,
        compatibility: 110,
    }
}

fn both() -> ServerInventory {
    ServerInventory {
        version: "11.0.7001.0".to_owned(),
        logins: [("backup".to_owned(), login(7))].into(),
        jobs: [("nightly".to_owned(), true)].into(),
        copies: [(DatabaseName::new("rtcxds"), copy())].into(),
        ..ServerInventory::default()
    }
}

type Row = (fn(&mut ServerInventory), &'static [&'static str]);

fn assert_one_message_each(rows: &[Row]) {
    for (change, parts) in rows {
        let mut mirror = both();
        change(&mut mirror);
        let messages = texts(&both(), &mirror, &[DatabaseName::new("rtcxds")], Seat::Primary);
        assert_eq!(messages.len(), 1, "{messages:?}");
        let message = &messages[0];
        parts.iter().for_each(|part| assert!(message.contains(part), "{message} lacks {part:?}"));
        assert!(message.contains(". To fix: ") && message.ends_with('.'), "{message}");
    }
}

#[test]
fn differences_of_equal_servers_is_empty() {
    assert_eq!(texts(&both(), &both(), &[DatabaseName::new("rtcxds")], Seat::Primary), Vec::<String>::new());
}

#[test]
fn differences_has_one_message_per_login() {
    assert_one_message_each(&[
        (
            |inventory| inventory.logins.clear(),
            &[
                "Risk: Login backup is missing on the mirror",
                "CREATE LOGIN [backup] WITH PASSWORD = <hash> HASHED, SID = 0x0701",
                "sp_help_revlogin prints on the primary",
                "server roles dbcreator",
            ],
        ),
        (
            |inventory| _ = inventory.logins.insert("x]y".to_owned(), login(2)),
            &["x]y is missing on the primary", "[x]]y]", "sp_help_revlogin prints on the mirror"],
        ),
        (
            |inventory| _ = inventory.logins.insert("backup".to_owned(), login(8)),
            &[
                "Risk: Login backup has another SID on the mirror",
                "DROP LOGIN [backup]",
                "SID = 0x0701",
                "roles dbcreator",
            ],
        ),
        (
            |inventory| inventory.logins.values_mut().for_each(|value| value.disabled = true),
            &["disabled on the mirror only"],
        ),
        (
            |inventory| rename(inventory, "backup", "archive"),
            &["Note: Login backup of the primary has the name archive", "ALTER LOGIN [archive] WITH NAME = [backup]"],
        ),
        (
            |inventory| inventory.logins.values_mut().for_each(|value| value.server_roles.clear()),
            &["Risk: Login backup lacks the server roles dbcreator on the mirror"],
        ),
        (
            |inventory| inventory.logins.values_mut().for_each(|value| value.default_database = Some("rtc".to_owned())),
            &["Note: The default database of login backup is master on the primary and rtc on the mirror"],
        ),
        (
            |inventory| inventory.logins.values_mut().for_each(|value| value.policy_checked = Some(false)),
            &["Note: CHECK_POLICY of login backup is ON on the primary and OFF on the mirror"],
        ),
        (
            |inventory| _ = inventory.logins.insert("CONTOSO\\x".to_owned(), ServerLogin { is_sql: false, ..login(5) }),
            &["CREATE LOGIN [CONTOSO\\x] FROM WINDOWS."],
        ),
    ]);
}

#[test]
fn differences_has_one_message_per_other_difference() {
    assert_one_message_each(&[
        (
            |inventory| {
                inventory
                    .copies
                    .values_mut()
                    .for_each(|value| (value.owner_sid, value.owner) = (vec![9], Some("dba".to_owned())))
            },
            &["on the mirror is owned by dba, the other by sa"],
        ),
        (|inventory| inventory.jobs.clear(), &["Agent job nightly is missing or disabled on the mirror"]),
        (
            |inventory| _ = inventory.linked_servers.insert("DW".to_owned()),
            &["Linked server DW is missing on the primary"],
        ),
        (|inventory| inventory.version = "11.0.6020.0".to_owned(), &["11.0.7001.0", "11.0.6020.0 on the mirror"]),
        (
            |inventory| {
                inventory.copies.values_mut().for_each(|value| (value.owner_sid, value.owner) = (vec![9], None))
            },
            &[
                "The copy of rtcxds on the mirror is owned by 0x09 (no login), the other by sa",
                "DATABASE::[rtcxds] TO [sa]",
            ],
        ),
        (
            |inventory| inventory.copies.values_mut().for_each(|value| value.trustworthy = true),
            &["Note: TRUSTWORTHY of rtcxds is OFF on the primary"],
        ),
        (
            |inventory| inventory.copies.values_mut().for_each(|value| value.compatibility = 100),
            &["110 on the primary and 100 on the mirror"],
        ),
    ]);
}

fn rename(inventory: &mut ServerInventory, from: &str, to: &str) {
    let login = inventory.logins.remove(from).unwrap();
    inventory.logins.insert(to.to_owned(), login);
}

#[test]
fn differences_accuses_no_login_wrongly() {
    let found = |change: fn(&mut ServerInventory, &mut ServerInventory)| {
        let (mut primary, mut mirror) = (both(), both());
        change(&mut primary, &mut mirror);
        texts(&primary, &mirror, &[DatabaseName::new("rtcxds")], Seat::Primary)
    };
    type Row = (&'static str, fn(&mut ServerInventory, &mut ServerInventory));
    let rows: [Row; 6] = [
        ("the login of the operator, with another SID", |a, b| {
            (a.own_login, b.own_login) = ("lync_mirror".to_owned(), "Lync_Mirror".to_owned());
            a.logins.insert("lync_mirror".to_owned(), login(3));
            b.logins.insert("lync_mirror".to_owned(), login(4));
        }),
        ("a renamed sa", |a, b| {
            a.logins.insert("sa".to_owned(), ServerLogin { sid: vec![1], ..login(1) });
            b.logins.insert("admin".to_owned(), ServerLogin { sid: vec![1], disabled: true, ..login(1) });
        }),
        ("names in another case", |_, b| rename(b, "backup", "BACKUP")),
        ("Windows names in another case", |a, b| {
            a.logins.insert("Contoso\\x".to_owned(), ServerLogin { is_sql: false, ..login(5) });
            b.logins.insert("CONTOSO\\x".to_owned(), ServerLogin { is_sql: false, ..login(5) });
        }),
        ("an owner that the server does not show", |a, b| {
            a.copies.values_mut().for_each(|copy| copy.owner_sid.clear());
            b.copies.values_mut().for_each(|copy| copy.owner_sid = vec![9]);
        }),
        ("a SID that the server does not show", |a, _| {
            a.logins.values_mut().for_each(|login| login.sid.clear());
        }),
    ];
    for (name, change) in rows {
        assert_eq!(found(change), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn differences_of_a_sid_advise_the_sid_of_the_principal() {
    let mut mirror = both();
    mirror.logins.insert("backup".to_owned(), login(8));
    let messages = texts(&both(), &mirror, &[], Seat::Mirror);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("another SID on the primary"), "{messages:?}");
    assert!(
        messages[0].contains("SID = 0x0801, with the hash that sp_help_revlogin prints on the mirror"),
        "{messages:?}"
    );
}

#[test]
fn differences_ignores_databases_outside_the_list() {
    let mut mirror = both();
    mirror.copies.values_mut().for_each(|value| value.trustworthy = true);
    assert!(texts(&both(), &mirror, &[DatabaseName::new("other")], Seat::Primary).is_empty());
}

#[test]
fn differences_of_two_logins_are_separate_sentences_with_quoted_names() {
    let mut mirror = both();
    mirror.logins.clear();
    let mut primary = both();
    primary.logins.insert("x".repeat(128), login(9));
    let all = texts(&primary, &mirror, &[], Seat::Primary);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|message| message.ends_with('.') && message.contains(" [")), "{all:?}");
}

#[test]
fn differences_are_sorted_by_risk() {
    let mut mirror = both();
    mirror.jobs.clear();
    mirror.logins.values_mut().for_each(|login| login.policy_checked = Some(false));
    let all = texts(&both(), &mirror, &[], Seat::Primary);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].starts_with("Risk: Agent job nightly") && all[1].starts_with("Note: CHECK_POLICY"), "{all:?}");
}

#[test]
fn differences_of_a_login_without_server_roles_names_none() {
    let mut primary = both();
    primary.logins.insert("reader".to_owned(), ServerLogin { server_roles: BTreeSet::new(), ..login(9) });
    let all = texts(&primary, &both(), &[], Seat::Primary);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("Login reader is missing") && !all[0].contains("server roles"), "{all:?}");
}

fn many(count: u32, prefix: &str) -> ServerInventory {
    let logins = (0..count).map(|number| {
        let sid = number.to_be_bytes().to_vec();
        (format!("{prefix}{number:05}"), ServerLogin { sid, ..login(0) })
    });
    ServerInventory { logins: logins.collect(), ..ServerInventory::default() }
}

/// A search of every login of the other server for each login would take minutes.
#[test]
fn differences_of_many_logins_under_other_names_are_found() {
    let all = differences(&many(50_000, "old"), &many(50_000, "new"), &[], Seat::Primary).into_differences();
    assert_eq!(all.total(), 50_000);
    for (number, text) in all.texts().iter().enumerate() {
        let names = format!("Note: Login old{number:05} of the primary has the name new{number:05} on the mirror");
        assert!(text.starts_with(&names), "{text}");
    }
}

#[test]
fn differences_of_a_sid_with_two_names_name_the_first() {
    let mut mirror = both();
    mirror.logins = ["b", "a", "c"].map(|name| (name.to_owned(), login(7))).into();
    let all = texts(&both(), &mirror, &[], Seat::Primary);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("Login backup of the primary has the name a on the mirror"), "{all:?}");
}

#[test]
fn differences_of_many_missing_logins_keep_the_limit_and_count_all() {
    let mut primary = many(30_000, "login");
    primary.version = "10.50.6000.34".to_owned();
    let all = differences(&primary, &ServerInventory::default(), &[], Seat::Primary).into_differences();
    assert_eq!((all.total(), all.texts().len()), (30_001, Differences::MOST));
    assert!(all.texts()[49].starts_with("Risk: Login login00049 is missing on the mirror"), "{}", all.texts()[49]);
}

#[test]
fn differences_with_risks_after_many_notes_keep_the_risks() {
    let (mut primary, mirror) = (many(100, "old"), many(100, "new"));
    primary.jobs = both().jobs;
    primary.linked_servers.insert("DW".to_owned());
    let all = differences(&primary, &mirror, &[], Seat::Primary).into_differences();
    assert_eq!((all.total(), all.texts().len()), (102, Differences::MOST));
    let starts = ["Risk: Agent job nightly", "Risk: Linked server DW", "Note: Login old00000"];
    assert!(all.texts().iter().zip(starts).all(|(text, start)| text.starts_with(start)), "{all:?}");
}

#[test]
fn differences_of_a_login_with_many_roles_or_a_long_sid_are_cut() {
    let mut primary = many(2, "login");
    let logins = &mut primary.logins;
    logins.get_mut("login00000").unwrap().server_roles = (0..30_000).map(|number| format!("role{number}")).collect();
    logins.get_mut("login00001").unwrap().sid = vec![9; 65_536];
    let all = differences(&primary, &ServerInventory::default(), &[], Seat::Primary).into_differences();
    assert_eq!(all.texts().len(), 2);
    // An ellipsis marks what was cut.
    assert!(all.texts().iter().all(|text| text.chars().count() == Differences::LONGEST + 1), "{all:?}");
}

/// The notes of the first servers must not hide a risk of the next ones.
#[test]
fn differences_of_two_pairs_have_the_risks_of_both_first() {
    let mut found = Found::default();
    (0..60).for_each(|number| found.note(|| number.to_string()));
    let mut next = Found::default();
    next.risk(|| "Login rtc is missing.".to_owned());
    found.append(next);
    let all = found.into_differences();
    assert_eq!((all.total(), all.texts()[0].as_str()), (61, "Risk: Login rtc is missing."));
}
