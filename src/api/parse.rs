//! Spec -> validated desired state. Only this module rejects a spec that the API server accepted. A part that cannot be used
//! is left out and named, so that the operator still observes the rest.

use std::collections::BTreeMap;

use crate::api::field_managers::field_managers;
use crate::api::{DatabaseTypeSpec, LyncPoolMirror, LyncPoolMirrorSpec, PolicySpec, SqlStore, bounds, check, rules};
use crate::model::{
    Approval, DatabaseName, DatabaseType, Desired, DesiredType, Epoch, ForceService, Operation, Policy, StoreId,
    Stores, Suspend, UnrequestedSwitch, Window, WindowError,
};

/// A parsed spec: the desired state for the planner, the stores to poll, and the problems of the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedSpec {
    pub desired: Desired,
    pub stores: Stores<Store>,
    /// Empty: the whole spec is usable. `desired.problems` has the same problems as text.
    pub problems: Vec<SpecError>,
    /// `spec.suspend.stopPolls`.
    stop_polls: bool,
}

impl ParsedSpec {
    /// Whether the suspension also stops the polls: never while a move is in flight, whose outcome only polls show.
    pub fn polls_are_stopped(&self, operation: Option<&Operation>, now: jiff::Timestamp) -> bool {
        let suspended = self.desired.suspend.as_ref().is_some_and(|suspend| suspend.holds(now));
        self.stop_polls && suspended && operation.is_none()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub sql: SqlStore,
    /// Empty for the store of the pool, else the type that has a store of its own.
    pub label: String,
}

/// A problem of a spec: the field, its value, and what is wrong with the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value}: {problem}")]
pub struct SpecError {
    pub field: String,
    pub value: String,
    pub problem: String,
}

/// The characters of a value that a problem shows.
const LONGEST_VALUE: usize = 100;

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<SpecError>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, value: impl std::fmt::Debug, problem: impl Into<String>) {
        self.push((field.into(), format!("{value:?}"), problem.into()));
    }

    fn push(&mut self, (field, value, problem): check::Broken) {
        // The problem is part of the status, and a value of the spec can have a megabyte.
        let short = value.chars().count() <= LONGEST_VALUE;
        let value = if short { value } else { value.chars().take(LONGEST_VALUE).chain("...".chars()).collect() };
        self.0.push(SpecError { field, value, problem });
    }
}

/// Parses a resource. The rules of the CRD hold for a spec that came through an API server with the present CRD. The checks
/// here are for the rest: what a rule cannot check, an older CRD, or a file.
pub fn parse(resource: &LyncPoolMirror) -> ParsedSpec {
    let spec = &resource.spec;
    let mut parser = Parser::default();
    let default_store = spec.sql.as_ref().map(|sql| parser.store(sql, "spec.sql", String::new()));
    let managed = resource.metadata.managed_fields.as_deref().unwrap_or_default();
    let mut types: Vec<DesiredType> = Vec::new();
    let mut unusable = BTreeMap::new();
    if spec.database_types.is_empty() {
        let problem = "The list is empty. To fix: list at least one database type.";
        parser.problems.add("spec.databaseTypes", &spec.database_types, problem);
    }
    for (index, item) in spec.database_types.iter().enumerate() {
        let field = format!("spec.databaseTypes[{index}]");
        let ty = item.type_;
        if unusable.contains_key(&ty) || types.iter().any(|desired_type| desired_type.ty == ty) {
            let problem = "The type is listed twice, and the first entry counts. To fix: remove one of the two.";
            parser.problems.add(format!("{field}.type"), ty, problem);
            continue;
        }
        let (approve, force) = (parser.approval(item, &field), parser.consent(item, &field));
        match (parser.store_of(item, &field, default_store), parser.databases(item, &field)) {
            (Some(store), Some(databases)) => types.push(DesiredType {
                ty,
                principal: item.principal,
                databases,
                store,
                approve,
                force,
                requested_by: field_managers(managed, ty),
            }),
            (None, _) | (_, None) => _ = unusable.insert(ty, item.principal),
        }
    }
    types.sort_by_key(|desired_type| desired_type.ty);
    let policy = parser.policy(&spec.policy);
    parser.other_bounds(spec);
    let Parser { stores, problems: Problems(problems) } = parser;
    let desired = Desired {
        pool: spec.pool_fqdn.clone(),
        // The API server sets the generation on every write. A file has none and counts as generation 0.
        generation: resource.metadata.generation.unwrap_or(0),
        types,
        suspend: spec.suspend.as_ref().map(|suspend| Suspend { reason: suspend.reason.clone(), until: suspend.until }),
        policy,
        problems: problems.iter().map(ToString::to_string).collect(),
        unusable,
    };
    let stop_polls = spec.suspend.as_ref().is_some_and(|suspend| suspend.stop_polls);
    ParsedSpec { desired, stores, problems, stop_polls }
}

