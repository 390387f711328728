//! What follows the message of a verdict: what every reader needs beside the reason, and no verdict contains.

use crate::model::{DatabaseType, MirroringState, Pair, Reason, Role, Seat, Service, TypeTracking};
use crate::plan::{TypePlan, same_name};
use crate::status::Summary;
use crate::status::quorum;

/// Each is a sentence after another one, or empty.
pub(super) fn of(planned: &TypePlan, pair: &Pair, tracking: Option<&TypeTracking>) -> String {
    // Without the move in flight, whose message has no missing step.
    let summary = Summary { planned, pair, operation: None, unreachable_since: [None; 2] };
    let step = summary.missing_step().map(|step| format!(" To fix: {step}.")).unwrap_or_default();
    let so_far = format!("{}{step}", planned.verdict.message);
    let front_end = match summary.front_end(&so_far) {
        Some(_) => " Check from a Front End whether clients are served, see docs/reasons/ServiceUnknown.md.",
        None => "",
    };
    let is_aligned = planned.verdict.reason == Reason::Aligned;
    let witness = is_aligned.then(|| quorum::lost_witness(planned, pair)).flatten().unwrap_or_default();
    let last = last_principal(planned, pair, tracking).unwrap_or_default();
    let renamed = if is_aligned { renamed(planned, pair).unwrap_or_default() } else { String::new() };
    format!("{step}{front_end}{witness}{}{}{last}{renamed}", log(planned, pair), limited_functionality(planned))
}

/// The session keeps the name that its partner had when it was created.
fn renamed(planned: &TypePlan, pair: &Pair) -> Option<String> {
    Seat::BOTH.into_iter().find_map(|seat| {
        let server = pair.view(seat).available()?;
        let rows = planned.findings.iter().filter_map(|finding| pair.row(seat.other(), &finding.name));
        let mut names = rows.map(|row| row.partner_instance.as_str());
        let former = names.find(|name| !name.is_empty() && !same_name(name, &server.name))?;
        Some(format!(
            " The session names the {} by its former name {former}, see docs/reasons/PartnerMismatch.md.",
            pair.label(seat)
        ))
    })
}

/// What the mirror has not received stays in the log ("The Transaction Log").
fn log(planned: &TypePlan, pair: &Pair) -> &'static str {
    let mut rows = planned.findings.iter().filter_map(|finding| pair.row(finding.principal?, &finding.name));
    let keeps = rows.any(|row| {
        let apart = matches!(row.state, MirroringState::Suspended | MirroringState::Disconnected);
        apart && row.role == Role::Principal
    });
    if keeps && planned.service == Service::Exposed && !planned.verdict.message.contains("cannot be truncated") {
        " While this lasts, the log of the principal cannot be truncated."
    } else {
        ""
    }
}

/// R23: Lync users lose functions about 30 minutes after the loss of the user store.
fn limited_functionality(planned: &TypePlan) -> &'static str {
    let is_lost = planned.service == Service::NotServed && planned.desired_type.ty == DatabaseType::User;
    if is_lost && !planned.verdict.message.contains("30 minutes") {
        " Lync users fall back to limited functionality about 30 minutes after the loss."
    } else {
        ""
    }
}

