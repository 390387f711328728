//! The errors with which a server answers a login: their causes and sentences. Only some refuse the credentials; the
//! others describe the state of the server (learn.microsoft.com, "Database engine events and errors").

use secrecy::ExposeSecret;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::Authentication;
use crate::sql::error::{numbered, unavailable};

pub fn explain(address: &str, login: &Authentication, number: u32, text: &str) -> Unavailable {
    let cause = cause(number);
    let detail = match cause {
        UnavailableCause::LoginFailed | UnavailableCause::LoginLocked | UnavailableCause::PasswordExpired => format!(
            "{address} refused the login {:?} with error {number}: {}.{}",
            login.username(),
            refusal(number, login),
            spaces(number, login)
        ),
        UnavailableCause::LoginError => {
            format!("{address} did not complete the login and answered with {}.", numbered(number, text))
        }
        _ => format!("{address} accepts no login (error {number}): {}", state(number)),
    };
    unavailable(cause, detail)
}

/// The state of the server that explains why it ended the connection without a login. None: no message names one.
pub fn explain_end(address: &str, login: &Authentication, messages: &[(u32, String)]) -> Option<Unavailable> {
    let (number, text) = messages.iter().find(|(number, _)| cause(*number) != UnavailableCause::LoginError)?;
    Some(explain(address, login, *number, text))
}

fn cause(number: u32) -> UnavailableCause {
    match number {
        18450 | 18452 | 18456 | 18471 => UnavailableCause::LoginFailed,
        18470 | 18486 => UnavailableCause::LoginLocked,
        18487 | 18488 => UnavailableCause::PasswordExpired,
        17187 | 18401 => UnavailableCause::ServerStarting,
        6005 | 18451 => UnavailableCause::ServerStopping,
        17142 => UnavailableCause::ServerPaused,
        18461 => UnavailableCause::SingleUser,
        17892 => UnavailableCause::LogonTriggerFailed,
        17809 | 18458 | 18459 => UnavailableCause::ConnectionLimit,
        _ => UnavailableCause::LoginError,
    }
}

/// The state of a server that refuses every login, as the end of a message.
fn state(number: u32) -> &'static str {
    match number {
        17187 => "SQL Server is starting.",
        18401 => "SQL Server runs its upgrade scripts, as after the installation of an update.",
        6005 | 18451 => "SQL Server is shutting down.",
        17142 => {
            "the SQL Server service is paused. To fix: continue the SQL Server service there (Resume-Service in PowerShell)."
        }
        18461 => {
            "SQL Server runs in single-user mode and another session has the only connection. The operator retries rarely. To fix: end that maintenance, or set spec.suspend.stopPolls until it ends."
        }
        17892 => "a logon trigger refused the login. To fix: exempt the login from the trigger.",
        _ => "the maximum number of connections is reached. To fix: close idle sessions there.",
    }
}

/// Why the server refused the credentials.
fn refusal(number: u32, login: &Authentication) -> &'static str {
    let windows = matches!(login, Authentication::Kerberos(_));
    match number {
        18456 if windows => "the account has no login on the server, or it may not connect",
        18452 if windows => {
            "the server could not decrypt the ticket, because its SPN is registered for another account, its domain does not trust this one, or the clocks differ"
        }
        18456 => "the name or the password is wrong, or the login may not connect",
        18470 => "the login is disabled",
        18486 => "the login is locked out",
        18487 => "the password has expired",
        18488 => "the password must be changed first",
        _ => "the server accepts Windows logins only, or the login is from an untrusted domain",
    }
}

