//! The servers of the attacker. In this process they compete with the servers of the victim for its threads. `LYNC_MIRROR_SIM`
//! names a `mirror-sim` that runs them at the lowest priority instead: servers elsewhere take no time from those of the victim.

use std::path::Path;
use std::process::Command;

use mirror_sim::sim::Sim;
use serde_json::{Value, json};

use crate::support::servers::Servers as Process;

pub enum Servers {
    Here(Sim),
    Apart(Process),
}

impl Servers {
    /// `name`: of the files of a process, in this folder.
    pub async fn start(config: Value, folder: &Path, name: &str) -> Servers {
        let Ok(program) = std::env::var("LYNC_MIRROR_SIM") else {
            return Servers::Here(Sim::start(serde_json::from_value(config).unwrap()).await.unwrap());
        };
        let mut command = Command::new("nice");
        command.args(["-n", "19", &program, "--log", "error"]);
        Servers::Apart(Process::start(command, &config, folder, name))
    }

    pub async fn command(&self, command: Value) {
        match self {
            Servers::Here(sim) => sim.do_json(command).unwrap(),
            Servers::Apart(process) => process.command(command).await,
        }
    }

    /// The server with this id, as a spec names it.
    pub fn named(&self, id: &str) -> Value {
        let address = match self {
            Servers::Here(sim) => sim.address(id),
            Servers::Apart(process) => process.address(id),
        };
        json!({"host": address.ip().to_string(), "port": address.port()})
    }
}
