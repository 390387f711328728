//! Statements of administrators: logins, roles, permissions, owners, endpoints, restore and backup. The engine
//! executes them. An option that is not listed here is a syntax error.

use super::parse::{Parsed, Parser};
use super::syntax::{SessionStatement, Statement};
use super::token::Token;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointChange {
    Started,
    Stopped,
    Disabled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administration {
    /// Without a password a Windows login.
    CreateLogin {
        name: String,
        password: Option<String>,
        sid: Option<Vec<u8>>,
    },
    DropLogin(String),
    EnableLogin {
        name: String,
        enabled: bool,
    },
    SetPassword {
        name: String,
        password: String,
        unlock: bool,
    },
    RoleMember {
        role: String,
        login: String,
        add: bool,
    },
    Grant {
        permission: String,
        login: String,
    },
    DatabaseOwner {
        database: String,
        login: String,
    },
    SetEndpoint {
        name: String,
        state: EndpointChange,
    },
    RestoreWithRecovery(String),
    BackupLog {
        database: String,
        file: String,
        no_recovery: bool,
        no_truncate: bool,
    },
    BackupDatabase {
        database: String,
        file: String,
    },
    /// WITH NORECOVERY.
    RestoreLog {
        database: String,
        file: String,
    },
    RenameDatabase {
        database: String,
        name: String,
    },
    CheckDatabase(String),
    /// The id of a session.
    Kill(i64),
    /// A trigger of the server.
    DisableTrigger(String),
    /// CHECK_EXPIRATION of a login.
    CheckExpiration {
        name: String,
        on: bool,
    },
}

/// Permissions of `GRANT ... TO login`.
const PERMISSIONS: [&str; 4] = ["VIEW SERVER STATE", "VIEW ANY DATABASE", "ALTER ANY DATABASE", "VIEW ANY DEFINITION"];

pub(super) fn done_with(change: Administration) -> Parsed<Statement> {
    Ok(SessionStatement::Administer(change).into())
}

impl Parser {
    pub(super) fn text(&mut self) -> Parsed<String> {
        match self.next_token() {
            Token::Text(text) => Ok(text),
            other => Err(other.source_text()),
        }
    }

    pub(super) fn create(&mut self) -> Parsed<Statement> {
        self.expect_keyword("login")?;
        let name = self.name()?;
        let (mut password, mut sid) = (None, None);
        if self.eat_keyword("from") {
            self.expect_keyword("windows")?;
            if self.eat_keyword("with") {
                self.default_database()?;
            }
            return done_with(Administration::CreateLogin { name, password, sid });
        }
        self.expect_keyword("with")?;
        self.expect_keyword("password")?;
        self.expect("=")?;
        password = Some(self.password()?);
        while self.eat(",") {
            match self.name()?.to_lowercase().as_str() {
                "sid" => {
                    self.expect("=")?;
                    let Token::Bytes(bytes) = self.next_token() else { return self.syntax_error() };
                    sid = Some(bytes);
                }
                "check_policy" | "check_expiration" => {
                    self.expect("=")?;
                    if !self.eat_keyword("on") {
                        self.expect_keyword("off")?;
                    }
                }
                "default_database" => {
                    self.expect("=")?;
                    self.master()?;
                }
                other => return Err(other.to_owned()),
            }
        }
        done_with(Administration::CreateLogin { name, password, sid })
    }

    /// A password, or `0x... HASHED`. The simulation computes no hashes: no password matches one.
    fn password(&mut self) -> Parsed<String> {
        match self.next_token() {
            Token::Text(text) => Ok(text),
            Token::Bytes(_) => {
                self.expect_keyword("hashed")?;
                Ok("\0".to_owned())
            }
            other => Err(other.source_text()),
        }
    }

    fn default_database(&mut self) -> Parsed<()> {
        self.expect_keyword("default_database")?;
        self.expect("=")?;
        self.master()
    }

    /// The simulation has no default databases of logins other than master.
    fn master(&mut self) -> Parsed<()> {
        let name = self.name()?;
        if name.eq_ignore_ascii_case("master") { Ok(()) } else { Err(name) }
    }

    pub(super) fn drop_login(&mut self) -> Parsed<Statement> {
        self.expect_keyword("login")?;
        done_with(Administration::DropLogin(self.name()?))
    }

    pub(super) fn alter_login(&mut self) -> Parsed<Statement> {
        let name = self.name()?;
        if self.eat_keyword("enable") {
            return done_with(Administration::EnableLogin { name, enabled: true });
        }
        if self.eat_keyword("disable") {
            return done_with(Administration::EnableLogin { name, enabled: false });
        }
        self.expect_keyword("with")?;
        if self.eat_keyword("check_expiration") {
            self.expect("=")?;
            let on = self.eat_keyword("on");
            if !on {
                self.expect_keyword("off")?;
            }
            return done_with(Administration::CheckExpiration { name, on });
        }
        self.expect_keyword("password")?;
        self.expect("=")?;
        let password = self.text()?;
        let unlock = self.eat_keyword("unlock");
        done_with(Administration::SetPassword { name, password, unlock })
    }

    /// `ALTER SERVER ROLE role ADD MEMBER login`.
    pub(super) fn alter_server_role(&mut self) -> Parsed<Statement> {
        self.expect_keyword("role")?;
        let role = self.name()?;
        let add = self.eat_keyword("add");
        if !add {
            self.expect_keyword("drop")?;
        }
        self.expect_keyword("member")?;
        done_with(Administration::RoleMember { role, login: self.name()?, add })
    }

    /// `EXEC sp_addsrvrolemember 'login', 'role'`, with or without the names of the parameters.
    pub(super) fn server_role_procedure(&mut self, add: bool) -> Parsed<Statement> {
        let login = self.argument("loginame")?;
        self.expect(",")?;
        let role = self.argument("rolename")?;
        done_with(Administration::RoleMember { role, login, add })
    }

    fn argument(&mut self, name: &str) -> Parsed<String> {
        if let Token::Var(given) = self.peek().clone() {
            if given != name {
                return self.syntax_error();
            }
            self.at += 1;
            self.expect("=")?;
        }
        match self.next_token() {
            Token::Text(text) | Token::Word(text) | Token::Name(text) => Ok(text),
            other => Err(other.source_text()),
        }
    }

    pub(super) fn grant(&mut self) -> Parsed<Statement> {
        let mut words = vec![self.name()?.to_uppercase()];
        while !self.is_keyword("to") {
            words.push(self.name()?.to_uppercase());
        }
        self.expect_keyword("to")?;
        let permission = words.join(" ");
        if !PERMISSIONS.contains(&permission.as_str()) {
            return Err(permission);
        }
        done_with(Administration::Grant { permission, login: self.name()? })
    }

    /// `ALTER AUTHORIZATION ON DATABASE::name TO login`.
    pub(super) fn alter_authorization(&mut self) -> Parsed<Statement> {
        self.expect_keyword("on")?;
        self.expect_keyword("database")?;
        self.expect(":")?;
        self.expect(":")?;
        let database = self.name()?;
        self.expect_keyword("to")?;
        done_with(Administration::DatabaseOwner { database, login: self.name()? })
    }

    /// `ALTER ENDPOINT name STATE = STARTED`.
    pub(super) fn alter_endpoint(&mut self) -> Parsed<Statement> {
        let name = self.name()?;
        self.expect_keyword("state")?;
        self.expect("=")?;
        let state = match self.name()?.to_lowercase().as_str() {
            "started" => EndpointChange::Started,
            "stopped" => EndpointChange::Stopped,
            "disabled" => EndpointChange::Disabled,
            other => return Err(other.to_owned()),
        };
        done_with(Administration::SetEndpoint { name, state })
    }
}
