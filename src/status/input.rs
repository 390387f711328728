//! What a status is made of.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{LyncPoolMirrorStatus, ParsedSpec};
use crate::model::{DriftReport, LastRead, Observation, PhaseTimings};
use crate::plan::Plan;

/// The inputs of a status.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub spec: &'a ParsedSpec,
    /// `metadata.uid` of the resource.
    pub uid: &'a str,
    pub observation: &'a Observation,
    pub plan: &'a Plan,
    /// The durations of the move that has just ended.
    pub timings: PhaseTimings,
    /// None: this process has not compared the servers since the last move.
    pub drift: Option<&'a DriftReport>,
    /// The last contact of this process with each server, by address.
    pub last_reads: &'a BTreeMap<String, LastRead>,
    pub before: Option<&'a LyncPoolMirrorStatus>,
    pub now: Timestamp,
}
