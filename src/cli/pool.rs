//! A resource as the API server returned it, for the verbs.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::{
    DatabaseTypeSpec, DatabaseTypeStatus, LyncPoolMirror, LyncPoolMirrorStatus, PlannedStep, ServerStatus, decode_lossy,
};
use crate::cli::clean;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::model::{Act, DatabaseName, DatabaseType, ObservedPrincipal, Reason, Seat, Service, later};
use crate::plan::second;
use crate::sql;

/// The operator confirms each status at least every 10 minutes. The rest is for its next pass.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(12 * 60);

/// A LyncPoolMirror. A status that a newer operator wrote is decoded as far as possible.
#[derive(Debug, Clone)]
pub struct Pool {
    pub namespace: String,
    pub name: String,
    /// As the API server returned it.
    pub object: Value,
    /// None: this program cannot decode the spec, see `spec_problem`.
    pub resource: Option<LyncPoolMirror>,
    pub spec_problem: Option<String>,
    pub status: LyncPoolMirrorStatus,
    /// None: the pool is in a cluster.
    pub origin: Option<Origin>,
    /// The administrator asked for these types only. Empty: for all.
    only: Vec<DatabaseType>,
}

/// The file of a pool without a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub path: PathBuf,
    /// The arguments of another command about this pool.
    pub arguments: String,
    /// The process that acts on the pool, if it is another one.
    pub holder: Option<String>,
}

impl Pool {
    /// # Errors
    /// [`Error::Render`] if the object is no JSON.
    pub fn new(object: &DynamicObject) -> Result<Pool, Error> {
        let value = serde_json::to_value(object).map_err(|error| Error::Render(error.to_string()))?;
        Ok(Pool::of_value(value))
    }

    pub fn of_value(object: Value) -> Pool {
        let mut shown = object.clone();
        clean::value(&mut shown["status"]);
        let partial = decode_lossy(&shown);
        let mut decoded = object.clone();
        if let Some(object) = decoded.as_object_mut() {
            object.remove("status");
        }
        let resource: Option<LyncPoolMirror> = serde_json::from_value(decoded).ok();
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        Pool {
            namespace: text("namespace"),
            name: text("name"),
            resource,
            spec_problem: partial.spec_problem,
            status: partial.status,
            origin: None,
            only: Vec::new(),
            object,
        }
    }

    /// The same pool with another status.
    pub fn with_status(self, status: LyncPoolMirrorStatus) -> Pool {
        Pool { status, ..self }
    }

    /// The resource with a readable spec.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if this program cannot decode the spec.
    pub fn readable(&self) -> Result<&LyncPoolMirror, Error> {
        self.resource.as_ref().ok_or_else(|| Error::Unreadable {
            pool: self.reference(),
            problem: self.spec_problem.clone().unwrap_or_default(),
        })
    }

    /// `namespace/name`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The arguments of another command about this pool.
    pub fn arguments(&self) -> String {
        match &self.origin {
            Some(origin) => origin.arguments.clone(),
            None => format!("{} -n {}", self.name, self.namespace),
        }
    }

    /// `FQDN (namespace/name)`.
    pub fn title(&self) -> String {
        format!("{} ({})", self.fqdn(), self.reference())
    }

    pub fn uid(&self) -> &str {
        self.object["metadata"]["uid"].as_str().unwrap_or_default()
    }

    pub fn fqdn(&self) -> &str {
        self.object["spec"]["poolFqdn"].as_str().unwrap_or_default()
    }

    pub fn generation(&self) -> Option<i64> {
        self.object["metadata"]["generation"].as_i64()
    }

    /// False while the operator has not processed the present spec.
    pub fn is_current(&self) -> bool {
        self.status.observed_generation >= self.generation()
    }