/// The most databases of a type, as in the CRD. The limits of the status and the names of a pair rely on it.
pub const MOST_DATABASES: usize = 16;

#[derive(Default)]
struct Parser {
    stores: Stores<Store>,
    problems: Problems,
}

impl Parser {
    /// Registers a store. None: it cannot be used. A store without its unusable witness is usable.
    fn store(&mut self, sql: &SqlStore, field: &str, label: String) -> Option<StoreId> {
        let mut sql = sql.clone();
        if let Some(broken) = check::witness(&sql, field) {
            self.problems.push(broken);
            sql.witness = None;
        }
        if sql.auth.method != crate::api::AuthMethod::Kerberos
            && let Some(kdcs) = sql.auth.kdcs.take()
        {
            self.problems.add(format!("{field}.auth.kdcs"), kdcs, rules::KDCS_UNUSED);
        }
        let broken = check::store(&sql, field);
        if broken.is_empty() {
            return Some(self.stores.push(Store { sql, label }));
        }
        broken.into_iter().for_each(|broken| self.problems.push(broken));
        None
    }

    /// The store of a type: its own, else that of the pool.
    fn store_of(
        &mut self,
        item: &DatabaseTypeSpec,
        field: &str,
        default_store: Option<Option<StoreId>>,
    ) -> Option<StoreId> {
        match (&item.sql, default_store) {
            (Some(sql), _) => self.store(sql, &format!("{field}.sql"), item.type_.to_string()),
            (None, Some(store)) => store,
            (None, None) => {
                self.problems.add(field, item.type_, rules::NO_STORE);
                None
            }
        }
    }

    /// The bounds of fields that no part of the desired state depends on.
    fn other_bounds(&mut self, spec: &LyncPoolMirrorSpec) {
        if let Some(problem) = bounds::pool(&spec.pool_fqdn) {
            self.problems.add("spec.poolFqdn", &spec.pool_fqdn, problem);
        }
        // A suspension with a useless reason is still a suspension.
        if let Some(reason) = spec.suspend.as_ref().map(|suspend| &suspend.reason) {
            let empty = "The reason is empty. To fix: write why the moves are suspended.".to_owned();
            let problem = if reason.is_empty() { Some(empty) } else { bounds::longer_than(reason, 256) };
            if let Some(problem) = problem {
                self.problems.add("spec.suspend.reason", reason, problem);
            }
        }
        let windows = &spec.policy.maintenance_windows;
        if let Some(problem) = bounds::more_than(windows, 16) {
            self.problems.add("spec.policy.maintenanceWindows", windows.len(), problem);
        }
    }

    fn databases(&mut self, item: &DatabaseTypeSpec, field: &str) -> Option<Vec<DatabaseName>> {
        let Some(names) = &item.databases else {
            return Some(item.type_.databases().iter().copied().map(DatabaseName::new).collect());
        };
        let before = self.problems.0.len();
        let databases: Vec<DatabaseName> = names.iter().map(DatabaseName::new).collect();
        if databases.is_empty() {
            let problem = "The list is empty. To fix: remove it for Lync's defaults, or name the databases.";
            self.problems.add(format!("{field}.databases"), names, problem);
        }
        if let Some(problem) = bounds::more_than(names, MOST_DATABASES) {
            self.problems.add(format!("{field}.databases"), names.len(), problem);
            return None;
        }
        for (index, name) in databases.iter().enumerate() {
            let field = format!("{field}.databases[{index}]");
            let text = name.as_str();
            if text.trim().is_empty() || text.contains('\0') || text.encode_utf16().count() > 128 {
                let problem = "This is not a database name. To fix: write 1 to 128 characters, not only spaces.";
                self.problems.add(field, text, problem);
            } else if databases[..index].contains(name) {
                self.problems.add(field, text, rules::DATABASE_TWICE);
            }
        }
        (self.problems.0.len() == before).then_some(databases)
    }

