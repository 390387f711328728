//! The Kerberos half of one login, in a process of its own that may use no more than one keytab. GSSAPI blocks for as
//! long as a KDC is silent, and takes its credentials from the environment: neither is bearable in the operator's process.

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
use serde::{Deserialize, Serialize};

/// What the process is told first, in a line of JSON.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub keytab: Vec<u8>,
    pub config: String,
    pub principal: String,
    pub spn: String,
}

/// What it answers, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// For the server. The server's answer is expected on standard input, as a JSON array of bytes.
    Token(Vec<u8>),
    /// The server knows the key of its SPN.
    ServerVerified,
    GssError(GssError),
}

/// An error of the library, by its number in `krb5.h`.
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

/// Takes the order and becomes the process that carries it out: same program, own environment.
///
/// # Errors
/// No order, or no memory for its files.
pub fn exec_isolated() -> io::Result<Infallible> {
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

/// A file without a name, which stays open in the program that follows.
fn in_memory(name: &str, content: &[u8]) -> io::Result<File> {
    let fd: OwnedFd = memfd_create(name, MemfdFlags::empty())?;
    let mut file = File::from(fd);
    file.write_all(content)?;
    Ok(file)
}

/// Gets the ticket, and holds the server's answer against it.
///
/// # Errors
/// Nobody reads or writes any more.
pub fn run(principal: &str, spn: &str) -> io::Result<()> {
    let (mut context, token) = match begin(principal, spn) {
        Ok(started) => started,
        Err(error) => return write_response(&Response::GssError(error.into())),
    };
    write_response(&Response::Token(token))?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(());
    }
    let answer: Vec<u8> = serde_json::from_str(&line)?;
    match context.step(Some(&answer), None) {
        Ok(_) => write_response(&Response::ServerVerified),
        Err(error) => write_response(&Response::GssError(error.into())),
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
