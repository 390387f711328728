//! The stored procedures that clients call by RPC to run a statement. Other procedures are error 2812 and a recorded
//! failure.

use super::session::{Interruption, Session, Wire};
use crate::value::{Column, Event, Message, SqlType, Value};
use crate::wire::WireError;
use crate::wire::answer::Answer;
use crate::wire::rpc::{self, Call, Parameter};

/// A prepared statement and the names of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    text: String,
    names: Vec<String>,
}

type RunResult = Result<(), Interruption>;

impl Session {
    pub(super) async fn call(
        &mut self,
        call: Call,
        answer: &mut Answer,
        wire: &mut Wire,
    ) -> Result<RunResult, WireError> {
        answer.begin_procedure();
        let name = call.procedure.to_lowercase();
        let name = name.trim_start_matches("sys.").trim_start_matches("[sys].").trim_matches(['[', ']']);
        let parameters = call.parameters.as_slice();
        let mut handle = None;
        let ran = match (name, parameters) {
            ("sp_executesql", [text, rest @ ..]) => {
                let declared = rest.first().map(text_of).map(|text| rpc::declared_names(&text)).unwrap_or_default();
                let values = rpc::named(rest.get(1..).unwrap_or_default(), &declared);
                self.statement(&text_of(text), values, answer, wire).await?
            }
            ("sp_prepare", [out, declaration, text, ..]) => {
                handle = Some((out.name.clone(), self.prepare(declaration, text)));
                Ok(())
            }
            ("sp_prepexec", [out, declaration, text, rest @ ..]) => {
                let id = self.prepare(declaration, text);
                handle = Some((out.name.clone(), id));
                self.execute(id, rest, answer, wire).await?
            }
            ("sp_execute", [id, rest @ ..]) => match &id.value {
                Value::Int(id) => self.execute(*id, rest, answer, wire).await?,
                _ => no_handle(0, answer),
            },
            ("sp_unprepare", [id, ..]) => match &id.value {
                Value::Int(id) if self.prepared.remove(id).is_some() => Ok(()),
                other => no_handle(if let Value::Int(id) = other { *id } else { 0 }, answer),
            },
            ("sp_datatype_info" | "sp_datatype_info_90" | "sp_datatype_info_100", _) => no_types(answer)?,
            _ => self.unknown(&call.procedure, answer),
        };
        if ran.is_ok() {
            answer.end_procedure(handle.as_ref().map(|(name, id)| (name.as_str(), *id)))?;
        }
        Ok(ran)
    }

    fn prepare(&mut self, declaration: &Parameter, text: &Parameter) -> i32 {
        self.last_handle += 1;
        let names = rpc::declared_names(&text_of(declaration));
        self.prepared.insert(self.last_handle, Prepared { text: text_of(text), names });
        self.last_handle
    }

    async fn execute(
        &mut self,
        handle: i32,
        values: &[Parameter],
        answer: &mut Answer,
        wire: &mut Wire,
    ) -> Result<RunResult, WireError> {
        let Some(prepared) = self.prepared.get(&handle).cloned() else { return Ok(no_handle(handle, answer)) };
        let values = rpc::named(values, &prepared.names);
        self.statement(&prepared.text, values, answer, wire).await
    }

    fn unknown(&mut self, procedure: &str, answer: &mut Answer) -> RunResult {
        self.shared.with(|world, _| world.failures.push(format!("RPC to unknown procedure {procedure:?}")));
        error(answer, 2812, 62, format!("Could not find stored procedure '{procedure}'."))
    }

    pub(super) fn refuse_parameter(&mut self, ty: u8, answer: &mut Answer) -> RunResult {
        self.shared.with(|world, _| world.failures.push(format!("RPC with a parameter of type {ty:#04x}")));
        answer.begin_procedure();
        let text = format!("The simulated server does not support RPC parameters of type 0x{ty:02X}.");
        let ran = error(answer, 8009, 1, text);
        answer.end_procedure(None).map_or(Err(Interruption::Disconnect), |()| ran)
    }
}

fn error(answer: &mut Answer, number: u32, state: u8, text: String) -> RunResult {
    answer.message(&Message { number, state, class: 16, text, line: 1 });
    Ok(())
}

fn no_handle(handle: i32, answer: &mut Answer) -> RunResult {
    error(answer, 8179, 2, format!("Could not find prepared statement with handle {handle}."))
}

fn text_of(parameter: &Parameter) -> String {
    match &parameter.value {
        Value::NVarChar(text) => text.clone(),
        _ => String::new(),
    }
}

/// An empty list of types. ODBC drivers request the list and do not need its rows.
fn no_types(answer: &mut Answer) -> Result<RunResult, WireError> {
    let column = |name: &str, ty, nullable| Column { name: name.to_owned(), ty, nullable };
    let columns = vec![
        column("TYPE_NAME", SqlType::NVarChar(128), false),
        column("DATA_TYPE", SqlType::SmallInt, false),
        column("PRECISION", SqlType::Int, true),
        column("LITERAL_PREFIX", SqlType::NVarChar(32), true),
        column("LITERAL_SUFFIX", SqlType::NVarChar(32), true),
        column("CREATE_PARAMS", SqlType::NVarChar(32), true),
        column("NULLABLE", SqlType::SmallInt, false),
        column("CASE_SENSITIVE", SqlType::SmallInt, false),
        column("SEARCHABLE", SqlType::SmallInt, false),
        column("UNSIGNED_ATTRIBUTE", SqlType::SmallInt, true),
        column("MONEY", SqlType::SmallInt, false),
        column("AUTO_INCREMENT", SqlType::SmallInt, true),
        column("LOCAL_TYPE_NAME", SqlType::NVarChar(128), true),
        column("MINIMUM_SCALE", SqlType::SmallInt, true),
        column("MAXIMUM_SCALE", SqlType::SmallInt, true),
        column("SQL_DATA_TYPE", SqlType::SmallInt, false),
        column("SQL_DATETIME_SUB", SqlType::SmallInt, true),
        column("NUM_PREC_RADIX", SqlType::Int, true),
        column("INTERVAL_PRECISION", SqlType::SmallInt, true),
        column("USERTYPE", SqlType::SmallInt, true),
    ];
    answer.event(&Event::Columns(columns))?;
    answer.event(&Event::Done { rows: Some(0) })?;
    Ok(Ok(()))
}
