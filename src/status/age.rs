//! The age of a status: when the operator last wrote or confirmed it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::LyncPoolMirrorStatus;
use crate::model::{later, whole_seconds};

/// The age of a status that did not change, after which it is written again. A pass follows within a minute.
pub(super) const CONFIRMED_FOR: Duration = Duration::from_secs(9 * 60);

/// The status with the time of the previous one as long as it is young and nothing else changed: otherwise each pass would write.
pub(super) fn confirmed(
    mut status: LyncPoolMirrorStatus,
    before: Option<&LyncPoolMirrorStatus>,
    now: Timestamp,
) -> LyncPoolMirrorStatus {
    let Some(before) = before else {
        return LyncPoolMirrorStatus { observed_time: Some(Time(whole_seconds(now))), ..status };
    };
    status.observed_time = before.observed_time.clone();
    let is_young = |at: &Time| at.0 <= now && now < later(at.0, CONFIRMED_FOR);
    if status != *before || !status.observed_time.as_ref().is_some_and(is_young) {
        status.observed_time = Some(Time(whole_seconds(now)));
    }
    status
}