    /// True if the operator has not confirmed the status for longer than it does while it runs.
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.status.observed_time.as_ref().is_some_and(|at| later(at.0, CONFIRMED_WITHIN) < now)
    }

    /// An old status proves nothing for this moment.
    pub fn exit(&self, now: Timestamp) -> Exit {
        let of_status = if self.only.is_empty() {
            Exit::of_status(&self.status, self.generation())
        } else {
            Exit::of_types(&self.status).max(Exit::of_age(&self.status, self.generation()))
        };
        if self.is_old(now) { of_status.max(Exit::NotKnown) } else { of_status }
    }

    /// The worst exit of several pools. Without a pool nothing is known: an empty namespace can be a mistyped one.
    pub fn worst_exit(pools: &[Pool], now: Timestamp) -> Exit {
        pools.iter().map(|pool| pool.exit(now)).max().unwrap_or(Exit::NotKnown)
    }

    /// # Errors
    /// [`Error::Unproven`] if the status does not show where the principals of the type are at this moment.
    pub fn proves(&self, ty: DatabaseType, now: Timestamp) -> Result<(), Error> {
        let pool = self.reference();
        if !self.is_current() {
            return Err(Error::Unproven(format!(
                "The operator has not processed the present spec of {pool} yet, so that the principals of {ty} are not known. Nothing was changed. To fix: wait until it has, then repeat the command."
            )));
        }
        let confirmed = self.status.observed_time.as_ref();
        if confirmed.is_none() || self.is_old(now) {
            let at = confirmed.map_or("a time that it does not have".to_owned(), |at| second(at.0));
            return Err(Error::Unproven(format!(
                "The operator last confirmed the status of {pool} at {at}, so that the principals of {ty} are not known. Nothing was changed. To fix: check that the operator runs and reaches the API server."
            )));
        }
        if self.status.operation.as_ref().is_some_and(|operation| operation.type_ == ty) {
            return Err(Error::Unproven(format!(
                "A move of {ty} is in flight. Nothing was changed. To fix: wait for its end, then repeat the command."
            )));
        }
        Ok(())
    }

    /// The service of the pool, or of the types that the administrator asked for.
    pub fn service(&self) -> Service {
        if self.only.is_empty() {
            return self.status.service.unwrap_or_default();
        }
        Service::worst(self.status.database_types.iter().map(|of| of.service))
    }

    /// Only these types, unless there are none.
    ///
    /// # Errors
    /// [`Error::NotManaged`] if the spec does not list one of them.
    pub fn only(mut self, types: &[DatabaseType]) -> Result<Pool, Error> {
        for ty in types {
            self.type_spec(*ty)?;
        }
        if !types.is_empty() {
            self.status.database_types.retain(|of| types.contains(&of.type_));
            self.only = types.to_vec();
        }
        Ok(self)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == kind)
    }

    pub fn type_status(&self, ty: DatabaseType) -> Option<&DatabaseTypeStatus> {
        self.status.database_types.iter().find(|of| of.type_ == ty)
    }

    /// The type in the spec.
    ///
    /// # Errors
    /// [`Error::NotManaged`] if the spec does not list it, and [`Error::Unreadable`].
    pub fn type_spec(&self, ty: DatabaseType) -> Result<&DatabaseTypeSpec, Error> {
        let types = &self.readable()?.spec.database_types;
        types.iter().find(|of| of.type_ == ty).ok_or_else(|| Error::NotManaged {
            pool: self.reference(),
            ty: ty.to_string(),
            managed: types.iter().map(|of| of.type_.to_string()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The server in a seat of a type: the store of the type, else that of the pool.
    pub fn server(&self, ty: DatabaseType, seat: Seat) -> Option<&ServerStatus> {
        let find = |label: String| self.status.servers.iter().find(|server| server.seat == label);
        find(format!("{ty} {seat}")).or_else(|| find(seat.to_string()))
    }

    /// The name that the server in this seat reports, or reported before, else its seat.
    pub fn server_name(&self, ty: DatabaseType, seat: Seat) -> String {
        let reported = self.server(ty, seat).and_then(|server| server.name.clone());
        let remembered = || {
            let pair = self.type_status(ty)?.tracking.as_ref()?.pair.as_ref()?;
            let server = match seat {
                Seat::Primary => &pair.primary,
                Seat::Mirror => &pair.mirror,
            };
            let same = self.server(ty, seat).is_some_and(|now| now.address == server.address);
            same.then(|| server.name.clone())
        };
        reported.or_else(remembered).unwrap_or_else(|| seat.to_string())
    }

    /// True while the message of the type offers an approval of the present epoch.
    pub fn offers_approval(&self, ty: DatabaseType) -> bool {
        let Some(of) = self.type_status(ty).filter(|_| self.is_current()) else { return false };
        let held = matches!(
            of.reason.parse(),
            Ok(Reason::UnexpectedPrincipal
                | Reason::SplitRoles
                | Reason::SeatsExchanged
                | Reason::OneWayMove
                | Reason::CircuitOpen)
        );
        // The operator offers an approval only while the move is possible, and then names the epoch.
        held && of.epoch.as_ref().is_some_and(|epoch| of.message.contains(&format!("epoch: \"{epoch}\"")))
    }

    /// The statement of forced service that the operator plans: it would send it after a consent.
    pub fn forced_step(&self, ty: DatabaseType) -> Option<&PlannedStep> {
        let is_forced = |step: &&PlannedStep| {
            step.type_ == ty && step.statement == sql::statement(Act::ForceService, &DatabaseName::new(&step.database))
        };
        self.status.plan.iter().find(is_forced).filter(|_| self.is_current())
    }
}

/// The seat that holds every principal of the type, if it is one seat.
pub fn observed_seat(of: &DatabaseTypeStatus) -> Option<Seat> {
    match of.observed {
        ObservedPrincipal::Primary => Some(Seat::Primary),
        ObservedPrincipal::Mirror => Some(Seat::Mirror),
        ObservedPrincipal::Split | ObservedPrincipal::Unknown => None,
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
