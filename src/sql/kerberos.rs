//! Windows logins by keytab. The operator starts one helper process (`kerberos_helper`) for each login, kills the
//! process after a deadline and translates its errors.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::process::Signal;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::Target;
use crate::sql::account::Account;
use crate::sql::cleaned::sentence;
use crate::sql::error::{is_operator_limited, operator_limited, unavailable};
use crate::sql::helper_sandbox;
use crate::sql::kerberos_helper::{GssError, Request, Response};
use crate::sql::shares::Share;

/// A login in progress. Dropping the handshake kills the helper.
pub struct Handshake {
    helper: Child,
    requests: ChildStdin,
    responses: Lines<BufReader<ChildStdout>>,
    _shares: (Share, Share),
}

/// The SPN of the instance in Active Directory. The port is always part of it, also for a named instance.
fn spn(target: &Target, account: &Account, port: u16) -> String {
    format!("MSSQLSvc/{}:{port}@{}", target.host.trim_end_matches('.'), account.realm())
}

impl Handshake {
    /// Starts a helper and returns the token for LOGIN7.
    ///
    /// # Errors
    /// The cause for which no ticket was issued.
    pub async fn begin(
        target: &Target,
        account: &Account,
        port: u16,
        shares: (Share, Share),
    ) -> Result<(Handshake, Vec<u8>), Unavailable> {
        let broken = |what: &dyn std::fmt::Display| no_helper(target, what);
        let program = std::env::current_exe().map_err(|e| broken(&e))?;
        let mut helper = Command::new(program)
            .arg("ticket")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| if is_operator_limited(&e) { operator_limited(&target.address(), &e) } else { broken(&e) })?;
        let (Some(requests), Some(responses)) = (helper.stdin.take(), helper.stdout.take()) else {
            return Err(broken(&"no standard input and output"));
        };
        let mut handshake =
            Handshake { helper, requests, responses: BufReader::new(responses).lines(), _shares: shares };
        let spn = spn(target, account, port);
        let request = Request {
            keytab: account.keytab.expose_secret().to_vec(),
            config: account.config(),
            principal: account.principal().to_owned(),
            spn: spn.clone(),
        };
        match handshake.exchange(target, &request).await? {
            Response::Token { token, landlock } => {
                helper_sandbox::report(landlock);
                Ok((handshake, token))
            }
            Response::GssError(error) => Err(explain(target, account, &spn, &error)),
            Response::OperatorLimited(number) => Err(lacking(target, number)),
            Response::ServerVerified => Err(broken(&"a response out of order")),
        }
    }

    /// Verifies with the token of its response that the server holds the key of the SPN (mutual authentication).
    ///
    /// # Errors
    /// `ProtocolError` if the server did not prove its identity.
    pub async fn verify_server(mut self, target: &Target, answer: Option<Vec<u8>>) -> Result<(), Unavailable> {
        let address = target.address();
        let unverified = |why: &str| {
            let detail = format!("{address} accepted the login but did not prove its identity: {why}.");
            unavailable(UnavailableCause::ProtocolError, detail)
        };
        let answer = answer.ok_or_else(|| unverified("the response contains no Kerberos token"))?;
        match self.exchange(target, &answer).await? {
            Response::ServerVerified => Ok(()),
            Response::GssError(error) => Err(unverified(&error.text)),
            Response::OperatorLimited(number) => Err(lacking(target, number)),
            Response::Token { .. } => Err(unverified("the server requested another Kerberos exchange")),
        }
    }

    async fn exchange(&mut self, target: &Target, request: &impl serde::Serialize) -> Result<Response, Unavailable> {
        let mut line = serde_json::to_vec(request).map_err(|e| no_helper(target, &e))?;
        line.push(b'\n');
        // The exit status of a dead helper is more precise than a broken pipe.
        let _ = self.requests.write_all(&line).await;
        line.zeroize();
        match self.responses.next_line().await {
            Ok(Some(response)) => serde_json::from_str(&response).map_err(|e| no_helper(target, &e)),
            Ok(None) => match self.helper.wait().await {
                Ok(status) => Err(ended(target, status)),
                Err(error) => Err(no_helper(target, &error)),
            },
            Err(error) => Err(no_helper(target, &error)),
        }
    }
}

fn no_helper(target: &Target, what: &dyn std::fmt::Display) -> Unavailable {
    let detail = format!(
        "No Kerberos ticket for {}: the helper process (lync-mirror ticket) failed with {what}.",
        target.address()
    );
    unavailable(UnavailableCause::NoKerberosCredentials, detail)
}

/// The exit code with which the loader ends a program whose libraries it cannot open.
const NOT_LOADED: i32 = 127;

