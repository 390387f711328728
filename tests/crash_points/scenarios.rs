//! The stories in which an operator is killed. Each has a beginning, which is not disturbed, and an act whose points are
//! numbered. An act waits for conditions that hold however often the operator is replaced, never for passing ones.

use std::pin::Pin;

use serde_json::{Value, json};

use crate::play::{POOL, Play};
use crate::support::types;

pub type Step = for<'a> fn(&'a Play<'a>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

pub struct Scenario {
    pub name: &'static str,
    pub witness: bool,
    /// None: the act begins with the operator's own start.
    pub beginning: Option<Step>,
    pub act: Step,
}

macro_rules! step {
    (|$play:ident| $body:block) => {
        |$play| Box::pin(async move { $body })
    };
}

const ALIGNED: Step = step!(|play| {
    play.create(types("Primary", "Primary")).await?;
    play.ready("True", "Aligned").await.map(drop)
});

/// A DBA moves these databases; the operator sees it and holds.
async fn moved_by_hand(play: &Play<'_>, databases: &[&str], reason: &str) -> Result<Value, String> {
    for database in databases {
        play.command(json!({"do": "failover", "pair": POOL, "database": database}))?;
    }
    play.ready("False", reason).await?;
    synchronized(play).await
}

async fn synchronized(play: &Play<'_>) -> Result<Value, String> {
    play.until("Synchronized", |object| {
        let status = &object["status"];
        let found = crate::support::condition(status, "Synchronized").filter(|condition| condition["status"] == "True");
        found.map(|_| status.clone()).ok_or_else(|| status["conditions"].to_string())
    })
    .await
}

fn epoch(status: &Value) -> Value {
    status["databaseTypes"][0]["epoch"].clone()
}

