//! Two operators that both act as leader: one is frozen past its lease, or cut off from the API server, while it has statements
//! to send. SQL Server refuses the statements that arrive late.
//!
//! A skewed clock cannot make two leaders: a candidate times the lease by its own monotonic clock, from the change that it
//! observed (`leader::election`, `a_rivals_clock_counts_for_nothing`).

use std::sync::Arc;

use crate::support::breakpoint::{Breakpoint, is_failover, is_login};
use crate::support::proxy::Proxy;
use crate::support::{Operator, TestPool, types, until, until_logged};
use mirror_sim::probe::Request;
use serde_json::{Value, json};

const MOVE: usize = 3;

/// Two operators, each behind a proxy of its own. The first one leads and has begun to move User to the mirror; the
/// breakpoint holds its statements.
struct Pair {
    fixture: TestPool,
    breakpoint: Arc<Breakpoint>,
    first: Operator,
    first_proxy: Proxy,
    second: Operator,
    _second_proxy: Proxy,
}

#[track_caller]
fn until_held_by(fixture: &TestPool, replica: &str) {
    let name = format!("lync-mirror-{}", fixture.namespace);
    until(&format!("{replica} has the lease"), || {
        let lease = fixture.cluster.get_json(&["lease", &name, "-n", &fixture.namespace])?;
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
    async fn start(namespace: &str, holds: fn(Request) -> bool) -> Pair {
        let fixture = TestPool::start(namespace, true).await;
        let breakpoint = Breakpoint::new("a", MOVE, holds);
        fixture.sim.probe(breakpoint.clone());
        let (first, first_proxy) = fixture.proxied(&format!("{namespace}-1")).await;
        fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
        fixture.until_ready("pool01", "True", "Aligned");
        let (second, _second_proxy) = fixture.proxied(&format!("{namespace}-2")).await;
        until_held_by(&fixture, &format!("{namespace}-1"));
        breakpoint.arm();
        fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
        breakpoint.until_full();
        assert_eq!(fixture.failovers(), Vec::<String>::new());
        Pair { fixture, breakpoint, first, first_proxy, second, _second_proxy }
    }

    /// The second operator leads and finishes the move in the journal of the first one.
    fn second_takes_over(&self) {
        until_held_by(&self.fixture, &format!("{}-2", self.fixture.namespace));
        let status = self.fixture.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
        assert_eq!(self.fixture.failovers().len(), 3, "{:?}", self.fixture.failovers());
    }

    /// Releases the held requests. The first operator is back as a standby and can take over.
    fn end(mut self, principals: &str, failovers: usize) -> Vec<Value> {
        let namespace = self.fixture.namespace.clone();
        self.breakpoint.open();
        until_logged(&format!("{namespace}-1"), "leadership ended");
        until("what was held has found its end", || {
            let outcomes = self.fixture.outcomes();
            let open = count(&outcomes, "running");
            if open == 0 { Ok(()) } else { Err(format!("{outcomes:?}")) }
        });
        self.fixture.until_ready("pool01", "True", "Aligned");
        until_held_by(&self.fixture, &format!("{namespace}-2"));
        assert!(self.first.is_running() && self.second.is_running(), "both go on");
        // The first operator leads again, and nothing is left to do.
        assert_eq!(self.second.stop(), Some(0), "a clean exit");
        until_held_by(&self.fixture, &format!("{namespace}-1"));
        self.fixture.patch("pool01", &json!({"spec": {"policy": {"cooldown": "1s"}}}));
        let status = self.fixture.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], principals);
        assert_eq!(self.fixture.failovers().len(), failovers, "{:?}", self.fixture.failovers());
        assert_eq!(self.fixture.sim.failures(), Vec::<String>::new());
        status["history"].as_array().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_leader_whose_statements_arrive_after_the_move_is_refused() {
    let pair = Pair::start("two-late", is_failover).await;
    pair.first.freeze();
    pair.second_takes_over();
    pair.breakpoint.open();
    until("the server has refused them", || {
        let outcomes = pair.fixture.outcomes();
        if count(&outcomes, REFUSED) == MOVE { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    pair.first.thaw();
    let outcomes = pair.fixture.outcomes();
    assert_eq!((outcomes.len(), count(&outcomes, "done")), (6, 3), "{outcomes:?}");
    let history = pair.end("User=Mirror CentralMgmt=Primary", 3);
    assert_eq!((history.len(), &history[0]["outcome"]), (1, &json!("Succeeded")));
}

/// The roles are as they were when the statements were written: only the role sequence differs.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_leader_whose_statements_arrive_after_the_move_back_is_refused() {
    let pair = Pair::start("two-later", is_failover).await;
    pair.first.freeze();
    pair.second_takes_over();
    pair.fixture.cluster.apply(&pair.fixture.pool("pool01", types("Primary", "Primary")));
    let status = pair.fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    pair.breakpoint.open();
    until("the server has refused them", || {
        let outcomes = pair.fixture.outcomes();
        if count(&outcomes, REFUSED) == MOVE { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    pair.first.thaw();
    let outcomes = pair.fixture.outcomes();
    assert_eq!((outcomes.len(), count(&outcomes, "done")), (9, 6), "{outcomes:?}");
    let history = pair.end("User=Primary CentralMgmt=Primary", 6);
    assert_eq!(history.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_leader_before_sending_checks_its_lease() {
    let pair = Pair::start("two-asks", is_login).await;
    pair.first_proxy.part();
    until_logged("two-asks-1", "leadership ended: the lease was not renewed in time");
    // Its connections to the server are open now, too late.
    pair.breakpoint.open();
    until_logged("two-asks-1", "the lease was lost before the statements were sent: nothing was sent");
    assert_eq!(pair.fixture.outcomes(), Vec::<String>::new());
    pair.second_takes_over();
    pair.first_proxy.join();
    assert_eq!(pair.fixture.outcomes(), ["done", "done", "done"]);
    pair.end("User=Mirror CentralMgmt=Primary", 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_leader_after_sending_yields_to_the_other() {
    let pair = Pair::start("two-apart", is_failover).await;
    pair.first_proxy.part();
    until_logged("two-apart-1", "leadership ended: the lease was not renewed in time");
    pair.second_takes_over();
    pair.breakpoint.open();
    until("the server has refused them", || {
        let outcomes = pair.fixture.outcomes();
        if count(&outcomes, REFUSED) == MOVE { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    pair.first_proxy.join();
    pair.end("User=Mirror CentralMgmt=Primary", 3);
}