/// The helper ended without a response.
fn ended(target: &Target, status: ExitStatus) -> Unavailable {
    // The operator itself kills a helper only where nothing waits for it any more.
    let (what, fix) = if status.signal() == Some(Signal::KILL.as_raw()) {
        ("was killed, as the kernel does where memory is short", "raise the memory limit of the operator's Pod")
    } else if status.code() == Some(NOT_LOADED) {
        ("could not open its libraries", "check the limits of open files of the operator's Pod and of its node")
    } else {
        return no_helper(target, &status);
    };
    let detail = format!(
        "The helper process (lync-mirror ticket) for the login to {} {what}. This proves nothing about the server. To fix: {fix}.",
        target.address()
    );
    unavailable(UnavailableCause::OperatorLimited, detail)
}

/// The helper lacks what this number of the system names.
fn lacking(target: &Target, number: i32) -> Unavailable {
    operator_limited(&target.address(), &io::Error::from_raw_os_error(number))
}

/// Numbers of `krb5.h`.
mod code {
    pub const NAME_EXP: i32 = -1_765_328_383;
    pub const C_PRINCIPAL_UNKNOWN: i32 = -1_765_328_378;
    pub const S_PRINCIPAL_UNKNOWN: i32 = -1_765_328_377;
    pub const NEVER_VALID: i32 = -1_765_328_373;
    pub const CLIENT_REVOKED: i32 = -1_765_328_366;
    pub const KEY_EXP: i32 = -1_765_328_361;
    pub const PREAUTH_FAILED: i32 = -1_765_328_360;
    pub const BAD_INTEGRITY: i32 = -1_765_328_353;
    pub const TKT_EXPIRED: i32 = -1_765_328_352;
    pub const TKT_NYV: i32 = -1_765_328_351;
    pub const SKEW: i32 = -1_765_328_347;
    pub const KDCREP_SKEW: i32 = -1_765_328_236;
    pub const REALM_UNKNOWN: i32 = -1_765_328_230;
    pub const KDC_UNREACH: i32 = -1_765_328_228;
    /// The only cache is the one that the keytab fills, so this means an unusable keytab.
    pub const CC_NOTFOUND: i32 = -1_765_328_243;
    pub const KT_NOTFOUND: i32 = -1_765_328_203;
    pub const REALM_CANT_RESOLVE: i32 = -1_765_328_164;
}

fn explain(target: &Target, account: &Account, spn: &str, error: &GssError) -> Unavailable {
    let (principal, realm) = (account.principal(), account.realm());
    let (cause, why) = match error.code {
        code::KDC_UNREACH | code::REALM_UNKNOWN | code::REALM_CANT_RESOLVE => (
            UnavailableCause::KdcUnreachable,
            format!(
                "no KDC of {realm} is reachable. To fix: {}",
                if account.kdcs.is_empty() {
                    "publish reachable KDCs in DNS (_kerberos._tcp) or list them in spec.sql.auth.kdcs".to_owned()
                } else {
                    format!("check the KDCs of spec.sql.auth.kdcs ({})", account.kdcs.join(", "))
                }
            ),
        ),
        code::S_PRINCIPAL_UNKNOWN => (
            UnavailableCause::SpnUnknown,
            format!(
                "{realm} has no SPN {spn}. To fix: register the SPN with setspn for the service account of SQL Server, and use the registered host name in the spec"
            ),
        ),
        code::TKT_EXPIRED | code::TKT_NYV | code::SKEW | code::KDCREP_SKEW | code::NEVER_VALID => (
            UnavailableCause::TicketExpired,
            format!(
                "a ticket of {principal} is expired or not yet valid. To fix: synchronize the clocks of KDC, server and node"
            ),
        ),
        code::NAME_EXP | code::KEY_EXP => (
            UnavailableCause::TicketExpired,
            format!("the account {principal} or its password has expired. To fix: renew the account or its password"),
        ),
        code::CLIENT_REVOKED => {
            (UnavailableCause::LoginLocked, format!("the account {principal} is locked or disabled"))
        }
        code::C_PRINCIPAL_UNKNOWN => (
            UnavailableCause::NoKerberosCredentials,
            format!("{realm} has no account {principal}. To fix: correct username in the Secret"),
        ),
        code::PREAUTH_FAILED | code::BAD_INTEGRITY => (
            UnavailableCause::NoKerberosCredentials,
            format!("the key of {principal} in the keytab is not the present one. To fix: create a new keytab"),
        ),
        code::KT_NOTFOUND | code::CC_NOTFOUND => (
            UnavailableCause::NoKerberosCredentials,
            format!("the keytab is invalid or holds no key of {principal}. To fix: create a keytab for this principal"),
        ),
        _ => (
            UnavailableCause::NoKerberosCredentials,
            sentence(&error.text).unwrap_or_else(|| format!("error {} without a text", error.code)),
        ),
    };
    unavailable(cause, format!("No Kerberos ticket for {}: {why}.", target.address()))
}