    fn approval(&mut self, item: &DatabaseTypeSpec, field: &str) -> Option<Approval> {
        let approve = item.approve.as_ref()?;
        let epoch = self.epoch(&approve.epoch, format!("{field}.approve.epoch"))?;
        Some(Approval { epoch, until: approve.until })
    }

    fn epoch(&mut self, epoch: &str, field: String) -> Option<Epoch> {
        if !check::is_epoch(epoch) || epoch.len() > 64 {
            self.problems.add(field, epoch, rules::EPOCH);
            return None;
        }
        Some(Epoch::new(epoch))
    }

    fn consent(&mut self, item: &DatabaseTypeSpec, field: &str) -> Option<ForceService> {
        let consent = item.force_service.as_ref()?;
        let epoch = self.epoch(&consent.epoch, format!("{field}.forceService.epoch"));
        if !consent.accept_data_loss {
            self.problems.add(format!("{field}.forceService.acceptDataLoss"), false, rules::DATA_LOSS);
            return None;
        }
        if !consent.old_principal_fenced {
            self.problems.add(format!("{field}.forceService.oldPrincipalFenced"), false, rules::FENCED);
            return None;
        }
        Some(ForceService { epoch: epoch?, until: consent.until, fenced: consent.old_principal_fenced })
    }

    /// The policy. A value that cannot be used is replaced by its default, which moves nothing while the problem exists.
    fn policy(&mut self, spec: &PolicySpec) -> Policy {
        let mut policy = Policy {
            unrequested_switch: spec.unrequested_switch,
            fail_back_after: spec.fail_back_after.0,
            windows: self.windows(spec),
            max_interruption: spec.max_interruption.map(|span| span.0),
            cooldown: spec.cooldown.0,
            settle_after: spec.settle_after.0,
            switch_deadline: spec.switch_deadline.0,
            order: self.order(&spec.order),
        };
        let default = Policy::default();
        for broken in check::durations(spec) {
            match broken.0.as_str() {
                "spec.policy.switchDeadline" => policy.switch_deadline = default.switch_deadline,
                "spec.policy.failBackAfter" => policy.fail_back_after = default.fail_back_after,
                "spec.policy.cooldown" => policy.cooldown = default.cooldown,
                "spec.policy.settleAfter" => policy.settle_after = default.settle_after,
                _ => policy.max_interruption = default.max_interruption,
            }
            self.problems.push(broken);
        }
        policy
    }

    fn order(&mut self, listed: &[DatabaseType]) -> Vec<DatabaseType> {
        let mut order = Vec::new();
        for (index, ty) in listed.iter().enumerate() {
            if order.contains(ty) {
                self.problems.add(format!("spec.policy.order[{index}]"), ty, rules::ORDER_TWICE);
            } else {
                order.push(*ty);
            }
        }
        order
    }

    fn windows(&mut self, spec: &PolicySpec) -> Vec<Window> {
        let windows = &spec.maintenance_windows;
        if !windows.is_empty() && spec.unrequested_switch != UnrequestedSwitch::FailBack {
            let value = spec.unrequested_switch;
            self.problems.add("spec.policy.unrequestedSwitch", value, rules::WINDOWS_UNUSED);
        }
        let mut usable = Vec::new();
        for (index, window) in windows.iter().enumerate() {
            let field = format!("spec.policy.maintenanceWindows[{index}]");
            let (schedule, zone, duration) = (&window.schedule, &window.time_zone, window.duration);
            let before = self.problems.0.len();
            if let Some(problem) = bounds::longer_than(schedule, 100) {
                self.problems.add(format!("{field}.schedule"), schedule, problem);
            } else if let Some(problem) = check::schedule(schedule) {
                self.problems.add(format!("{field}.schedule"), schedule, problem);
            }
            if !check::is_time_zone(zone) || zone.len() > 64 {
                self.problems.add(format!("{field}.timeZone"), zone, rules::TIME_ZONE);
            }
            if !check::is_window_duration(duration.0) {
                self.problems.add(format!("{field}.duration"), duration.to_string(), rules::WINDOW_DURATION);
            }
            if self.problems.0.len() > before {
                continue;
            }
            match Window::new(schedule, zone, duration.0) {
                Ok(window) => usable.push(window),
                Err(problem @ WindowError::Zone) => {
                    self.problems.add(format!("{field}.timeZone"), zone, problem.to_string());
                }
                Err(problem @ (WindowError::Schedule { .. } | WindowError::Rare)) => {
                    self.problems.add(format!("{field}.schedule"), schedule, problem.to_string());
                }
            }
        }
        usable
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
