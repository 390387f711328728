//! The condition PostSwitchDrift: the comparison of both partners after a switch, and what makes an earlier one out of date.

use crate::api::{ConditionDraft, ConditionType, PairIdentityStatus, TypeTrackingStatus, tracking_status};
use crate::model::{DriftReport, Reason};
use crate::status::input::Input;
use crate::status::summary;

pub(super) fn compared(report: &DriftReport) -> ConditionDraft {
    let kind = ConditionType::PostSwitchDrift;
    match report {
        DriftReport::InSync => ConditionDraft::false_(
            kind,
            Reason::NoPostSwitchDrift,
            "Logins, Agent jobs, linked servers and database options agree on both partners. Passwords and permissions are not compared.",
        ),
        DriftReport::Drifted(differences) => {
            let count = match differences.len() {
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

/// The last comparison is from before a move that has just ended, or about other servers or sessions. A process that starts has
/// no comparison of its own, so that the condition must not repeat one that no longer applies.
pub(super) fn is_outdated(input: &Input) -> bool {
    let kind: &str = ConditionType::PostSwitchDrift.into();
    let before = input.before.filter(|status| status.conditions.iter().any(|condition| condition.type_ == kind));
    input.plan.ended.is_some()
        || before.is_some_and(|status| {
            status.database_types.iter().any(|of| {
                let now = input.plan.persisted.tracking.get(&of.type_).and_then(tracking_status);
                of.tracking.as_ref().zip(now.as_ref()).is_some_and(|(before, now)| !is_same_pair(before, now))
            })
        })
}

pub(super) fn not_compared() -> ConditionDraft {
    let message = "Not compared since the last move, or since the servers changed. The operator compares them soon.";
    ConditionDraft::unknown(ConditionType::PostSwitchDrift, Reason::NotYetObserved, message)
}

fn is_same_pair(before: &TypeTrackingStatus, now: &TypeTrackingStatus) -> bool {
    let names = |pair: &PairIdentityStatus| {
        let mut names = [&pair.primary, &pair.mirror].map(|server| server.name.to_lowercase());
        names.sort();
        names
    };
    before.sessions == now.sessions && before.pair.as_ref().map(names) == now.pair.as_ref().map(names)
}

#[cfg(test)]
mod tests {
    use crate::api::LyncPoolMirrorStatus;
    use crate::model::{Guid, Observation, PersistedState, Seat, ServerObservation};
    use crate::plan::plan;
    use crate::plan::tests::{NOW, TY, settled};
    use crate::status::fixtures::{observed, rendered, wanting};

    /// The status of a settled pair, with a comparison that found no difference.
    fn compared_status(persisted: &PersistedState) -> LyncPoolMirrorStatus {
        let (spec, rows) = (wanting("Primary"), observed("P/4/C", "M/4/C"));
        let mut status = rendered(&spec, &rows, &plan(&spec.desired, &rows, persisted, NOW), None);
        let mut drift = status.conditions[0].clone();
        (drift.type_, drift.status) = ("PostSwitchDrift".to_owned(), "False".to_owned());
        status.conditions.push(drift);
        status
    }

    #[test]
    fn comparison_of_other_servers_or_sessions_is_unknown_until_the_next_one() {
        let known = |change: fn(&mut crate::model::TypeTracking)| {
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
