//! A reader of the reason pages: a pair of servers, its resource, an operator, and the tools of an administrator.
//!
//! The reader replaces what the pages ask readers to replace, and nothing else: NAME and NAMESPACE, host names and passwords, an
//! epoch and its end. The operator's login is `lync_mirror`, as on the pages. The administrator's is `dba`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use mirror_sim::sim::Sim;
use serde_json::{Value, json};

use super::block::{Block, blocks};
use crate::markdown::kubectl_commands;
use crate::support::{Cluster, Operator, TestPool, condition, until};

pub const USER: [&str; 3] = ["rtcxds", "rtcshared", "rtcab"];
pub const PASSWORD: &str = "Passw0rd";
const LATER: &str = "2100-01-01T00:00:00Z";

pub struct Reader {
    pub pool: TestPool,
    pub operator: Option<Operator>,
    pub folder: tempfile::TempDir,
    /// The blocks of the pages of this reader, and whether each was run.
    blocks: Vec<(Block, bool)>,
}

/// The output of `tsql` for one batch.
#[derive(Debug)]
pub struct Answer {
    pub text: String,
    pub errors: Vec<u32>,
}

impl Answer {
    #[track_caller]
    pub fn has(&self, part: &str) -> &Answer {
        assert!(self.text.contains(part), "no {part:?} in\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn lacks(&self, part: &str) -> &Answer {
        assert!(!self.text.contains(part), "{part:?} in\n{}", self.text);
        self
    }
}

/// Whether `tsql` is installed; where CI is set, it must be.
pub fn can_run() -> bool {
    let found = Command::new("tsql").arg("-C").output().is_ok();
    if !found {
        crate::support::skip("advice", "tsql is missing (Debian: freetds-bin)");
    }
    found
}

/// Servers as the pages name them. A pair of another pool exists for specs that name one of its servers by mistake.
async fn simulate(witness: bool) -> Sim {
    let server = |id: &str| {
        let logins = json!([
            {"name": "lync_mirror", "password": PASSWORD, "sid": "00112233445566778899AABBCCDDEEFF"},
            {"name": "dba", "password": PASSWORD, "sid": "0F112233445566778899AABBCCDDEEFF"},
            {"name": "CONTOSO\\svc-sql"},
        ]);
        let host = format!("sql-{id}.contoso.com");
        let mut config = TestPool::server_config(id, &host, logins);
        config["endpoint"] = json!({"host": host, "port": if id == "w" { 7022 } else { 5022 }});
        config
    };
    let pair = |name: &str, primary: &str, mirror: &str, witness: Value| {
        json!({
            "name": name, "primary": primary, "mirror": mirror, "witness": witness,
            "databases": ["rtcxds", "rtcshared", "rtcab", "xds", "lis"],
            "switchMillis": 200, "timeoutSeconds": 0.5, "resyncMillis": 100,
        })
    };
    let pairs = [
        pair("pool01", "a", "b", if witness { json!("w") } else { Value::Null }),
        pair("pool02", "c", "d", Value::Null),
    ];
    let servers = ["a", "b", "w", "c", "d"].map(server);
    let config = json!({"servers": servers, "pairs": pairs});
    Sim::start(serde_json::from_value(config).unwrap()).await.unwrap()
}

pub fn user(principal: &str) -> Value {
    json!([{"type": "User", "principal": principal}])
}

impl Reader {
    /// Without a Secret, a CA bundle and a resource.
    pub async fn bare(name: &str, witness: bool, pages: &[&str]) -> Reader {
        let cluster = Cluster::get();
        let pool = TestPool::of(cluster, name, simulate(witness).await);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), pool.sim.ca_pem()).unwrap();
        let mut blocks: Vec<(Block, bool)> = blocks().into_iter().map(|block| (block, false)).collect();
        blocks.retain(|(block, _)| pages.contains(&block.page.as_str()));
        let operator = Some(Operator::start(cluster, name, "1s"));
        Reader { pool, operator, folder, blocks }
    }

    /// With an aligned resource pool01 of type User.
    pub async fn start(name: &str, witness: bool, pages: &[&str]) -> Reader {
        let reader = Reader::bare(name, witness, pages).await;
        reader.pool.secret_of("lync_mirror", PASSWORD);
        reader.pool.ca_bundle(&reader.pool.sim.ca_pem());
        reader.apply(witness, user("Primary"));
        reader.pool.until_ready("pool01", "True", "Aligned");
        reader
    }

    /// The resource pool01 with these types.
    pub fn resource(&self, witness: bool, types: Value) -> Value {
        let mut pool = self.pool.pool("pool01", types);
        if !witness {
            pool["spec"]["sql"].as_object_mut().unwrap().remove("witness");
        }
        pool
    }

    pub fn apply(&self, witness: bool, types: Value) {
        self.pool.cluster.apply(&self.resource(witness, types));
    }

    pub fn world(&self, command: Value) {
        self.pool.command(command);
    }

    /// Stops the server, and starts it again.
    pub fn restart(&self, server: &str) {
        self.world(json!({"do": "kill", "server": server}));
        self.world(json!({"do": "start", "server": server}));
    }

    /// Stops the server until the operator has seen it, and starts it again.
    pub fn lose(&self, server: &str) {
        self.world(json!({"do": "kill", "server": server}));
        self.until_condition("PartnersReachable", ("False", "ConnectionRefused"));
        self.world(json!({"do": "start", "server": server}));
    }

    /// The block of a page that contains these words. It counts as run.
    #[track_caller]
    fn take(&mut self, language: &str, page: &str, words: &str) -> Block {
        let page = if page.contains('/') { page.to_owned() } else { format!("reasons/{page}") };
        let matches = |block: &Block| block.page == page && block.language == language && block.text.contains(words);
        let mut found: Vec<_> = self.blocks.iter_mut().filter(|(block, _)| matches(block)).collect();
        assert_eq!(found.len(), 1, "{page}: blocks in {language} with {words:?}");
        found[0].1 = true;
        found[0].0.clone()
    }

    /// Runs a shell block as printed.
    #[track_caller]
    pub fn sh(&mut self, page: &str, words: &str) -> String {
        self.sh_with(page, words, &[]).unwrap_or_else(|error| panic!("{page}: {words}: {error}"))
    }

    /// Runs a shell block with replacements; `Err` is the output of a command that failed.
    #[track_caller]
    pub fn sh_with(&mut self, page: &str, words: &str, replace: &[(&str, &str)]) -> Result<String, String> {
        let block = self.take("sh", page, words);
        self.script(&block.text, replace)
    }

    fn script(&self, text: &str, replace: &[(&str, &str)]) -> Result<String, String> {
        let mut text = text.to_owned();
        for (from, to) in replace {
            assert!(text.contains(from), "no {from:?} to replace in {text}");
            text = text.replace(from, to);
        }
        let text = text.replace("NAMESPACE", &self.pool.namespace).replace("NAME", "pool01");
        let cluster = self.pool.cluster;
        let path = std::env::join_paths(
            std::iter::once(cluster.bin().to_path_buf())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &text]).current_dir(self.folder.path()).stdin(Stdio::null());
        shell.env("PATH", path.unwrap()).env("KUBECONFIG", cluster.dir.join("kubeconfig"));
        let output = shell.env("KUBE_EDITOR", self.folder.path().join("editor")).output().unwrap();
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(printed) } else { Err(printed) }
    }

    /// Runs the `kubectl edit` of a page; the reader's editor changes the text that it gets by a script of sed.
    #[track_caller]
    pub fn edit(&mut self, page: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let editor = self.folder.path().join("editor");
        std::fs::write(&editor, format!("#!/bin/sh\nexec sed -i -e '{script}' \"$1\"\n")).unwrap();
        std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
        let printed = self.sh(page, "kubectl edit");
        assert!(printed.contains("edited"), "{page}: the edit changed nothing: {printed}");
    }

    /// Runs a block that reads the epoch and then names it, as a reader does: the second command with the epoch that the
    /// first one printed.
    #[track_caller]
    pub fn with_epoch(&mut self, page: &str, words: &str) {
        let block = self.take("sh", page, words);
        let [read, patch] = kubectl_commands(&block.text).try_into().unwrap_or_else(|all| panic!("{page}: {all:?}"));
        let printed = self.script(&read, &[]).unwrap();
        let epoch = printed.lines().find_map(|line| line.strip_prefix("User\t")).unwrap_or_else(|| panic!("{printed}"));
        self.script(&patch, &[("14-5f3a", epoch), ("2026-11-24T06:00:00Z", LATER)]).unwrap();
    }

    /// Runs a block that consents to forced service, with the epoch that another block printed.
    #[track_caller]
    pub fn consent(&mut self, page: &str, epoch: &str) {
        let replace = [("3-2ed6", epoch), ("2026-11-24T06:00:00Z", LATER)];
        self.sh_with(page, "acceptDataLoss", &replace).unwrap();
    }

    /// Runs a T-SQL block as printed, by the administrator on this server.
    #[track_caller]
    pub fn sql(&mut self, server: &str, page: &str, words: &str) -> Answer {
        self.sql_with(server, page, words, &[])
    }

    #[track_caller]
    pub fn sql_with(&mut self, server: &str, page: &str, words: &str, replace: &[(&str, &str)]) -> Answer {
        let answer = self.try_sql(server, page, words, replace);
        assert!(answer.errors.is_empty(), "{page}: {words} on {server}: {}", answer.text);
        answer
    }

    #[track_caller]
    pub fn try_sql(&mut self, server: &str, page: &str, words: &str, replace: &[(&str, &str)]) -> Answer {
        let mut text = self.take("sql", page, words).text;
        for (from, to) in replace {
            assert!(text.contains(from), "no {from:?} to replace in {text}");
            text = text.replace(from, to);
        }
        self.batch(server, &text)
    }

    /// Runs a block for each database of the type, as printed for rtcxds.
    #[track_caller]
    pub fn sql_each(&mut self, server: &str, page: &str, words: &str) {
        for database in USER {
            self.sql_with(server, page, words, &[("rtcxds", database)]);
        }
    }

    /// One batch in a session of the administrator in `master`. A server that just started may not accept a login yet:
    /// as an administrator does, it tries again.
    #[track_caller]
    pub fn batch(&self, server: &str, text: &str) -> Answer {
        let output = until(&format!("{server} accepts the administrator"), || self.tsql(server, text));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let number = |line: &str| line.split_once("Msg ")?.1.split(' ').next()?.parse().ok();
        // Up to severity 10 a message is no error.
        let is_error = |line: &&str| !line.contains("(severity 0,") && !line.contains("(severity 10,");
        let errors = text.lines().filter(is_error).filter_map(number).collect();
        Answer { text, errors }
    }

    /// # Errors
    /// tsql could not log in: what it printed.
    fn tsql(&self, server: &str, text: &str) -> Result<Output, String> {
        let address = self.pool.sim.address(server);
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut client = Command::new("tsql")
            .args(["-H", &ip, "-p", &port, "-U", "dba", "-P", PASSWORD, "-o", "q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A client that could not log in has ended before it reads: its exit status shows it.
        let written = client.stdin.take().unwrap().write_all(format!("{text}\ngo\n").as_bytes());
        let output = client.wait_with_output().unwrap();
        let failed = written.is_err() || !output.status.success();
        if failed { Err(String::from_utf8_lossy(&output.stderr).into_owned()) } else { Ok(output) }
    }

    /// Waits until the type User has this reason; returns the status.
    #[track_caller]
    pub fn until_reason(&self, reason: &str) -> Value {
        self.until_user(reason, |user| user["reason"] == reason)
    }

    /// Waits until each database of the type has this reason. The type has another one if a move is wanted or on hold.
    #[track_caller]
    pub fn until_copies(&self, reason: &str) {
        self.until_user(reason, |user| {
            let databases = user["databases"].as_array().into_iter().flatten();
            databases.clone().count() > 0 && databases.into_iter().all(|database| database["reason"] == reason)
        });
    }

    /// Waits until the entry of the type User fulfils the condition, for the present generation.
    #[track_caller]
    pub fn until_user(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{} User: {what}", self.pool.namespace), || {
            let object = self.pool.cluster.get_json(&["lpm", "pool01", "-n", &self.pool.namespace])?;
            let status = &object["status"];
            let ready = condition(status, "Ready").ok_or("no Ready condition")?;
            if ready["observedGeneration"] != object["metadata"]["generation"] {
                return Err("the operator has not seen the change".to_owned());
            }
            let types = status["databaseTypes"].as_array().ok_or_else(|| ready.to_string())?;
            let user = types.iter().find(|ty| ty["type"] == "User").ok_or("no User")?;
            if check(user) { Ok(status.clone()) } else { Err(user.to_string()) }
        })
    }

    /// Waits until a condition has this status and this reason.
    #[track_caller]
    pub fn until_condition(&self, kind: &str, wanted: (&str, &str)) -> Value {
        until(&format!("{} {kind} {wanted:?}", self.pool.namespace), || {
            let status = self.pool.status("pool01")?;
            let found = condition(&status, kind).ok_or_else(|| format!("no {kind}"))?;
            if found["status"] == wanted.0 && found["reason"] == wanted.1 {
                Ok(found.clone())
            } else {
                Err(found.to_string())
            }
        })
    }

    /// Waits until the resource has no such condition.
    #[track_caller]
    pub fn until_no_condition(&self, kind: &str) {
        until(&format!("{} has no {kind}", self.pool.namespace), || {
            let status = self.pool.status("pool01")?;
            condition(&status, kind).map_or(Ok(()), |found| Err(found.to_string()))
        });
    }

    pub fn aligned(&self) -> Value {
        self.until_user("Aligned", |user| user["reason"] == "Aligned" && user["service"] == "Protected")
    }

    /// Waits until an event with this reason was published.
    #[track_caller]
    pub fn until_event(&self, reason: &str) {
        until(&format!("event {reason}"), || {
            let list = self.pool.cluster.get_json(&["events.events.k8s.io", "-n", &self.pool.namespace])?;
            let found = list["items"].as_array().into_iter().flatten().any(|event| event["reason"] == reason);
            if found { Ok(()) } else { Err("not yet".to_owned()) }
        });
    }

    /// The message of the type User.
    pub fn message(status: &Value) -> &str {
        status["databaseTypes"][0]["message"].as_str().unwrap_or_default()
    }

    /// Takes over what another reader of the same pages has run.
    pub fn join(&mut self, other: Reader) {
        assert_eq!(other.pool.sim.failures(), Vec::<String>::new());
        for ((_, run), (_, other)) in self.blocks.iter_mut().zip(&other.blocks) {
            *run |= other;
        }
    }

    /// Fails if a block of the pages was not run, or if the simulation did not understand a statement.
    pub fn finish(self) {
        assert_eq!(self.pool.sim.failures(), Vec::<String>::new());
        let left: Vec<_> = self
            .blocks
            .iter()
            .filter(|(block, run)| !run && super::not_run(block).is_none())
            .map(|(block, _)| block)
            .collect();
        assert!(left.is_empty(), "blocks that no case has run: {left:#?}");
        let needless: Vec<_> =
            self.blocks.iter().filter(|(block, run)| *run && super::not_run(block).is_some()).collect();
        assert!(needless.is_empty(), "blocks that were run and are in NOT_RUN: {needless:#?}");
    }
}
