//! Clients of other vendors use the simulated pair (tests/clients): client x TLS mode x TDS version x check.

use std::process::Command;

use crate::support::{cannot, root, skip};

#[test]
fn third_party_clients_on_the_simulated_pair_succeed() {
    let output = Command::new(root().join("tests/clients/run")).output().unwrap();
    if let Some(why) = cannot(&output) {
        return skip("clients", &why);
    }
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{errors}");
    print!("{table}");
}