/// A hint at white space around the credentials, a frequent error in a Secret. It never contains the value.
fn spaces(number: u32, login: &Authentication) -> String {
    let Authentication::SqlLogin { username, password } = login else { return String::new() };
    let found = [("username", username.as_str()), ("password", password.expose_secret())].map(|(key, value)| {
        let ends = |end: Option<char>| match end {
            Some('\n' | '\r') => Some("a line break"),
            Some(c) if c.is_whitespace() => Some("a space"),
            _ => None,
        };
        let first = ends(value.chars().next()).map(|what| format!("the {key} starts with {what}"));
        first.or_else(|| ends(value.chars().next_back()).map(|what| format!("the {key} ends with {what}")))
    });
    let found: Vec<String> = found.into_iter().flatten().collect();
    if found.is_empty() || number != 18456 {
        return String::new();
    }
    format!(" In the Secret, {}. To fix: remove it if it is not part of the value.", found.join(" and "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sql::Account;

    fn login(username: &str, password: &str) -> Authentication {
        Authentication::SqlLogin { username: username.into(), password: password.into() }
    }

    #[test]
    fn explain_distinguishes_a_refusal_from_the_state_of_the_server() {
        let table = [
            (18456, UnavailableCause::LoginFailed, "the name or the password is wrong"),
            (18452, UnavailableCause::LoginFailed, "Windows logins only"),
            (18450, UnavailableCause::LoginFailed, "Windows logins only"),
            (18470, UnavailableCause::LoginLocked, "disabled"),
            (18486, UnavailableCause::LoginLocked, "locked out"),
            (18487, UnavailableCause::PasswordExpired, "expired"),
            (18488, UnavailableCause::PasswordExpired, "must be changed"),
            (17187, UnavailableCause::ServerStarting, "is starting"),
            (18401, UnavailableCause::ServerStarting, "upgrade scripts"),
            (6005, UnavailableCause::ServerStopping, "shutting down"),
            (18451, UnavailableCause::ServerStopping, "shutting down"),
            (17142, UnavailableCause::ServerPaused, "paused"),
            (18461, UnavailableCause::SingleUser, "single-user mode"),
            (17892, UnavailableCause::LogonTriggerFailed, "logon trigger"),
            (17809, UnavailableCause::ConnectionLimit, "maximum number"),
            (18458, UnavailableCause::ConnectionLimit, "maximum number"),
            (4060, UnavailableCause::LoginError, "answered with error 4060: Text of the server."),
            (50_000, UnavailableCause::LoginError, "error 50000: Text"),
        ];
        for (number, cause, words) in table {
            let unavailable = explain("a,1", &login("lync", "x"), number, "Text of the server.\r\n");
            assert_eq!(unavailable.cause, cause, "{number}");
            assert!(unavailable.detail.contains(words), "{}", unavailable.detail);
            assert!(unavailable.detail.contains(&number.to_string()), "{}", unavailable.detail);
            assert!(unavailable.detail.ends_with('.') && !unavailable.detail.contains(['\r', '\n']), "{unavailable:?}");
        }
    }

    #[test]
    fn explain_of_a_windows_login_names_the_account_or_the_ticket() {
        let account = Arc::new(Account::new("svc-lync@CONTOSO.COM", Vec::new(), Vec::new()).unwrap());
        let table = [
            (18456, "the account has no login on the server, or it may not connect."),
            (18452, "the server could not decrypt the ticket, because its SPN is registered for another account"),
            (18470, "the login is disabled."),
        ];
        for (number, words) in table {
            let detail = explain("a,1", &Authentication::Kerberos(account.clone()), number, "").detail;
            assert!(detail.contains(words) && detail.contains("svc-lync@CONTOSO.COM"), "{detail}");
        }
    }

    #[test]
    fn explain_names_white_space_around_the_credentials() {
        let detail = |username, password| explain("a,1", &login(username, password), 18456, "").detail;
        assert!(detail("lync", "hunter2\n").contains("the password ends with a line break"));
        assert!(detail(" lync", "hunter2").contains("the username starts with a space"));
        assert!(!detail("lync", "hunter2\n").contains("hunter2"));
        assert!(!detail("lync", "hunt er2").contains("In the Secret"));
    }
}
