//! What follows the message of a verdict: what every reader needs beside the reason, and no verdict contains.

use crate::model::{
    DatabaseType, Evidence, MirroringState, Pair, Reason, Role, Seat, ServerObservation, Service, TypeTracking,
};
use crate::plan::{TypePlan, limited_functionality, same_name};
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
    format!("{step}{front_end}{witness}{}{}{last}{renamed}", log(planned, pair), limited(planned, tracking))
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
    if keeps && planned.service == Service::Exposed {
        " While this lasts, the log of the principal cannot be truncated."
    } else {
        ""
    }
}

/// R23: Lync users lose functions about 30 minutes after the loss of the user store. The message of a lost principal has this.
fn limited(planned: &TypePlan, tracking: Option<&TypeTracking>) -> String {
    let ty = planned.desired_type.ty;
    let lost = planned.service == Service::NotServed && ty == DatabaseType::User;
    if !lost || planned.verdict.reason == Reason::PrincipalLost {
        return String::new();
    }
    let with_times = tracking.map(|tracking| limited_functionality(ty, tracking)).filter(|text| !text.is_empty());
    with_times
        .unwrap_or_else(|| " Lync users fall back to limited functionality about 30 minutes after the loss.".to_owned())
}

/// Neither server answers: the one that was principal when it was last read. Started first, it leads to no old copy. None: not
/// known, or service was forced, which has a page.
fn last_principal(planned: &TypePlan, pair: &Pair, tracking: Option<&TypeTracking>) -> Option<String> {
    let tracking = tracking?;
    let is_away = |seat: &Seat| matches!(pair.view(*seat), ServerObservation::Unavailable { unavailable, .. } if unavailable.cause.evidence() == Evidence::NotAnswering);
    let unread = Seat::BOTH.iter().all(is_away);
    let servers = tracking.pair.as_ref().filter(|_| unread && planned.forced_on.is_none())?;
    let mut last = tracking.roles.values().map(|roles| servers.server(roles.principal).name.as_str());
    let settled = tracking.last_settled_server.as_deref();
    let name = last.next().or(settled)?;
    last.all(|other| same_name(other, name))
        .then(|| format!(" When the servers were last read, {name} was the principal: start it first."))
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
        let timed = " First observed at 1970-01-01T00:00:00Z. If no server serves them, Lync users fall back to";
        for (ty, service, reason, lost, expected) in [
            (DatabaseType::User, Service::NotServed, Reason::NoQuorum, None, sentence),
            (DatabaseType::User, Service::NotServed, Reason::NoQuorum, Some(NOW), timed),
            (DatabaseType::User, Service::NotServed, Reason::PrincipalLost, Some(NOW), ""),
            (DatabaseType::User, Service::Unknown, Reason::NoQuorum, None, ""),
            (DatabaseType::Archiving, Service::NotServed, Reason::NoQuorum, None, ""),
        ] {
            let rows = observed("P/4/C", "M/4/C");
            let desired = wanting("Primary").desired;
            let mut planned = plan(&desired, &rows, &PersistedState::default(), NOW).types.remove(&TY).unwrap();
            (planned.desired_type.ty, planned.service, planned.verdict.reason) = (ty, service, reason);
            let tracking = TypeTracking { principal_lost_since: lost, ..settled(Seat::Primary) };
            let text = of(&planned, &rows.pairs[store()], Some(&tracking));
            let holds = if expected.is_empty() { !text.contains("limited") } else { text.contains(expected) };
            assert!(holds, "{ty} {service} {reason}: {text}");
        }
    }

    #[test]
    fn last_principal_is_named_while_neither_server_is_read() {
        let sentence = " When the servers were last read, SQL-PRIMARY was the principal: start it first.";
        for (a, b, expected) in
            [("away", "away", true), ("away", "refused", false), ("away", "M/1/C", false), ("P/4/C", "away", false)]
        {
            assert_eq!(remarks(a, b, |_| ()).contains(sentence), expected, "{a} {b}");
        }
        assert!(!remarks("away", "away", |planned| planned.forced_on = Some(Seat::Mirror)).contains(sentence));
        let rows = observed("away", "away");
        let planned =
            plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW).types.remove(&TY).unwrap();
        // The other one took over later, then both databases differ.
        let mut tracking = settled(Seat::Primary);
        let roles = |principal| LastRoles { principal, primary: 7, mirror: 7, replaced: None };
        for (a, b, expected) in [
            (Seat::Primary, Seat::Primary, Some("SQL-PRIMARY")),
            (Seat::Mirror, Seat::Mirror, Some("SQL-MIRROR")),
            (Seat::Primary, Seat::Mirror, None),
        ] {
            tracking.roles =
                [("LcsLog", a), ("LcsOther", b)].map(|(name, on)| (DatabaseName::new(name), roles(on))).into();
            let text = of(&planned, &rows.pairs[store()], Some(&tracking));
            let named = ["SQL-PRIMARY", "SQL-MIRROR"]
                .into_iter()
                .find(|name| text.contains(&format!("{name} was the principal")));
            assert_eq!(named, expected, "{text}");
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
    fn log_of_a_principal_without_its_mirror_is_named() {
        let sentence = "the log of the principal cannot be truncated.";
        for (a, b, expected) in [
            ("P/1/C", "M/1/C", true),
            ("P/0/C", "M/0/C", true),
            ("P/4/C", "M/4/C", false),
            ("P/4/C", "refused", false),
            ("M/1/C", "P/1/C", true),
        ] {
            assert_eq!(remarks(a, b, |_| ()).contains(sentence), expected, "{a} {b}");
        }
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
