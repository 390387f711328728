//! `make try`: what an administrator without Kubernetes sees first.

use std::process::{Command, Stdio};

use crate::cli::Ran;
use crate::support::{node, own_ip, root};

#[test]
fn direct_first_minutes_show_each_verb_with_its_exit_code() {
    let programs = node::simulator();
    let base = own_ip();
    for _ in 0..4 {
        own_ip(); // the addresses after the first, which the other servers take
    }
    let mut make = Command::new("make");
    make.args(["--no-print-directory", "try", "ONCE=1"]).current_dir(root()).stdin(Stdio::null());
    make.env("LYNC_MIRROR_PROGRAMS", programs.parent().unwrap()).env("LYNC_MIRROR_TRY_BASE", base.to_string());
    let ran = Ran::from(make.env_remove("COLUMNS").output().unwrap()).expect(0);
    let mut rest = &ran.out[..];
    for words in [
        "$ cat pool01.yaml",
        "$ lync-mirror state --direct -f pool01.yaml\n",
        "PROTECTED, as the spec wants it",
        "User: the principal is on SQL-B\\RTC, moved in ",
        "EXPOSED, an administrator has to act",
        "$ lync-mirror doctor --direct -f pool01.yaml\n",
        " to fix, 0 not known.\n(exit code 2)",
        "User: SQL-A\\RTC (primary) becomes the wanted principal.",
        "PROTECTED, as the spec wants it",
        "$ lync-mirror report --direct -f pool01.yaml --file report.html\n(exit code 0)",
        "try: finished successfully",
    ] {
        let at = rest.find(words).unwrap_or_else(|| panic!("{words:?} does not follow: {}", ran.out));
        rest = &rest[at + words.len()..];
    }
}
