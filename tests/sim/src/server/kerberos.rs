//! The server side of Kerberos. Environment variable `KRB5_KTNAME` selects the keytab. Module `login` decides about the
//! login.

use libgssapi::context::{SecurityContext, ServerCtx};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;
use libgssapi::oid::{GSS_MECH_KRB5, OidSet};

/// A verified ticket.
pub struct Accepted {
    /// The Windows account, such as `CONTOSO\\svc-lync` for svc-lync@CONTOSO.COM.
    pub login: String,
    /// The reply that proves the identity of the server to the client.
    pub token: Vec<u8>,
}

/// Verifies a ticket.
///
/// # Errors
/// No keytab, a ticket for another server, or an expired ticket.
pub fn accept(token: &[u8]) -> Result<Accepted, Error> {
    let mechanisms = OidSet::singleton(GSS_MECH_KRB5)?;
    let mut context = ServerCtx::new(Some(Cred::acquire(None, None, CredUsage::Accept, Some(&mechanisms))?));
    let token = context.step(token, None)?.map(|token| token.to_vec()).unwrap_or_default();
    let principal = String::from_utf8_lossy(&context.source_name()?.display_name()?).into_owned();
    let (account, realm) = principal.split_once('@').unwrap_or((&principal, ""));
    let domain = realm.split('.').next().unwrap_or_default().to_uppercase();
    Ok(Accepted { login: format!("{domain}\\{account}"), token })
}
