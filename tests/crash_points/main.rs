//! Kills the operator at numbered points. A run without a fault numbers every API write and every TDS request of a scenario.
//! Then the operator is killed at such a request: before it, after its execution, or after its answer. Each run must end like
//! the undisturbed one, with the same failovers.
//!
//! `LYNC_MIRROR_POINTS` is the number of runs, or `all`. A seed that changes each day chooses them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod recorder;
mod run;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fastrand::Rng;
use mirror_sim::probe::Moment;
use recorder::Checkpoint;
use run::{End, Lane, Run};
use scenarios::{ALL, Scenario};
use support::rng::seed;

/// Enough to keep two cores busy: a run mostly waits.
const LANES: usize = 4;
/// The number of runs without `LYNC_MIRROR_POINTS`.
const FEW: usize = 32;
/// The number of runs from one line of progress to the next.
const PROGRESS: usize = 50;

/// One run: of which scenario, and where it is cut.
type Task = (usize, Option<Checkpoint>);

struct RunResult {
    task: Task,
    /// The end, the checkpoints that were met, and whether the operator was killed; or what went wrong.
    outcome: Result<(End, Vec<Checkpoint>, bool), String>,
}

/// How often a run is repeated until its checkpoint occurs: a poll can miss a short state, and then its write is missing too.
const TRIES: usize = 3;

async fn execute(
    lane: &Lane,
    scenario: &Scenario,
    checkpoint: Option<Checkpoint>,
) -> Result<(End, Vec<Checkpoint>, bool), String> {
    let run = Run::open(lane, scenario.witness).await?;
    run.command(serde_json::json!({"do": "setSwitchMillis", "pair": run::POOL, "millis": 200}))?;
    if scenario.beginning.is_none() {
        run.recorder.start(checkpoint.clone());
    }
    run.employ();
    if let Some(beginning) = scenario.beginning {
        beginning(&run).await.map_err(|error| format!("the beginning: {error}"))?;
        // Let the pending writes of the beginning happen first.
        run.polled_again().await?;
        run.recorder.start(checkpoint);
    }
    let ended = tokio::select! {
        failed = run.supervise() => failed.map(|()| unreachable!("it never returns")),
        ended = async { (scenario.act)(&run).await?; run.end().await } => ended,
    };
    let fired = *run.recorder.fired().borrow();
    run.close().await?;
    ended.map(|(end, met)| (end, met, fired))
}

