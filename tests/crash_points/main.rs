//! No crash point loses or doubles a move: every API write and every TDS request of each scenario gets a number in a life
//! without a fault; then the operator is killed there, before, after it was executed, and after the answer. Each life must
//! end as the undisturbed one did, with the same failovers.
//!
//! `LYNC_MIRROR_POINTS` says how many lives are run: a number, or `all`. They are chosen by a seed that changes each day.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod play;
mod recorder;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use mirror_sim::probe::Moment;
use play::{End, Lane, Play};
use recorder::Mark;
use scenarios::{ALL, Scenario};
use support::rng::{Dice, seed};

/// As many as keep two cores busy: a life mostly waits.
const LANES: usize = 4;
/// Without `LYNC_MIRROR_POINTS`: as many as a run of all tests can afford.
const FEW: usize = 32;

/// One life: of which scenario, and where it is cut.
type Task = (usize, Option<Mark>);

struct Life {
    task: Task,
    /// The end, the marks that were met, and whether the operator was killed; or what went wrong.
    outcome: Result<(End, Vec<Mark>, bool), String>,
}

/// How often a mark is waited for: a look may come too late to show what lasts a moment only, and the write of it with that.
const TRIES: usize = 3;

async fn live(lane: &Lane, scenario: &Scenario, mark: Option<Mark>) -> Result<(End, Vec<Mark>, bool), String> {
    let play = Play::open(lane, scenario.witness).await?;
    play.command(serde_json::json!({"do": "setSwitchMillis", "pair": play::POOL, "millis": 200}))?;
    if scenario.beginning.is_none() {
        play.recorder.start(mark.clone());
    }
    play.employ();
    if let Some(beginning) = scenario.beginning {
        beginning(&play).await.map_err(|error| format!("the beginning: {error}"))?;
        // What the beginning left to say is said now.
        play.looked_again().await?;
        play.recorder.start(mark);
    }
    let ended = tokio::select! {
        failed = play.supervise() => failed.map(|()| unreachable!("it goes on for ever")),
        ended = async { (scenario.act)(&play).await?; play.end().await } => ended,
    };
    let fired = *play.recorder.fired().borrow();
    play.close().await?;
    ended.map(|(end, met)| (end, met, fired))
}