/// The helper exceeded its deadline: no KDC answered.
pub fn kdc_timed_out(target: &Target, account: &Account, waited: std::time::Duration) -> Unavailable {
    let detail = format!(
        "No Kerberos ticket for {}: no KDC of {} answered within {waited:?}.",
        target.address(),
        account.realm()
    );
    unavailable(UnavailableCause::KdcUnreachable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tests::target;

    fn account(kdcs: &[&str]) -> Account {
        let kdcs = kdcs.iter().map(|&kdc| kdc.to_owned()).collect();
        Account::new("svc-lync@CONTOSO.COM", b"keys".to_vec(), kdcs).unwrap()
    }

    #[test]
    fn account_with_an_invalid_principal_is_rejected() {
        for wrong in ["", "svc", "@R", "svc@", "a b@R", "svc@R\n[plugins]", "svc@R = {", "a@b@C", "svc@R}"] {
            assert!(Account::new(wrong, Vec::new(), Vec::new()).is_none(), "{wrong:?}");
        }
        assert!(Account::new("MSSQL/host.contoso.com@CONTOSO.COM", Vec::new(), Vec::new()).is_some());
    }

    #[test]
    fn config_lists_the_kdcs_or_uses_dns() {
        let named = account(&["dc1", "dc2:1088"]).config();
        assert!(named.contains("dns_lookup_kdc = false\n"), "{named}");
        assert!(named.contains("  CONTOSO.COM = {\n    kdc = dc1\n    kdc = dc2:1088\n  }\n"), "{named}");
        assert!(account(&[]).config().contains("dns_lookup_kdc = true\n"));
        assert_ne!(account(&[]).digest(), account(&["dc1"]).digest());
    }

    #[test]
    fn helper_that_was_killed_or_not_loaded_is_a_limit_of_the_operator() {
        let cause = |raw| {
            let unavailable = ended(&target(1433), ExitStatus::from_raw(raw));
            assert!(unavailable.detail.contains("127.0.0.1,1433"), "{unavailable:?}");
            (unavailable.cause, unavailable.detail)
        };
        for (raw, words) in [(9, "was killed"), (127 << 8, "could not open its libraries")] {
            let (cause, detail) = cause(raw);
            assert_eq!(cause, UnavailableCause::OperatorLimited, "{detail}");
            assert!(
                detail.contains(words) && detail.contains("proves nothing") && detail.contains("To fix: "),
                "{detail}"
            );
        }
        // A crash can be the work of a KDC.
        for raw in [11, 1 << 8, 101 << 8] {
            assert_eq!(cause(raw).0, UnavailableCause::NoKerberosCredentials, "{raw}");
        }
    }

    #[test]
    fn spn_contains_the_port() {
        assert_eq!(spn(&target(1433), &account(&[]), 49172), "MSSQLSvc/127.0.0.1:49172@CONTOSO.COM");
    }

    #[test]
    #[rustfmt::skip]
    fn explain_maps_each_code_to_cause_and_detail() {
        let table = [
            (code::KDC_UNREACH,         UnavailableCause::KdcUnreachable,        "spec.sql.auth.kdcs"),
            (code::REALM_CANT_RESOLVE,  UnavailableCause::KdcUnreachable,        "_kerberos._tcp"),
            (code::S_PRINCIPAL_UNKNOWN, UnavailableCause::SpnUnknown,            "setspn"),
            (code::SKEW,                UnavailableCause::TicketExpired,         "clocks"),
            (code::KEY_EXP,             UnavailableCause::TicketExpired,         "password has expired"),
            (code::CLIENT_REVOKED,      UnavailableCause::LoginLocked,           "svc-lync@CONTOSO.COM is locked"),
            (code::C_PRINCIPAL_UNKNOWN, UnavailableCause::NoKerberosCredentials, "username"),
            (code::PREAUTH_FAILED,      UnavailableCause::NoKerberosCredentials, "not the present one"),
            (code::CC_NOTFOUND,         UnavailableCause::NoKerberosCredentials, "is invalid"),
            (code::KT_NOTFOUND,         UnavailableCause::NoKerberosCredentials, "holds no key"),
            (4711,                      UnavailableCause::NoKerberosCredentials, "something new"),
        ];
        for (code, cause, word) in table {
            let error = GssError { code, text: "something new".into() };
            let unavailable = explain(&target(1433), &account(&[]), "MSSQLSvc/a:1@R", &error);
            assert_eq!(unavailable.cause, cause, "{code}");
            assert!(unavailable.detail.contains(word) && unavailable.detail.contains("127.0.0.1,1433"), "{}", unavailable.detail);
        }
    }
}
