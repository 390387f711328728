//! A Kerberos realm of an MIT KDC, and simulated servers that accept its tickets.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::node::simulator;
use super::servers::Servers;
use super::{run, until};

pub const REALM: &str = "CONTOSO.TEST";

/// A keytab with one AES-256 key of an account, in the format of MIT Kerberos (version 2).
pub fn keytab(account: &str, realm: &str, key: &[u8; 32]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    // One component of the name, then its type (KRB5_NT_PRINCIPAL), no time, version 1 of the key, and its type.
    let name = [&[0, 1][..], &counted(realm.as_bytes()), &counted(account.as_bytes()), &[0, 0, 0, 1]].concat();
    let entry = [&name[..], &[0; 4], &[1], &[0, 18], &counted(key)].concat();
    [&[5, 2][..], &u32::try_from(entry.len()).unwrap().to_be_bytes(), &entry].concat()
}

/// A KDC with its database; killed when dropped.
pub struct KdcFixture {
    pub dir: TempDir,
    pub address: SocketAddr,
    kdc: Option<Child>,
}

impl KdcFixture {
    /// `Err`: why this machine cannot run a KDC.
    pub fn start(address: SocketAddr) -> Result<KdcFixture, String> {
        for tool in ["krb5kdc", "kdb5_util", "kadmin.local"] {
            if !Path::new("/usr/sbin").join(tool).exists() {
                return Err(format!("{tool} is missing (Debian: krb5-kdc, krb5-admin-server)"));
            }
        }
        let mut fixture = KdcFixture { dir: tempfile::tempdir().unwrap(), address, kdc: None };
        let dir = fixture.dir.path().display();
        std::fs::write(
            fixture.path("krb5.conf"),
            format!(
                "[libdefaults]\n default_realm = {REALM}\n rdns = false\n dns_canonicalize_hostname = false\n dns_lookup_kdc = false\n udp_preference_limit = 1\n[realms]\n {REALM} = {{\n  kdc = {address}\n }}\n[logging]\n kdc = FILE:{dir}/kdc.log\n"
            ),
        )
        .unwrap();
        std::fs::write(
            fixture.path("kdc.conf"),
            format!(
                "[kdcdefaults]\n kdc_listen = {address}\n kdc_tcp_listen = {address}\n[realms]\n {REALM} = {{\n  database_name = {dir}/principal\n  key_stash_file = {dir}/stash\n }}\n"
            ),
        )
        .unwrap();
        run(fixture.tool("kdb5_util").args(["create", "-s", "-P", "master", "-r", REALM]));
        fixture.open();
        Ok(fixture)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new("/usr/sbin").join(name));
        command.env("KRB5_CONFIG", self.path("krb5.conf")).env("KRB5_KDC_PROFILE", self.path("kdc.conf"));
        command
    }

    /// Starts the KDC and waits until it listens.
    pub fn open(&mut self) {
        let log = std::fs::File::create(self.path("kdc.out")).unwrap();
        self.kdc = Some(self.tool("krb5kdc").arg("-n").stdout(Stdio::null()).stderr(log).spawn().unwrap());
        until("the KDC listens", || std::net::TcpStream::connect(self.address).map_err(|error| error.to_string()));
    }

    /// Stops the KDC.
    pub fn close(&mut self) {
        if let Some(mut kdc) = self.kdc.take() {
            kdc.kill().unwrap();
            kdc.wait().unwrap();
        }
    }

    pub fn admin(&self, query: &str) {
        let printed = run(self.tool("kadmin.local").args(["-r", REALM, "-q", query]));
        assert!(!printed.contains("while "), "kadmin.local {query}: {printed}");
    }

    /// Creates the account and returns a keytab with its keys.
    pub fn account(&self, name: &str) -> Vec<u8> {
        self.admin(&format!("addprinc -randkey +requires_preauth {name}"));
        self.keytab(name)
    }

    /// Gives the account new keys and returns their keytab.
    pub fn keytab(&self, name: &str) -> Vec<u8> {
        let file = tempfile::tempdir().unwrap();
        let path = file.path().join("keytab");
        self.admin(&format!("ktadd -k {} {name}", path.display()));
        std::fs::read(path).unwrap()
    }

    /// Registers the SPN of a server and writes its key to the keytab of the simulated servers.
    pub fn register(&self, server: SocketAddr) {
        let spn = spn(server);
        self.admin(&format!("addprinc -randkey {spn}"));
        self.admin(&format!("ktadd -k {} {spn}", self.path("servers.keytab").display()));
    }

    /// Simulated servers that take logins of this realm.
    pub fn servers(&self, config: &Value) -> Servers {
        let mut command = Command::new(simulator());
        command
            .args(["--log", "mirror_sim=debug,info"])
            .env("KRB5_CONFIG", self.path("krb5.conf"))
            .env("KRB5_KTNAME", self.path("servers.keytab"))
            .env("KRB5RCACHENAME", "none:");
        Servers::start(command, config, self.dir.path(), "servers")
    }
}

impl Drop for KdcFixture {
    fn drop(&mut self) {
        self.close();
        if std::thread::panicking() {
            for log in ["kdc.log", "servers.log"] {
                let text = std::fs::read_to_string(self.path(log)).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(12).collect();
                let _ = writeln!(std::io::stderr(), "{log}, from its end:\n{}", last.join("\n"));
            }
        }
    }
}

/// The service principal name of a server at this address.
pub fn spn(server: SocketAddr) -> String {
    format!("MSSQLSvc/{}:{}", server.ip(), server.port())
}
