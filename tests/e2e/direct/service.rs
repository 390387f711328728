//! `run --direct`: a folder of files as a service, its lock, and files that cannot be used.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::site::Site;
use crate::cli::{PROGRAM, Ran};
use crate::support::until;

/// A running service with its log.
pub struct Service {
    pub process: Child,
    log: Arc<Mutex<String>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    pub fn start(site: &Site) -> Service {
        let mut command = command(site);
        let mut process = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        for pipe in [
            Box::new(process.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(process.stderr.take().unwrap()),
        ] {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    log.lock().unwrap().push_str(&(line + "\n"));
                }
            });
        }
        Service { process, log }
    }

    #[track_caller]
    pub fn until_logged(&self, words: &str) {
        until(words, || {
            let log = self.log.lock().unwrap();
            if log.contains(words) { Ok(()) } else { Err(log.clone()) }
        });
    }

    /// Ends it in good order.
    pub fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

fn command(site: &Site) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--listen", "127.0.0.1:0", "--poll-interval", "1s"]);
    site.equip(&mut command, "");
    command
}

/// The principals in the stored state.
pub fn principals(site: &Site) -> String {
    let text = std::fs::read_to_string(site.path("pool01.status.json")).unwrap_or_default();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    state["status"]["principals"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_service_moves_after_an_edit_and_no_second_process_acts_beside_it() {
    let site = Site::start().await;
    std::fs::write(
        site.path("bad.yaml"),
        site.file("bad.contoso.com").replace("principal: Primary  #", "principal: Left  #"),
    )
    .unwrap();
    let service = Service::start(&site);
    service.until_logged("bad.yaml: spec.databaseTypes[0].principal \"Left\": The value is unknown. To fix: write one of Primary, Mirror.");
    until("the first status", || match principals(&site).as_str() {
        "User=Primary CentralMgmt=Primary" => Ok(()),
        other => Err(other.to_owned()),
    });

    let state = site.verb("state", &[]).expect(0);
    assert!(state.out.contains("lync-mirror run (process "), "{state:?}");
    let refused = site.verb("failover", &["-t", "User", "--to", "mirror", "--confirm=false"]).expect(2);
    assert!(refused.err.contains("is in use by lync-mirror run (process "), "{refused:?}");
    // A second service waits for the locks.
    let second = Service::start(&site);
    second.until_logged("pool01.yaml is in use by lync-mirror run (process ");

    std::fs::write(site.path("pool01.yaml"), site.spec().replace("principal: Primary", "principal: Mirror")).unwrap();
    until("both types have moved", || match principals(&site).as_str() {
        "User=Mirror CentralMgmt=Mirror" => Ok(()),
        other => Err(other.to_owned()),
    });
    // The file that was bad joins once it is repaired. Its databases are those of the other pool, so that both stop.
    std::fs::write(
        site.path("bad.yaml"),
        site.file("bad.contoso.com").replace("principal: Primary", "principal: Mirror"),
    )
    .unwrap();
    until("the repaired file", || {
        let text = std::fs::read_to_string(site.path("bad.status.json")).map_err(|error| error.to_string())?;
        if text.contains("\"Conflict\"") { Ok(()) } else { Err(text) }
    });
    assert_eq!(site.failovers(), ["lis>b", "rtcab>b", "rtcshared>b", "rtcxds>b", "xds>b"]);
    std::fs::remove_file(site.path("bad.yaml")).unwrap();
    assert_eq!(service.stop(), Some(0));
    second.until_logged("acting on this pool");
    let state = site.verb("state", &[]).expect(0);
    assert!(state.out.contains("lync-mirror run (process "), "{state:?}");
    assert_eq!(second.stop(), Some(0));

    site.verb("failover", &["-t", "User", "--to", "primary", "--confirm=false"]).expect(0);
    assert_eq!(site.failovers().len(), 8);
    assert_eq!(site.sim.failures(), [""; 0]);
}

/// A folder with a file that cannot be used shows the others, and the exit code reports it.
#[tokio::test(flavor = "multi_thread")]
async fn direct_folder_with_a_bad_file_shows_the_others() {
    let site = Site::start().await;
    std::fs::write(site.path("typo.yaml"), site.file("typo.contoso.com").replace("policy:", "polcy:")).unwrap();
    let mut state = Command::new(PROGRAM);
    state.args(["state", "pool01"]);
    site.equip(&mut state, "");
    let state = Ran::from(state.output().unwrap()).expect(2);
    assert!(state.out.contains("(direct/pool01): PROTECTED, as the spec wants it"), "{state:?}");
    assert!(state.err.contains("typo.yaml: spec.polcy {\"cooldown\":\"0s\""), "{state:?}");
    assert!(state.err.contains("The field is unknown. To fix: remove it, or write one of "), "{state:?}");
}
