//! The server's half of Kerberos: a ticket is opened with the keytab that `KRB5_KTNAME` names. Nobody is let in here.

use libgssapi::context::{SecurityContext, ServerCtx};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;
use libgssapi::oid::{GSS_MECH_KRB5, OidSet};

pub struct Accepted {
    /// `CONTOSO\\svc-lync` for svc-lync@CONTOSO.COM, as SQL Server knows Windows accounts.
    pub login: String,
    /// Proves to the client that this server knows the key of its name.
    pub token: Vec<u8>,
}

/// # Errors
/// No keytab, a ticket for another server, a ticket past its time.
pub fn accept(token: &[u8]) -> Result<Accepted, Error> {
    let mechanisms = OidSet::singleton(GSS_MECH_KRB5)?;
    let mut context = ServerCtx::new(Some(Cred::acquire(None, None, CredUsage::Accept, Some(&mechanisms))?));
    let token = context.step(token, None)?.map(|token| token.to_vec()).unwrap_or_default();
    let principal = String::from_utf8_lossy(&context.source_name()?.display_name()?).into_owned();
    let (account, realm) = principal.split_once('@').unwrap_or((&principal, ""));
    let domain = realm.split('.').next().unwrap_or_default().to_uppercase();
    Ok(Accepted { login: format!("{domain}\\{account}"), token })
}