/// Lives the tasks out, on all lanes at once.
async fn live_all(lanes: &[Arc<Lane>], tasks: Vec<Task>) -> Vec<Life> {
    let queue = Arc::new(Mutex::new(VecDeque::from(tasks)));
    let lives = Arc::new(Mutex::new(Vec::new()));
    let mut running = tokio::task::JoinSet::new();
    for lane in lanes {
        let (lane, queue, lives) = (lane.clone(), queue.clone(), lives.clone());
        running.spawn(async move {
            loop {
                let Some(task) = queue.lock().unwrap().pop_front() else { return };
                let mut outcome = live(&lane, &ALL[task.0], task.1.clone()).await;
                for _ in 1..TRIES {
                    if !(task.1.is_some() && matches!(outcome, Ok((_, _, false)))) {
                        break;
                    }
                    outcome = live(&lane, &ALL[task.0], task.1.clone()).await;
                }
                if outcome.is_err() {
                    let kept = lane.log().with_file_name(format!("points-failed-{}.log", lives.lock().unwrap().len()));
                    let _ = std::fs::copy(lane.log(), &kept);
                    println!("{}: {:?}: {outcome:?}; its log: {}", ALL[task.0].name, task.1, kept.display());
                }
                lives.lock().unwrap().push(Life { task, outcome });
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    Arc::into_inner(lives).unwrap().into_inner().unwrap()
}

/// How many lives are asked for; None: all.
fn asked() -> Option<usize> {
    match std::env::var("LYNC_MIRROR_POINTS").as_deref() {
        Ok("all") => None,
        Ok(text) => Some(text.parse().expect("LYNC_MIRROR_POINTS is a number, or all")),
        Err(_) => Some(FEW),
    }
}

/// The same number of each scenario, as far as it goes; which ones, chance decides.
fn choose(marks: &[Vec<Mark>], count: Option<usize>, dice: &mut Dice) -> Vec<Task> {
    let mut left: Vec<Vec<Mark>> = marks.to_vec();
    left.iter_mut().for_each(|marks| dice.shuffle(marks));
    let mut chosen = Vec::new();
    let total = left.iter().map(Vec::len).sum();
    while chosen.len() < count.unwrap_or(total).min(total) {
        let next = left.iter_mut().enumerate().filter_map(|(scenario, marks)| Some((scenario, Some(marks.pop()?))));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn no_crash_point_loses_or_doubles_a_move() {
    let (seed, begun) = (seed(), Instant::now());
    println!("seed {seed} (LYNC_MIRROR_SEED={seed} tells it again)");
    let mut lanes = Vec::new();
    for number in 0..LANES {
        lanes.push(Arc::new(Lane::set(number).await));
    }

    let undisturbed = live_all(&lanes, (0..ALL.len()).map(|scenario| (scenario, None)).collect()).await;
    let mut expected: Vec<(End, Vec<Mark>)> = Vec::new();
    for (scenario, of) in ALL.iter().enumerate() {
        let life = undisturbed.iter().find(|life| life.task.0 == scenario).unwrap();
        let (end, met, _) = life.outcome.clone().expect(of.name);
        expected.push((end, met));
    }
    let marks: Vec<Vec<Mark>> = expected.iter().map(|(_, met)| met.clone()).collect();
    let all: usize = marks.iter().map(Vec::len).sum();
    if std::env::var_os("LYNC_MIRROR_POINTS_LIST").is_some() {
        for (scenario, marks) in ALL.iter().zip(&marks) {
            let points: BTreeSet<&String> = marks.iter().map(|(point, _)| point).collect();
            println!("{}:\n  {}", scenario.name, points.into_iter().cloned().collect::<Vec<_>>().join("\n  "));
        }
    }

    let tasks = choose(&marks, asked(), &mut Dice::new(seed));
    let lives = live_all(&lanes, tasks).await;

    let mut table = format!(
        "{:36} {:>6} {:>6} {:>6} {:>11} {:>6}   end\n",
        "scenario", "points", "marks", "killed", "not reached", "failed"
    );
    let mut failures = Vec::new();
    let (mut killed_in_all, mut missed_in_all) = (0, 0);
    for (scenario, (end, met)) in expected.iter().enumerate() {
        let name = ALL[scenario].name;
        let (mut killed, mut missed, mut failed) = (0, 0, 0);
        for life in lives.iter().filter(|life| life.task.0 == scenario) {
            let (point, moment) = life.task.1.clone().unwrap();
            let wrong = match &life.outcome {
                Ok((_, _, fired)) if !fired => {
                    missed += 1;
                    println!("did not come up: {name}: {point}, {moment:?}");
                    // Nobody was killed: then nothing may be different either.
                    None
                }
                Ok(_) => {
                    killed += 1;
                    None
                }
                Err(error) => {
                    killed += 1;
                    Some(error.clone())
                }
            };
            let differs = life.outcome.as_ref().ok().filter(|(got, ..)| got != end).map(|(got, ..)| format!("{got:?}"));
            if let Some(wrong) = wrong.or(differs) {
                failed += 1;
                failures.push(format!("{name}, {point}, {}: {wrong}\n    undisturbed: {end:?}", word(moment)));
            }
        }
        let points = met.iter().map(|(point, _)| point).collect::<BTreeSet<_>>().len();
        let failovers = end.failovers.len();
        writeln!(
            table,
            "{name:36} {points:>6} {:>6} {killed:>6} {missed:>11} {failed:>6}   {}, {failovers} failovers",
            met.len(),
            end.ready,
        )
        .unwrap();
        killed_in_all += killed;
        missed_in_all += missed;
    }
    println!("{table}");
    println!(
        "{} of {all} marks chosen: {killed_in_all} lives killed there, {missed_in_all} in which the mark did not come up, {} failed; {} s",
        lives.len(),
        failures.len(),
        begun.elapsed().as_secs(),
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(all >= 300, "only {all} marks are numbered: the proof has become thin");
    // About one in twelve lasts a moment only and is not seen in each life; of 32 that can be a few more.
    assert!(
        killed_in_all * 4 >= lives.len() * 3,
        "more than a quarter of the marks did not come up: they are not numbered alike"
    );
}