/// Executes the tasks on all lanes in parallel.
async fn execute_all(lanes: &[Arc<Lane>], tasks: Vec<Task>) -> Vec<RunResult> {
    let total = tasks.len();
    let queue = Arc::new(Mutex::new(VecDeque::from(tasks)));
    let runs = Arc::new(Mutex::new(Vec::new()));
    let mut running = tokio::task::JoinSet::new();
    for lane in lanes {
        let (lane, queue, runs) = (lane.clone(), queue.clone(), runs.clone());
        running.spawn(async move {
            loop {
                let Some(task) = queue.lock().unwrap().pop_front() else { return };
                let mut outcome = execute(&lane, &ALL[task.0], task.1.clone()).await;
                for _ in 1..TRIES {
                    if !(task.1.is_some() && matches!(outcome, Ok((_, _, false)))) {
                        break;
                    }
                    outcome = execute(&lane, &ALL[task.0], task.1.clone()).await;
                }
                if outcome.is_err() {
                    let kept = lane.log().with_file_name(format!("points-failed-{}.log", runs.lock().unwrap().len()));
                    let _ = std::fs::copy(lane.log(), &kept);
                    println!("{}: {:?}: {outcome:?}; its log: {}", ALL[task.0].name, task.1, kept.display());
                }
                let mut runs = runs.lock().unwrap();
                runs.push(RunResult { task, outcome });
                if runs.len().is_multiple_of(PROGRESS) {
                    println!("{} of {total} runs", runs.len());
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    Arc::into_inner(runs).unwrap().into_inner().unwrap()
}

/// How many runs are wanted; None: all.
fn wanted() -> Option<usize> {
    match std::env::var("LYNC_MIRROR_POINTS").as_deref() {
        Ok("all") => None,
        Ok(text) => Some(text.parse().expect("LYNC_MIRROR_POINTS is a number, or all")),
        Err(_) => Some(FEW),
    }
}

/// Chooses at random, about the same number for each scenario.
fn choose(checkpoints: &[Vec<Checkpoint>], count: Option<usize>, rng: &mut Rng) -> Vec<Task> {
    let mut left: Vec<Vec<Checkpoint>> = checkpoints.to_vec();
    left.iter_mut().for_each(|checkpoints| rng.shuffle(checkpoints));
    let mut chosen = Vec::new();
    let total = left.iter().map(Vec::len).sum();
    while chosen.len() < count.unwrap_or(total).min(total) {
        let next = left
            .iter_mut()
            .enumerate()
            .filter_map(|(scenario, checkpoints)| Some((scenario, Some(checkpoints.pop()?))));
        chosen.extend(next);
    }
    chosen.truncate(count.unwrap_or(total));
    chosen
}

fn word(moment: Moment) -> &'static str {
    match moment {
        Moment::Received => "before",
        Moment::Executed => "after it was executed",
        Moment::Answered => "after the answer",
    }
}

/// Prints the points of every scenario, if LYNC_MIRROR_POINTS_LIST is set.
fn list_points(checkpoints: &[Vec<Checkpoint>]) {
    if std::env::var_os("LYNC_MIRROR_POINTS_LIST").is_some() {
        for (scenario, checkpoints) in ALL.iter().zip(checkpoints) {
            let points: BTreeSet<&String> = checkpoints.iter().map(|(point, _)| point).collect();
            println!("{}:\n  {}", scenario.name, points.into_iter().cloned().collect::<Vec<_>>().join("\n  "));
        }
    }
}

/// The runs of one scenario against its undisturbed end.
struct Judged {
    killed: usize,
    /// Runs in which the checkpoint did not occur.
    missed: usize,
    wrong: Vec<String>,
}

fn judge<'a>(name: &str, end: &End, runs: impl Iterator<Item = &'a RunResult>) -> Judged {
    let mut judged = Judged { killed: 0, missed: 0, wrong: Vec::new() };
    for run in runs {
        let (point, moment) = run.task.1.clone().unwrap();
        let wrong = match &run.outcome {
            Ok((_, _, fired)) if !fired => {
                judged.missed += 1;
                println!("did not occur: {name}: {point}, {moment:?}");
                // Without a kill the end must not differ.
                None
            }
            Ok(_) => {
                judged.killed += 1;
                None
            }
            Err(error) => {
                judged.killed += 1;
                Some(error.clone())
            }
        };
        let differs = run.outcome.as_ref().ok().filter(|(got, ..)| got != end).map(|(got, ..)| format!("{got:?}"));
        if let Some(wrong) = wrong.or(differs) {
            judged.wrong.push(format!("{name}, {point}, {}: {wrong}\n    undisturbed: {end:?}", word(moment)));
        }
    }
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn crash_at_a_numbered_point_loses_and_doubles_no_move() {
    let (seed, begun) = (seed(), Instant::now());
    println!("seed {seed} (replay: LYNC_MIRROR_SEED={seed})");
    let mut lanes = Vec::new();
    for number in 0..LANES {
        lanes.push(Arc::new(Lane::start(number).await));
    }

    let undisturbed = execute_all(&lanes, (0..ALL.len()).map(|scenario| (scenario, None)).collect()).await;
    let expected: Vec<(End, Vec<Checkpoint>)> = (0..ALL.len())
        .map(|number| {
            let run = undisturbed.iter().find(|run| run.task.0 == number).unwrap();
            let (end, met, _) = run.outcome.clone().expect(ALL[number].name);
            (end, met)
        })
        .collect();
    let checkpoints: Vec<Vec<Checkpoint>> = expected.iter().map(|(_, met)| met.clone()).collect();
    let all: usize = checkpoints.iter().map(Vec::len).sum();
    list_points(&checkpoints);

    let tasks = choose(&checkpoints, wanted(), &mut Rng::with_seed(seed));
    let runs = execute_all(&lanes, tasks).await;

    let mut table = format!(
        "{:36} {:>6} {:>11} {:>6} {:>11} {:>6}   end\n",
        "scenario", "points", "checkpoints", "killed", "not reached", "failed"
    );
    let mut failures = Vec::new();
    let (mut killed_in_all, mut missed_in_all) = (0, 0);
    for (scenario, (end, met)) in expected.iter().enumerate() {
        let name = ALL[scenario].name;
        let Judged { killed, missed, wrong } = judge(name, end, runs.iter().filter(|run| run.task.0 == scenario));
        let failed = wrong.len();
        failures.extend(wrong);
        let points = met.iter().map(|(point, _)| point).collect::<BTreeSet<_>>().len();
        let failovers = end.failovers.len();
        writeln!(
            table,
            "{name:36} {points:>6} {:>11} {killed:>6} {missed:>11} {failed:>6}   {}, {failovers} failovers",
            met.len(),
            end.ready,
        )
        .unwrap();
        killed_in_all += killed;
        missed_in_all += missed;
    }
    println!("{table}");
    println!(
        "{} of {all} checkpoints chosen: {killed_in_all} runs killed there, {missed_in_all} in which the checkpoint did not occur, {} failed; {} s",
        runs.len(),
        failures.len(),
        begun.elapsed().as_secs(),
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(all >= 300, "only {all} checkpoints are numbered: too few to prove anything");
    // About one in twelve checkpoints is short and does not occur in each run; of 32 that can be a few more.
    assert!(
        killed_in_all * 4 >= runs.len() * 3,
        "more than a quarter of the checkpoints did not occur: the numbers differ between runs"
    );
}
