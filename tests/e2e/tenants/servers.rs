//! The servers of the attacker. In this process they compete with the servers of the victim for its threads. `LYNC_MIRROR_SIM`
//! names a `mirror-sim` that runs them at the lowest priority instead: servers elsewhere take no time from those of the victim.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mirror_sim::sim::Sim;
use serde_json::{Value, json};

pub enum Servers {
    Here(Sim),
    Apart {
        child: Child,
        addresses: BTreeMap<String, SocketAddr>,
        /// The address of its HTTP control.
        control: String,
    },
}

impl Servers {
    /// `name`: of the file with the configuration, in this folder.
    pub async fn start(config: Value, folder: &Path, name: &str) -> Servers {
        let Ok(program) = std::env::var("LYNC_MIRROR_SIM") else {
            return Servers::Here(Sim::start(serde_json::from_value(config).unwrap()).await.unwrap());
        };
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("nice");
        command.args(["-n", "19", &program, "--log", "error", "--config"]).arg(&file);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let address = |id: &str| ready["servers"][id]["address"].as_str().unwrap().parse().unwrap();
        let addresses = ["a", "b"].map(|id| (id.to_owned(), address(id)));
        let control = ready["control"].as_str().unwrap().to_owned();
        Servers::Apart { child, addresses: addresses.into(), control }
    }

    pub async fn command(&self, command: Value) {
        match self {
            Servers::Here(sim) => sim.do_json(command).unwrap(),
            Servers::Apart { control, .. } => {
                let sent = reqwest::Client::new().post(format!("http://{control}/do")).json(&command).send().await;
                let answer = sent.unwrap();
                assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
            }
        }
    }

    /// The server with this id, as a spec names it.
    pub fn named(&self, id: &str) -> Value {
        let address = match self {
            Servers::Here(sim) => sim.address(id),
            Servers::Apart { addresses, .. } => addresses[id],
        };
        json!({"host": address.ip().to_string(), "port": address.port()})
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Servers::Apart { child, .. } = self {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