async fn aligned_after(play: &Play<'_>, databases: Value) -> Result<(), String> {
    play.set(json!({"databaseTypes": databases})).await?;
    play.ready("True", "Aligned").await.map(drop)
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "first sight", witness: true, beginning: None, act: ALIGNED },
    Scenario {
        name: "user move",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| { aligned_after(play, types("Mirror", "Primary")).await }),
    },
    Scenario {
        name: "move back",
        witness: true,
        beginning: Some(step!(|play| {
            play.create(types("Primary", "Primary")).await?;
            play.ready("True", "Aligned").await?;
            aligned_after(play, types("Mirror", "Primary")).await
        })),
        act: step!(|play| { aligned_after(play, types("Primary", "Primary")).await }),
    },
    Scenario {
        name: "two types in order",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| { aligned_after(play, types("Mirror", "Mirror")).await }),
    },
    Scenario {
        name: "lost answers",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            play.command(json!({"do": "loseAnswer", "server": "a", "matching": "PARTNER FAILOVER", "times": 3}))?;
            aligned_after(play, types("Mirror", "Primary")).await
        }),
    },
    Scenario {
        name: "refused, rolled forward",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            play.command(json!({"do": "failStatement", "server": "a", "number": 1404, "times": 1}))?;
            aligned_after(play, types("Mirror", "Primary")).await
        }),
    },
    Scenario {
        name: "done, answered as an error",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            play.command(json!({"do": "failAfter", "server": "a", "number": 1413, "times": 2}))?;
            aligned_after(play, types("Mirror", "Primary")).await
        }),
    },
    Scenario {
        name: "a DBA is faster",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            let slow =
                json!({"do": "delayBefore", "server": "a", "matching": "PARTNER FAILOVER", "millis": 1000, "times": 3});
            play.command(slow)?;
            play.set(json!({"databaseTypes": types("Mirror", "Primary")})).await?;
            play.until("the journal is written", |object| {
                let none = object["status"]["operation"].is_null();
                if none { Err("no operation".to_owned()) } else { Ok(()) }
            })
            .await?;
            for database in ["rtcxds", "rtcshared", "rtcab"] {
                play.command(json!({"do": "failover", "pair": POOL, "database": database}))?;
            }
            play.ready("True", "Aligned").await.map(drop)
        }),
    },
    Scenario {
        name: "witness moves, held",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            play.command(json!({"do": "kill", "server": "a"}))?;
            play.world("the witness moved all", |state| {
                let mut all = state["databases"].as_array().into_iter().flatten().filter(|one| one["pair"] == POOL);
                all.all(|one| one["mirror"]["role"] == "PRINCIPAL" && one["moving"] == false)
            })
            .await?;
            play.ready("False", "UnexpectedPrincipal").await?;
            play.command(json!({"do": "start", "server": "a"}))?;
            synchronized(play).await?;
            play.ready("False", "UnexpectedPrincipal").await.map(drop)
        }),
    },
    Scenario {
        name: "approved",
        witness: true,
        beginning: Some(step!(|play| {
            play.create(types("Primary", "Primary")).await?;
            play.ready("True", "Aligned").await?;
            moved_by_hand(play, &["rtcxds", "rtcshared", "rtcab"], "UnexpectedPrincipal").await.map(drop)
        })),
        act: step!(|play| {
            let mut wanted = types("Primary", "Primary");
            wanted[0]["approve"] = json!({"epoch": epoch(&play.object().await?["status"])});
            aligned_after(play, wanted).await
        }),
    },
    Scenario {
        name: "fail-back",
        witness: true,
        beginning: Some(step!(|play| {
            let policy = json!({"unrequestedSwitch": "FailBack", "failBackAfter": "0s", "cooldown": "0s"});
            play.create_with(types("Primary", "Primary"), policy).await?;
            play.ready("True", "Aligned").await.map(drop)
        })),
        act: step!(|play| {
            play.command(json!({"do": "kill", "server": "a"}))?;
            play.world("the witness moved all", |state| {
                let mut all = state["databases"].as_array().into_iter().flatten().filter(|one| one["pair"] == POOL);
                all.all(|one| one["mirror"]["role"] == "PRINCIPAL")
            })
            .await?;
            play.command(json!({"do": "start", "server": "a"}))?;
            play.world("User and CentralMgmt are back", |state| {
                let mut all = state["databases"].as_array().into_iter().flatten().filter(|one| one["pair"] == POOL);
                all.all(|one| one["primary"]["role"] == "PRINCIPAL" && one["mirror"]["role"] == "MIRROR")
            })
            .await?;
            play.ready("True", "Aligned").await.map(drop)
        }),
    },
    Scenario {
        name: "suspend lifted",
        witness: true,
        beginning: Some(step!(|play| {
            play.create(types("Primary", "Primary")).await?;
            play.ready("True", "Aligned").await?;
            let wanted = types("Mirror", "Primary");
            play.set(json!({"databaseTypes": wanted, "suspend": {"reason": "SQL patching"}})).await?;
            play.ready("False", "Suspended").await.map(drop)
        })),
        act: step!(|play| {
            play.set(json!({"suspend": null})).await?;
            play.ready("True", "Aligned").await.map(drop)
        }),
    },
    Scenario {
        name: "split roles finished",
        witness: true,
        beginning: Some(step!(|play| {
            play.create(types("Primary", "Primary")).await?;
            play.ready("True", "Aligned").await?;
            moved_by_hand(play, &["rtcab"], "SplitRoles").await.map(drop)
        })),
        act: step!(|play| { aligned_after(play, types("Mirror", "Primary")).await }),
    },
    Scenario {
        name: "service forced by consent",
        witness: false,
        beginning: Some(step!(|play| {
            play.create(json!([{"type": "User", "principal": "Primary"}])).await?;
            play.ready("True", "Aligned").await?;
            play.command(json!({"do": "kill", "server": "a"}))?;
            play.ready("False", "PrincipalLost").await?;
            play.set(json!({"databaseTypes": [{"type": "User", "principal": "Mirror"}]})).await?;
            play.until("the plan shows what a consent would do", |object| {
                let plan = &object["status"]["plan"][0]["statement"];
                let forces = plan.as_str().is_some_and(|text| text.contains("FORCE_SERVICE"));
                if forces { Ok(()) } else { Err(plan.to_string()) }
            })
            .await
        })),
        act: step!(|play| {
            let epoch = epoch(&play.object().await?["status"]);
            let consent = json!({"epoch": epoch, "acceptDataLoss": true, "until": "2100-01-01T00:00:00Z"});
            let wanted = json!([{"type": "User", "principal": "Mirror", "forceService": consent}]);
            play.set(json!({"databaseTypes": wanted})).await?;
            play.ready("False", "ServiceForced").await.map(drop)
        }),
    },
    Scenario {
        name: "spec changed during a move",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            play.command(json!({"do": "setSwitchMillis", "pair": POOL, "millis": 800}))?;
            play.set(json!({"databaseTypes": types("Mirror", "Primary")})).await?;
            play.user_moves("mirror").await?;
            play.command(json!({"do": "setSwitchMillis", "pair": POOL, "millis": 200}))?;
            aligned_after(play, types("Primary", "Primary")).await
        }),
    },
    Scenario {
        name: "deleted and made anew during a move",
        witness: true,
        beginning: Some(ALIGNED),
        act: step!(|play| {
            play.command(json!({"do": "setSwitchMillis", "pair": POOL, "millis": 800}))?;
            play.set(json!({"databaseTypes": types("Mirror", "Primary")})).await?;
            play.user_moves("mirror").await?;
            play.delete().await?;
            play.create(types("Mirror", "Primary")).await?;
            play.ready("True", "Aligned").await.map(drop)
        }),
    },
];
