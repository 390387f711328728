//! The scenarios in which an operator is killed. Each has a beginning, which is not disturbed, and an act whose points are
//! numbered. An act waits for conditions that hold however often the operator is replaced, never for passing ones.

use std::pin::Pin;

use serde_json::{Value, json};

use crate::run::{POOL, Run};
use crate::support::types;

pub type Step = for<'a> fn(&'a Run<'a>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

pub struct Scenario {
    pub name: &'static str,
    pub witness: bool,
    /// None: the act begins with the start of the operator.
    pub beginning: Option<Step>,
    pub act: Step,
}

macro_rules! step {
    (|$run:ident| $body:block) => {
        |$run| Box::pin(async move { $body })
    };
}

const ALIGNED: Step = step!(|run| {
    run.create(types("Primary", "Primary")).await?;
    run.ready("True", "Aligned").await.map(drop)
});

/// A DBA moves these databases; the operator detects it and holds.
async fn moved_by_hand(run: &Run<'_>, databases: &[&str], reason: &str) -> Result<Value, String> {
    for database in databases {
        run.command(json!({"do": "failover", "pair": POOL, "database": database}))?;
    }
    run.ready("False", reason).await?;
    synchronized(run).await
}

async fn synchronized(run: &Run<'_>) -> Result<Value, String> {
    run.until("Synchronized", |object| {
        let status = &object["status"];
        let found = crate::support::condition(status, "Synchronized").filter(|condition| condition["status"] == "True");
        found.map(|_| status.clone()).ok_or_else(|| status["conditions"].to_string())
    })
    .await
}

fn epoch(status: &Value) -> Value {
    status["databaseTypes"][0]["epoch"].clone()
}

