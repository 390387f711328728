//! The Kerberos part of one login, in a separate process with access to one keytab. GSSAPI blocks while a KDC is
//! silent and reads its credentials from the environment, so the operator's process cannot call it.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libgssapi::context::{ClientCtx, CtxFlags};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_KRB5_PRINCIPAL, OidSet};
use rustix::fs::{MemfdFlags, memfd_create};
use secrecy::zeroize::Zeroize;
use serde::{Deserialize, Serialize};

use crate::sql::error::lacks_resources;
use crate::sql::helper_sandbox::{self, Restriction};

/// The request on standard input, one line of JSON.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub keytab: Vec<u8>,
    pub config: String,
    pub principal: String,
    pub spn: String,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.keytab.zeroize();
    }
}

/// A response on standard output, one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// The token for LOGIN7. The helper then expects the server's token on standard input, as a JSON array of bytes.
    Token {
        token: Vec<u8>,
        landlock: Restriction,
    },
    /// The server proved that it holds the key of its SPN.
    ServerVerified,
    /// The helper lacks descriptors, memory or processes. The number is that of the system (`errno`).
    OperatorLimited(i32),
    GssError(GssError),
}

/// An error of GSSAPI, with its number in `krb5.h`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GssError {
    pub code: i32,
    pub text: String,
}

impl From<Error> for GssError {
    fn from(error: Error) -> Self {
        Self { code: error.minor.cast_signed(), text: error.to_string() }
    }
}

/// Reads the request and replaces the process: same program, isolated environment.
///
/// # Errors
/// A missing or invalid request, or a failure of `memfd_create` or `exec`.
pub fn start() -> io::Result<()> {
    let Err(error) = exec_isolated();
    report(error)
}

/// What the helper lacks is a response, because nothing reads its standard error.
fn report(error: io::Error) -> io::Result<()> {
    match error.raw_os_error().filter(|_| lacks_resources(&error)) {
        Some(number) => write_response(&Response::OperatorLimited(number)),
        None => Err(error),
    }
}

fn exec_isolated() -> io::Result<Infallible> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let (keytab, config) = (in_memory("keytab", &request.keytab)?, in_memory("krb5.conf", request.config.as_bytes())?);
    let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
    let program = std::env::current_exe()?;
    let failed = Command::new(program)
        .args(["ticket", "--principal", &request.principal, "--spn", &request.spn])
        .env_clear()
        .env("KRB5_CONFIG", path(&config))
        .env("KRB5_CLIENT_KTNAME", format!("FILE:{}", path(&keytab)))
        .env("KRB5CCNAME", "MEMORY:")
        .exec();
    Err(failed)
}

/// An anonymous file that stays open across `exec`.
fn in_memory(name: &str, content: &[u8]) -> io::Result<File> {
    let fd: OwnedFd = memfd_create(name, MemfdFlags::empty())?;
    let mut file = File::from(fd);
    file.write_all(content)?;
    Ok(file)
}

/// Logs how far the kernel of this node restricts a helper.
pub fn report_restriction() {
    helper_sandbox::report(helper_sandbox::probe());
}

/// Obtains the ticket, writes the token and verifies the server's token.
///
/// # Errors
/// Standard input or output is closed, or the input is invalid.
pub fn run(principal: &str, spn: &str) -> io::Result<()> {
    // A login without the restriction is better than none: the kernel of a node can be older.
    let landlock = helper_sandbox::restrict();
    let (mut context, token) = match begin(principal, spn) {
        Ok(started) => started,
        Err(error) => return write_response(&failure(error)),
    };
    write_response(&Response::Token { token, landlock })?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(());
    }
    let answer: Vec<u8> = serde_json::from_str(&line)?;
    match context.step(Some(&answer), None) {
        Ok(_) => write_response(&Response::ServerVerified),
        Err(error) => write_response(&failure(error)),
    }
}

/// The Kerberos library returns some numbers of the system unchanged. Others it replaces: a keytab that it has no descriptor
/// to open counts as one without keys. So the helper also tries whether it gets a descriptor.
fn failure(error: Error) -> Response {
    let error = GssError::from(error);
    // The library uses EAGAIN for a KDC whose name DNS does not resolve for the moment.
    let own = io::Error::from_raw_os_error(error.code);
    let own = Some(own).filter(|own| own.kind() != io::ErrorKind::WouldBlock);
    let tried = memfd_create("descriptor", MemfdFlags::empty()).map_err(io::Error::from).err();
    match [own, tried].into_iter().flatten().find(lacks_resources).and_then(|lacking| lacking.raw_os_error()) {
        Some(number) => Response::OperatorLimited(number),
        None => Response::GssError(error),
    }
}

fn begin(principal: &str, spn: &str) -> Result<(ClientCtx, Vec<u8>), Error> {
    let name = |text: &str| Name::new(text.as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL));
    let mechanisms = OidSet::singleton(GSS_MECH_KRB5)?;
    let credential = Cred::acquire(Some(&name(principal)?), None, CredUsage::Initiate, Some(&mechanisms))?;
    let flags = CtxFlags::GSS_C_MUTUAL_FLAG | CtxFlags::GSS_C_SEQUENCE_FLAG;
    let mut context = ClientCtx::new(Some(credential), name(spn)?, flags, Some(GSS_MECH_KRB5));
    let token = context.step(None, None)?.map(|token| token.to_vec()).unwrap_or_default();
    Ok((context, token))
}

fn write_response(response: &Response) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(response)?)?;
    out.flush()
}
