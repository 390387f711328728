//! `sys.dm_os_performance_counters`: the object Database Mirroring.

use super::World;
use super::views::{NAME, build_table, nvarchar};
use crate::sql::engine::Table;
use crate::value::{SqlType, Value};

/// `cntr_type` of a number, and of a "per second" counter, which this view shows as a running total: a client computes
/// the rate from two samples.
const NUMBER: i32 = 65_792;
const TOTAL_COUNT: i32 = 272_696_576;

const COUNTERS: [(&str, i32); 4] = [
    ("Redo Queue KB", NUMBER),
    ("Log Send Queue KB", NUMBER),
    ("Redo Bytes/sec", TOTAL_COUNT),
    ("Log Bytes Sent/sec", TOTAL_COUNT),
];

impl World {
    pub(super) fn counters_view(&self, server: usize) -> Table {
        let object = match self.servers[server].instance() {
            Some(instance) => format!("MSSQL${instance}:Database Mirroring"),
            None => "SQLServer:Database Mirroring".to_owned(),
        };
        let padded = |cell: &str| nvarchar(format!("{cell:<128}"));
        let mut rows = Vec::new();
        let mut totals = [0; 4];
        let mut add = |name: &str, values: [u64; 4]| {
            for ((counter, kind), value) in COUNTERS.into_iter().zip(values) {
                let value = Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX));
                rows.push(vec![padded(&object), padded(counter), padded(name), value, Value::Int(kind)]);
            }
        };
        for name in &self.servers[server].databases {
            let Some((index, seat)) = self.find_mirroring(server, name) else { continue };
            let queue = self.redo_kb(server, name).unwrap_or(0);
            let mirroring = &self.mirrorings[index];
            let flow = mirroring.log[seat];
            let values = [queue, mirroring.send_queue_kb(seat), flow.redone as u64, flow.sent as u64];
            add(name, values);
            totals.iter_mut().zip(values).for_each(|(total, value)| *total += value);
        }
        add("_Total", totals);
        build_table(
            &[
                ("object_name", NAME, false),
                ("counter_name", NAME, false),
                ("instance_name", NAME, true),
                ("cntr_value", SqlType::BigInt, false),
                ("cntr_type", SqlType::Int, false),
            ],
            rows,
        )
    }
}
