//! The question before a change, on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use super::{aligned, command, generation};
use crate::support::TestPool;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A verb whose input and errors are a terminal.
pub struct Terminal {
    pub child: Child,
    screen: File,
    seen: String,
}

impl Terminal {
    fn start(fixture: &TestPool, arguments: &[&str]) -> Terminal {
        let mut command = command(fixture.cluster, arguments);
        command.args(["-n", &fixture.namespace]);
        Terminal::of(command, |command, open| command.stdin(open()).stderr(open()).stdout(Stdio::null()))
    }

    /// A terminal that `connect` connects to the command.
    pub fn of(
        mut command: Command,
        connect: impl for<'a> Fn(&'a mut Command, &dyn Fn() -> File) -> &'a mut Command,
    ) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        connect(&mut command, &open);
        Terminal { child: command.spawn().unwrap(), screen: File::from(master), seen: String::new() }
    }

    /// Reads until the terminal shows this.
    pub fn until(&mut self, words: &str) {
        let mut part = [0; 4096];
        while !self.seen.contains(words) {
            let length = self.screen.read(&mut part).unwrap_or_default();
            assert!(length > 0, "the terminal ended before {words:?}: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&part[..length]));
        }
    }

    fn answer(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    pub fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

const FAILOVER: [&str; 6] = ["failover", "pool01", "-t", "User", "--to", "mirror"];

#[tokio::test(flavor = "multi_thread")]
async fn question_that_is_refused_or_interrupted_changes_nothing() {
    let (fixture, _operator) = aligned("cli-prompt").await;
    let before = generation(&fixture);
    for answer in ["n\n", "\n"] {
        let mut terminal = Terminal::start(&fixture, &FAILOVER);
        terminal.until("Go on? [y/N] ");
        terminal.answer(answer);
        terminal.until("Not confirmed, nothing was changed.");
        assert_eq!(terminal.end(), Some(2));
    }
    let mut terminal = Terminal::start(&fixture, &FAILOVER);
    terminal.until("Go on? [y/N] ");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    terminal.until("Not confirmed, nothing was changed.");
    assert_eq!(terminal.end(), Some(2));
    assert_eq!((generation(&fixture), fixture.failovers().len()), (before, 0));

    let mut terminal = Terminal::start(&fixture, &FAILOVER);
    terminal.until("Go on? [y/N] ");
    terminal.answer("y\n");
    assert_eq!(terminal.end(), Some(1), "the operator takes it from here");
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
}
