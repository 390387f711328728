//! The condition PostSwitchDrift: the comparison of both partners after a switch, and what makes an earlier one out of date.

use std::collections::BTreeSet;

use crate::api::{ConditionDraft, ConditionType, LyncPoolMirrorStatus, restore_state};
use crate::model::{DriftReport, Reason, TypeTracking};
use crate::status::input::Input;
use crate::status::{limits, summary};

fn compared(report: &DriftReport) -> ConditionDraft {
    let kind = ConditionType::PostSwitchDrift;
    match report {
        DriftReport::InSync => ConditionDraft::false_(
            kind,
            Reason::NoPostSwitchDrift,
            "Logins, Agent jobs, linked servers and database options agree on both partners. Passwords and permissions are not compared.",
        ),
        DriftReport::Drifted(differences) => {
            let count = match differences.total() {
                1 => "1 object differs".to_owned(),
                count => format!("{count} objects differ"),
            };
            let rest = "Passwords and permissions are not compared.";
            let text = format!("{count} between the partners. To fix: see status.postSwitchDifferences. {rest}");
            ConditionDraft::true_(kind, Reason::PostSwitchDrift, text)
        }
        DriftReport::Unknown(unavailable) => ConditionDraft::unknown(
            kind,
            unavailable.cause.reason(),
            // The only place that shows this error: the comparison reads more than a poll.
            summary::fit([format!("Not compared. {}", unavailable.detail)]),
        ),
    }
}

/// What this pass shows of the comparison.
pub(super) enum Comparison<'a> {
    /// That of this process.
    Compared(&'a DriftReport),
    /// None since a move that has just ended, or none of these servers and sessions: what the status has no longer applies.
    Outdated,
    /// What the status has, as this process has none of its own.
    Kept,
}

pub(super) fn comparison<'a>(input: &Input<'a>) -> Comparison<'a> {
    match input.drift {
        _ if input.plan.ended.is_some() || is_of_another_pair(input) => Comparison::Outdated,
        Some(report) => Comparison::Compared(report),
        None => Comparison::Kept,
    }
}

/// None: the condition of the status stays as it is.
pub(super) fn condition(comparison: &Comparison) -> Option<ConditionDraft> {
    match comparison {
        Comparison::Compared(report) => Some(compared(report)),
        Comparison::Outdated => {
            let message =
                "Not compared since the last move, or since the servers changed. The operator compares them soon.";
            Some(ConditionDraft::unknown(ConditionType::PostSwitchDrift, Reason::NotYetObserved, message))
        }
        Comparison::Kept => None,
    }
}

/// The differences that the status lists.
pub(super) fn differences(comparison: &Comparison, before: Option<&LyncPoolMirrorStatus>) -> Vec<String> {
    match comparison {
        Comparison::Compared(DriftReport::Drifted(found)) => limits::differences(found.texts().to_vec(), found.total()),
        Comparison::Compared(DriftReport::InSync | DriftReport::Unknown(_)) | Comparison::Outdated => Vec::new(),
        Comparison::Kept => before.map(|status| status.post_switch_differences.clone()).unwrap_or_default(),
    }
}

/// The status has a comparison, and its types were on other servers or in other sessions.
fn is_of_another_pair(input: &Input) -> bool {
    let kind: &str = ConditionType::PostSwitchDrift.into();
    let has_one = input.before.is_some_and(|status| status.conditions.iter().any(|condition| condition.type_ == kind));
    has_one
        && restore_state(input.uid, input.before).tracking.iter().any(|(ty, before)| {
            let now = input.plan.persisted.tracking.get(ty);
            now.is_some_and(|now| before.sessions != now.sessions || servers(before) != servers(now))
        })
}

