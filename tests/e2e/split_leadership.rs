//! Two operators that both believe, or did believe, that they lead: one is frozen past its lease, or cut off from the API
//! server, while it has something to send. Whatever arrives late, the server itself refuses.
//!
//! A skewed clock cannot make two leaders: a candidate times the lease by its own monotonic clock from the moment at which
//! it saw it change (`leader::election`, `a_rivals_clock_counts_for_nothing`).

use std::sync::Arc;

use crate::support::breakpoint::{Gate, is_failover, is_login};
use crate::support::proxy::Proxy;
use crate::support::{Operator, Stage, types, until, until_logged};
use mirror_sim::probe::Request;
use serde_json::{Value, json};

const MOVE: usize = 3;

/// Two operators, each behind a proxy of its own; the first one leads and has begun to move User to the mirror, and
/// what it sends is held at the gate.
struct Pair {
    stage: Stage,
    gate: Arc<Gate>,
    first: Operator,
    first_way: Proxy,
    second: Operator,
    _second_way: Proxy,
}

#[track_caller]
fn until_held_by(stage: &Stage, replica: &str) {
    let name = format!("lync-mirror-{}", stage.namespace);
    until(&format!("{replica} has the lease"), || {
        let lease = stage.cluster.get_json(&["lease", &name, "-n", &stage.namespace])?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        if holder.starts_with(replica) { Ok(()) } else { Err(holder) }
    });
}

fn count(outcomes: &[String], wanted: &str) -> usize {
    outcomes.iter().filter(|outcome| *outcome == wanted).count()
}

/// What the guard answers: `RAISERROR` with a text.
const REFUSED: &str = "error 50000";

impl Pair {
    async fn set(namespace: &str, holds: fn(Request) -> bool) -> Pair {
        let stage = Stage::set(namespace, true).await;
        let gate = Gate::new("a", MOVE, holds);
        stage.sim.probe(gate.clone());
        let (first, first_way) = stage.proxied(&format!("{namespace}-1")).await;
        stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
        stage.until_ready("pool01", "True", "Aligned");
        let (second, _second_way) = stage.proxied(&format!("{namespace}-2")).await;
        until_held_by(&stage, &format!("{namespace}-1"));
        gate.arm();
        stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
        gate.until_full();
        assert_eq!(stage.failovers(), Vec::<String>::new());
        Pair { stage, gate, first, first_way, second, _second_way }
    }

    /// The second operator leads now, and finishes the move that the first one wrote down.
    fn second_takes_over(&self) {
        until_held_by(&self.stage, &format!("{}-2", self.stage.namespace));
        let status = self.stage.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
        assert_eq!(self.stage.failovers().len(), 3, "{:?}", self.stage.failovers());
    }

    /// What was held arrives, and the first operator is back: it follows, and is ready to take over.
    fn end(mut self, principals: &str, failovers: usize) -> Vec<Value> {
        let namespace = self.stage.namespace.clone();
        self.gate.open();
        until_logged(&format!("{namespace}-1"), "leading no more");
        until("what was held has found its end", || {
            let outcomes = self.stage.outcomes();
            let open = count(&outcomes, "running");
            if open == 0 { Ok(()) } else { Err(format!("{outcomes:?}")) }
        });
        self.stage.until_ready("pool01", "True", "Aligned");
        until_held_by(&self.stage, &format!("{namespace}-2"));
        assert!(self.first.lives() && self.second.lives(), "both go on");
        // The one that was away leads again, and finds nothing to do.
        assert_eq!(self.second.stop(), Some(0), "a clean exit");
        until_held_by(&self.stage, &format!("{namespace}-1"));
        self.stage.patch("pool01", &json!({"spec": {"policy": {"cooldown": "1s"}}}));
        let status = self.stage.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], principals);
        assert_eq!(self.stage.failovers().len(), failovers, "{:?}", self.stage.failovers());
        assert_eq!(self.stage.sim.failures(), Vec::<String>::new());
        status["history"].as_array().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_frozen_leader_arrive_after_the_move() {
    let pair = Pair::set("two-late", is_failover).await;
    pair.first.freeze();
    pair.second_takes_over();
    pair.gate.open();
    until("the server has refused them", || {
        let outcomes = pair.stage.outcomes();
        if count(&outcomes, REFUSED) == MOVE { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    pair.first.thaw();
    let outcomes = pair.stage.outcomes();
    assert_eq!((outcomes.len(), count(&outcomes, "done")), (6, 3), "{outcomes:?}");
    let history = pair.end("User=Mirror CentralMgmt=Primary", 3);
    assert_eq!((history.len(), &history[0]["outcome"]), (1, &json!("Succeeded")));
}

/// The roles are as they were when the statements were written: only the role sequence tells.
#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_frozen_leader_arrive_after_the_way_back() {
    let pair = Pair::set("two-later", is_failover).await;
    pair.first.freeze();
    pair.second_takes_over();
    pair.stage.cluster.apply(&pair.stage.pool("pool01", types("Primary", "Primary")));
    let status = pair.stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    pair.gate.open();
    until("the server has refused them", || {
        let outcomes = pair.stage.outcomes();
        if count(&outcomes, REFUSED) == MOVE { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    pair.first.thaw();
    let outcomes = pair.stage.outcomes();
    assert_eq!((outcomes.len(), count(&outcomes, "done")), (9, 6), "{outcomes:?}");
    let history = pair.end("User=Primary CentralMgmt=Primary", 6);
    assert_eq!(history.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_asks_its_lease_before_it_sends() {
    let pair = Pair::set("two-asks", is_login).await;
    pair.first_way.part();
    until_logged("two-asks-1", "leading no more: the lease was not renewed in time");
    // Its connections to the server are there now: too late.
    pair.gate.open();
    until_logged("two-asks-1", "the lease was lost before the statements were sent: nothing was sent");
    assert_eq!(pair.stage.outcomes(), Vec::<String>::new());
    pair.second_takes_over();
    pair.first_way.join();
    assert_eq!(pair.stage.outcomes(), ["done", "done", "done"]);
    pair.end("User=Mirror CentralMgmt=Primary", 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_from_the_api_server_gives_way() {
    let pair = Pair::set("two-apart", is_failover).await;
    pair.first_way.part();
    until_logged("two-apart-1", "leading no more: the lease was not renewed in time");
    pair.second_takes_over();
    pair.gate.open();
    until("the server has refused them", || {
        let outcomes = pair.stage.outcomes();
        if count(&outcomes, REFUSED) == MOVE { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    pair.first_way.join();
    pair.end("User=Mirror CentralMgmt=Primary", 3);
}
