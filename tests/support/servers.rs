//! Simulated servers in a process of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::node::until_listening;

/// Killed when dropped.
pub struct Servers {
    child: Child,
    control: String,
    endpoints: Value,
}

impl Servers {
    /// `command`: a `mirror-sim` without the options that name files. Those are in `folder`, and begin with `name`.
    pub fn start(mut command: Command, config: &Value, folder: &Path, name: &str) -> Servers {
        let path = |end: &str| folder.join(format!("{name}{end}"));
        std::fs::write(path(".json"), config.to_string()).unwrap();
        let child = command
            .arg("--config")
            .arg(path(".json"))
            .arg("--ready-file")
            .arg(path("-ready.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path(".log")).unwrap())
            .spawn()
            .unwrap();
        let listening = until_listening(&path("-ready.json"), &path(".log"));
        Servers {
            child,
            control: listening["control"].as_str().unwrap().to_owned(),
            endpoints: listening["servers"].clone(),
        }
    }

    pub fn address(&self, id: &str) -> SocketAddr {
        let server = &self.endpoints[id];
        format!("{}:{}", server["ip"].as_str().unwrap(), server["port"]).parse().unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        reqwest::get(format!("http://{}{path}", self.control)).await.unwrap().json().await.unwrap()
    }

    pub async fn command(&self, command: Value) {
        let answer = reqwest::Client::new().post(format!("http://{}/do", self.control)).json(&command).send().await;
        let answer = answer.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