/// Both servers are away: the one that was principal when both were read for the last time. None: another one took over since,
/// or may have, so that the name would lead to an old copy.
fn last_principal(planned: &TypePlan, pair: &Pair, tracking: Option<&TypeTracking>) -> Option<String> {
    let tracking = tracking?;
    let unread = Seat::BOTH.iter().all(|seat| pair.view(*seat).available().is_none());
    let name = tracking.last_settled_server.as_deref().filter(|_| unread && planned.forced_on.is_none())?;
    let servers = tracking.pair.as_ref()?;
    let is_last = tracking.roles.values().all(|roles| same_name(&servers.server(roles.principal).name, name));
    if !is_last {
        return None;
    }
    Some(format!(" When both were last read, {name} was the principal."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::model::{DatabaseName, LastRoles, PersistedState, ServerObservation, Unavailable, UnavailableCause};
    use crate::plan::plan;
    use crate::plan::tests::{NOW, TY, settled, store};
    use crate::status::fixtures::{observed, wanting};

    use super::*;

    fn remarks(a: &str, b: &str, change: impl FnOnce(&mut TypePlan)) -> String {
        let rows = observed(a, b);
        let tracking = settled(Seat::Primary);
        let known = PersistedState { tracking: [(TY, tracking.clone())].into(), ..PersistedState::default() };
        let mut planned = plan(&wanting("Primary").desired, &rows, &known, NOW).types.remove(&TY).unwrap();
        change(&mut planned);
        of(&planned, &rows.pairs[store()], Some(&tracking))
    }

    #[test]
    fn outage_of_the_user_store_has_its_time_limit_once() {
        let sentence = " Lync users fall back to limited functionality about 30 minutes after the loss.";
        for (ty, service, has_it, expected) in [
            (DatabaseType::User, Service::NotServed, "", true),
            (DatabaseType::User, Service::NotServed, " about 30 minutes", false),
            (DatabaseType::User, Service::Unknown, "", false),
            (DatabaseType::Archiving, Service::NotServed, "", false),
        ] {
            let text = remarks("P/4/C", "M/4/C", |planned| {
                (planned.desired_type.ty, planned.service) = (ty, service);
                planned.verdict.message.push_str(has_it);
            });
            assert_eq!(text.contains(sentence), expected, "{ty} {service}: {text}");
        }
    }

    #[test]
    fn last_principal_is_named_while_neither_server_is_read() {
        let sentence = " When both were last read, SQL-PRIMARY was the principal.";
        for (a, b, expected) in [("away", "away", true), ("away", "M/1/C", false), ("P/4/C", "away", false)] {
            assert_eq!(remarks(a, b, |_| ()).contains(sentence), expected, "{a} {b}");
        }
        assert!(!remarks("away", "away", |planned| planned.forced_on = Some(Seat::Mirror)).contains(sentence));
        let rows = observed("away", "away");
        let planned =
            plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW).types.remove(&TY).unwrap();
        let mut tracking = settled(Seat::Primary);
        for (principal, expected) in [(Seat::Primary, true), (Seat::Mirror, false)] {
            tracking.roles =
                [(DatabaseName::new("LcsLog"), LastRoles { principal, primary: 7, mirror: 7, replaced: None })].into();
            let text = of(&planned, &rows.pairs[store()], Some(&tracking));
            assert_eq!(text.contains(sentence), expected, "{principal}: {text}");
        }
    }

    #[test]
    fn former_name_of_a_renamed_partner_is_named_while_the_type_is_aligned() {
        for (wanted, name, expected) in
            [("Primary", "NEW-B", true), ("Primary", "sql-mirror", false), ("Mirror", "NEW-B", false)]
        {
            let mut rows = observed("P/4/C", "M/4/C");
            let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
            let server = Arc::make_mut(server);
            (server.name, server.local_name) = (name.to_owned(), Some("SQL-MIRROR".to_owned()));
            let known = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() };
            let planned = plan(&wanting(wanted).desired, &rows, &known, NOW).types.remove(&TY).unwrap();
            let text = of(&planned, &rows.pairs[store()], None);
            let sentence = " The session names the mirror NEW-B by its former name SQL-MIRROR, see";
            assert_eq!(text.contains(sentence), expected, "{wanted} {name}: {text}");
        }
    }

    /// A refused check does not show whether the open sessions of a paused or full server are served.
    #[test]
    fn check_from_a_front_end_depends_on_the_cause() {
        use UnavailableCause::{ConnectionLimit, LogonTriggerFailed, PollsStopped, ServerStarting};
        for (cause, expected) in
            [(ServerStarting, true), (PollsStopped, true), (LogonTriggerFailed, true), (ConnectionLimit, false)]
        {
            let mut rows = observed("away", "M/4/C");
            let ServerObservation::Unavailable { unavailable, .. } = &mut rows.pairs[store()].primary else { panic!() };
            *unavailable = Unavailable { cause, detail: "x".to_owned() };
            let planned =
                plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW).types.remove(&TY).unwrap();
            let text = of(&planned, &rows.pairs[store()], None);
            assert_eq!(text.contains("Check from a Front End"), expected, "{cause:?}: {text}");
        }
    }

    /// The log of a principal without its mirror grows. One whose service is not known may not run.
    #[test]
    fn log_of_a_principal_without_its_mirror_is_named_once() {
        let sentence = "the log of the principal cannot be truncated.";
        for (a, b, expected) in [
            ("P/1/C", "M/1/C", true),
            // The verdict has the sentence, with its time.
            ("P/0/C", "M/0/C", false),
            ("P/4/C", "M/4/C", false),
            ("P/4/C", "refused", false),
            ("M/1/C", "P/1/C", true),
        ] {
            assert_eq!(remarks(a, b, |_| ()).contains(sentence), expected, "{a} {b}");
        }
        let has_it = |planned: &mut TypePlan| planned.verdict.message.push_str("It cannot be truncated.");
        assert!(!remarks("P/1/C", "M/1/C", has_it).contains(sentence));
        let unknown = |planned: &mut TypePlan| planned.service = Service::Unknown;
        assert!(!remarks("P/1/C", "M/1/C", unknown).contains(sentence));
    }

    #[test]
    fn check_from_a_front_end_is_asked_for_where_a_server_is_not_read() {
        for (a, b, expected) in [
            ("refused", "M/4/C", true),
            ("away", "M/1/-", true),
            ("P/4/C", "M/4/C", false),
            ("P/1/C", "refused", false),
        ] {
            assert_eq!(remarks(a, b, |_| ()).contains("Check from a Front End"), expected, "{a} {b}");
        }
        let moving = |planned: &mut TypePlan| planned.verdict.reason = Reason::Verifying;
        assert!(!remarks("refused", "M/4/C", moving).contains("Check from a Front End"));
        let asked = |planned: &mut TypePlan| planned.verdict.message.push_str(" from a Front End");
        assert!(!remarks("refused", "M/4/C", asked).contains("Check from a Front End"));
    }
}
