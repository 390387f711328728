//! Clients that nobody here wrote use the simulated pair (tests/clients): client x TLS mode x TDS version x check.

use std::process::Command;

use crate::support::{cannot, root, skip};

#[test]
fn clients_that_others_wrote_accept_the_pair() {
    let output = Command::new(root().join("tests/clients/run")).output().unwrap();
    if let Some(why) = cannot(&output) {
        return skip("clients", &why);
    }
    let (table, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{told}");
    print!("{table}");
}