/// The names of the two servers, whatever their seats.
fn servers(tracking: &TypeTracking) -> BTreeSet<String> {
    let pair = tracking.pair.iter().flat_map(|pair| [&pair.primary, &pair.mirror]);
    pair.map(|server| server.name.to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Differences, Guid, Observation, PersistedState, PhaseTimings, Seat, ServerObservation};
    use crate::plan::plan;
    use crate::plan::tests::{NOW, TY, settled};
    use crate::status::fixtures::{UID, observed, rendered, wanting};
    use crate::status::render;

    /// The status of a settled pair, with a comparison that found no difference.
    fn compared_status(persisted: &PersistedState) -> LyncPoolMirrorStatus {
        let (spec, rows) = (wanting("Primary"), observed("P/4/C", "M/4/C"));
        let mut status = rendered(&spec, &rows, &plan(&spec.desired, &rows, persisted, NOW), None);
        let mut drift = status.conditions[0].clone();
        (drift.type_, drift.status) = ("PostSwitchDrift".to_owned(), "False".to_owned());
        status.conditions.push(drift);
        status
    }

    /// The message of the condition, and the list of the status.
    fn shown_differences(count: usize) -> (String, Vec<String>) {
        let (spec, rows) = (wanting("Primary"), observed("P/4/C", "M/4/C"));
        let persisted = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() };
        let mut found = Differences::default();
        (0..count).for_each(|number| found.add(|| format!("Risk: Login {number} is missing.")));
        let status = render(&Input {
            spec: &spec,
            uid: UID,
            observation: &rows,
            plan: &plan(&spec.desired, &rows, &persisted, NOW),
            timings: PhaseTimings::default(),
            drift: Some(&DriftReport::Drifted(found)),
            last_reads: &Default::default(),
            before: None,
            now: NOW,
        });
        let condition = status.conditions.into_iter().find(|condition| condition.type_ == "PostSwitchDrift").unwrap();
        (condition.message, status.post_switch_differences)
    }

    #[test]
    fn differences_of_a_report_are_listed_to_the_limit_and_counted() {
        let rest = |count: usize| Some(format!("Note: and {count} more. To fix: resolve the differences above first."));
        for (count, counted, listed, last) in [
            (1, "1 object differs ", 1, None),
            (50, "50 objects differ ", 50, None),
            (51, "51 objects differ ", 50, rest(2)),
            (30_000, "30000 objects differ ", 50, rest(29_951)),
        ] {
            let (message, list) = shown_differences(count);
            assert!(message.starts_with(counted), "{message}");
            assert_eq!((list.len(), list[0].as_str()), (listed, "Risk: Login 0 is missing."));
            let expected = last.unwrap_or_else(|| format!("Risk: Login {} is missing.", count - 1));
            assert_eq!(list.last(), Some(&expected));
        }
    }

    #[test]
    fn comparison_of_other_servers_or_sessions_is_unknown_until_the_next_one() {
        let known = |change: fn(&mut TypeTracking)| {
            let mut tracking = settled(Seat::Primary);
            change(&mut tracking);
            PersistedState { tracking: [(TY, tracking)].into(), ..PersistedState::default() }
        };
        let before = compared_status(&known(|_| {}));
        let (spec, rows) = (wanting("Primary"), observed("P/4/C", "M/4/C"));
        let shown = |persisted: PersistedState, rows: &Observation| {
            let plan = plan(&spec.desired, rows, &persisted, NOW);
            let status = rendered(&spec, rows, &plan, Some(&before));
            let drift = status.conditions.iter().find(|condition| condition.type_ == "PostSwitchDrift").unwrap();
            drift.status.clone()
        };
        assert_eq!(shown(known(|_| {}), &rows), "False", "the same servers");
        assert_eq!(shown(known(|_| {}), &observed("P/1/-", "away")), "False", "one of them is away");
        let mut anew = rows.clone();
        for pair in anew.pairs.iter_mut() {
            for view in [&mut pair.primary, &mut pair.mirror] {
                let ServerObservation::Available { server, .. } = view else { continue };
                for database in std::sync::Arc::make_mut(server).databases.values_mut() {
                    database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([9; 16]);
                }
            }
        }
        assert_eq!(shown(known(|_| {}), &anew), "Unknown", "mirrored anew");
        for (name, expected) in [("SQL-NEW", "Unknown"), ("sql-primary", "False")] {
            let mut renamed = rows.clone();
            for pair in renamed.pairs.iter_mut() {
                let ServerObservation::Available { server, .. } = &mut pair.primary else { panic!() };
                let server = std::sync::Arc::make_mut(server);
                (server.name, server.local_name) = (name.to_owned(), Some("SQL-PRIMARY".to_owned()));
            }
            assert_eq!(shown(known(|_| {}), &renamed), expected, "{name}");
        }
    }

    /// The move that ends makes the last comparison one from before a switch, and its list too.
    #[test]
    fn comparison_is_out_of_date_with_the_end_of_a_move() {
        use crate::plan::tests::{after, pending};
        let (spec, moved) = (wanting("Mirror"), observed("M/4/C/8", "P/4/C/8"));
        let begun = plan(&spec.desired, &observed("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
        let mut before = compared_status(&begun.persisted);
        before.post_switch_differences = vec!["login".to_owned()];
        let over = plan(&spec.desired, &moved, &begun.persisted, after(5));
        assert!(over.ended.is_some());
        let now = rendered(&spec, &moved, &over, Some(&before));
        let drift = now.conditions.iter().find(|condition| condition.type_ == "PostSwitchDrift").unwrap();
        assert_eq!((drift.status.as_str(), now.post_switch_differences.len()), ("Unknown", 0));
        let later = plan(&spec.desired, &moved, &over.persisted, after(10));
        let mut kept = now.clone();
        kept.post_switch_differences = vec!["login".to_owned()];
        let same = rendered(&spec, &moved, &later, Some(&kept));
        assert_eq!(same.post_switch_differences, ["login"], "without a move or a comparison, it stays");
    }
}