async fn aligned_after(run: &Run<'_>, databases: Value) -> Result<(), String> {
    run.set(json!({"databaseTypes": databases})).await?;
    run.ready("True", "Aligned").await.map(drop)
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "first sight", witness: true, beginning: None, act: ALIGNED },
    Scenario {
        name: "user move",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| { aligned_after(run, types("Mirror", "Primary")).await }),
    },
    Scenario {
        name: "move back",
        witness: true,
        beginning: Some(step!(|run| {
            run.create(types("Primary", "Primary")).await?;
            run.ready("True", "Aligned").await?;
            aligned_after(run, types("Mirror", "Primary")).await
        })),
        act: step!(|run| { aligned_after(run, types("Primary", "Primary")).await }),
    },
    Scenario {
        name: "two types in order",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| { aligned_after(run, types("Mirror", "Mirror")).await }),
    },
    Scenario {
        name: "lost answers",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            run.command(json!({"do": "loseAnswer", "server": "a", "matching": "PARTNER FAILOVER", "times": 3}))?;
            aligned_after(run, types("Mirror", "Primary")).await
        }),
    },
    Scenario {
        name: "refused, rolled forward",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            run.command(json!({"do": "failStatement", "server": "a", "number": 1404, "times": 1}))?;
            aligned_after(run, types("Mirror", "Primary")).await
        }),
    },
    Scenario {
        name: "done, answered as an error",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            run.command(json!({"do": "failAfter", "server": "a", "number": 1413, "times": 2}))?;
            aligned_after(run, types("Mirror", "Primary")).await
        }),
    },
    Scenario {
        name: "a DBA is faster",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            let slow =
                json!({"do": "delayBefore", "server": "a", "matching": "PARTNER FAILOVER", "millis": 1000, "times": 3});
            run.command(slow)?;
            run.set(json!({"databaseTypes": types("Mirror", "Primary")})).await?;
            run.until("the journal is written", |object| {
                let none = object["status"]["operation"].is_null();
                if none { Err("no operation".to_owned()) } else { Ok(()) }
            })
            .await?;
            for database in ["rtcxds", "rtcshared", "rtcab"] {
                run.command(json!({"do": "failover", "pair": POOL, "database": database}))?;
            }
            run.ready("True", "Aligned").await.map(drop)
        }),
    },
    Scenario {
        name: "witness moves, held",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            run.command(json!({"do": "kill", "server": "a"}))?;
            run.world("the witness moved all", |state| {
                let mut all = state["databases"].as_array().into_iter().flatten().filter(|entry| entry["pair"] == POOL);
                all.all(|entry| entry["mirror"]["role"] == "PRINCIPAL" && entry["moving"] == false)
            })
            .await?;
            run.ready("False", "UnexpectedPrincipal").await?;
            run.command(json!({"do": "start", "server": "a"}))?;
            synchronized(run).await?;
            run.ready("False", "UnexpectedPrincipal").await.map(drop)
        }),
    },
    Scenario {
        name: "approved",
        witness: true,
        beginning: Some(step!(|run| {
            run.create(types("Primary", "Primary")).await?;
            run.ready("True", "Aligned").await?;
            moved_by_hand(run, &["rtcxds", "rtcshared", "rtcab"], "UnexpectedPrincipal").await.map(drop)
        })),
        act: step!(|run| {
            let mut wanted = types("Primary", "Primary");
            wanted[0]["approve"] = json!({"epoch": epoch(&run.object().await?["status"])});
            aligned_after(run, wanted).await
        }),
    },
    Scenario {
        name: "fail-back",
        witness: true,
        beginning: Some(step!(|run| {
            let policy =
                json!({"unrequestedSwitch": "FailBack", "failBackAfter": "0s", "cooldown": "0s", "settleAfter": "0s"});
            run.create_with(types("Primary", "Primary"), policy).await?;
            run.ready("True", "Aligned").await.map(drop)
        })),
        act: step!(|run| {
            run.command(json!({"do": "kill", "server": "a"}))?;
            run.world("the witness moved all", |state| {
                let mut all = state["databases"].as_array().into_iter().flatten().filter(|entry| entry["pair"] == POOL);
                all.all(|entry| entry["mirror"]["role"] == "PRINCIPAL")
            })
            .await?;
            run.command(json!({"do": "start", "server": "a"}))?;
            run.world("User and CentralMgmt are back", |state| {
                let mut all = state["databases"].as_array().into_iter().flatten().filter(|entry| entry["pair"] == POOL);
                all.all(|entry| entry["primary"]["role"] == "PRINCIPAL" && entry["mirror"]["role"] == "MIRROR")
            })
            .await?;
            run.ready("True", "Aligned").await.map(drop)
        }),
    },
    Scenario {
        name: "suspend lifted",
        witness: true,
        beginning: Some(step!(|run| {
            run.create(types("Primary", "Primary")).await?;
            run.ready("True", "Aligned").await?;
            let wanted = types("Mirror", "Primary");
            run.set(json!({"databaseTypes": wanted, "suspend": {"reason": "SQL patching"}})).await?;
            run.ready("False", "Suspended").await.map(drop)
        })),
        act: step!(|run| {
            run.set(json!({"suspend": null})).await?;
            run.ready("True", "Aligned").await.map(drop)
        }),
    },
    Scenario {
        name: "split roles finished",
        witness: true,
        beginning: Some(step!(|run| {
            run.create(types("Primary", "Primary")).await?;
            run.ready("True", "Aligned").await?;
            moved_by_hand(run, &["rtcab"], "SplitRoles").await.map(drop)
        })),
        act: step!(|run| { aligned_after(run, types("Mirror", "Primary")).await }),
    },
    Scenario {
        name: "service forced by consent",
        witness: false,
        beginning: Some(step!(|run| {
            run.create(json!([{"type": "User", "principal": "Primary"}])).await?;
            run.ready("True", "Aligned").await?;
            run.command(json!({"do": "kill", "server": "a"}))?;
            run.ready("False", "PrincipalLost").await?;
            run.until("the plan shows what a consent would do", |object| {
                let plan = &object["status"]["plan"][0]["statement"];
                let forces = plan.as_str().is_some_and(|text| text.contains("FORCE_SERVICE"));
                if forces { Ok(()) } else { Err(plan.to_string()) }
            })
            .await
        })),
        act: step!(|run| {
            let epoch = epoch(&run.object().await?["status"]);
            let consent = json!({"epoch": epoch, "acceptDataLoss": true, "oldPrincipalFenced": true, "until": "2100-01-01T00:00:00Z"});
            let wanted = json!([{"type": "User", "principal": "Primary", "forceService": consent}]);
            run.set(json!({"databaseTypes": wanted})).await?;
            run.ready("False", "ServiceForced").await.map(drop)
        }),
    },
    Scenario {
        name: "spec changed during a move",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            run.command(json!({"do": "setSwitchMillis", "pair": POOL, "millis": 800}))?;
            run.set(json!({"databaseTypes": types("Mirror", "Primary")})).await?;
            run.user_moves("mirror").await?;
            run.command(json!({"do": "setSwitchMillis", "pair": POOL, "millis": 200}))?;
            aligned_after(run, types("Primary", "Primary")).await
        }),
    },
    Scenario {
        name: "deleted and made anew during a move",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|run| {
            run.command(json!({"do": "setSwitchMillis", "pair": POOL, "millis": 800}))?;
            run.set(json!({"databaseTypes": types("Mirror", "Primary")})).await?;
            run.user_moves("mirror").await?;
            run.delete().await?;
            run.create(types("Mirror", "Primary")).await?;
            run.ready("True", "Aligned").await.map(drop)
        }),
    },
];
