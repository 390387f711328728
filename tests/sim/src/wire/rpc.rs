//! Decodes RPC requests (MS-TDS 2.2.6.6).

use super::WireError;
use super::bytes::Reader;
use super::param::{VARCHAR, read_value};
use super::request::skip_headers;
pub use crate::value::Parameter;

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub procedure: String,
    pub parameters: Vec<Parameter>,
}

const PROCEDURES: [&str; 15] = [
    "sp_cursor",
    "sp_cursoropen",
    "sp_cursorprepare",
    "sp_cursorexecute",
    "sp_cursorprepexec",
    "sp_cursorunprepare",
    "sp_cursorfetch",
    "sp_cursoroption",
    "sp_cursorclose",
    "sp_executesql",
    "sp_prepare",
    "sp_execute",
    "sp_prepexec",
    "sp_prepexecrpc",
    "sp_unprepare",
];

/// The calls of a message. A flag byte separates them.
///
/// # Errors
/// A malformed message or an unsupported parameter type.
pub fn parse(payload: &[u8]) -> Result<Vec<Call>, WireError> {
    let mut reader = Reader::new("RPC", payload);
    skip_headers(&mut reader)?;
    let mut calls = vec![call(&mut reader)?];
    while !reader.is_empty() {
        reader.u8()?;
        // Some clients also send the flag after the last call.
        if !reader.is_empty() {
            calls.push(call(&mut reader)?);
        }
    }
    Ok(calls)
}

fn call(reader: &mut Reader) -> Result<Call, WireError> {
    let procedure = match reader.u16()? {
        0xFFFF => {
            let id = usize::from(reader.u16()?);
            let name = id.checked_sub(1).and_then(|index| PROCEDURES.get(index));
            (*name.ok_or(reader.malformed())?).to_owned()
        }
        units => reader.utf16(units.into())?,
    };
    reader.u16()?;
    let mut parameters = Vec::new();
    // 0x80, 0xFE and 0xFF separate calls; no parameter name has this length.
    while reader.peek().is_some_and(|byte| byte < 0x80) {
        let name = reader.b_varchar()?;
        reader.u8()?;
        let is_varchar = reader.peek() == Some(VARCHAR);
        parameters.push(Parameter { name, value: read_value(reader)?, is_varchar });
    }
    Ok(Call { procedure, parameters })
}

/// The parameter names of a declaration such as `@P1 nvarchar(4000),@P2 int`, in order.
pub fn declared_names(declaration: &str) -> Vec<String> {
    let mut depth = 0usize;
    let mut names = vec![String::new()];
    for letter in declaration.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => names.push(String::new()),
            _ => {}
        }
        if letter != ',' || depth > 0 {
            names.last_mut().into_iter().for_each(|name| name.push(letter));
        }
    }
    let first_word = |text: &String| text.split_whitespace().next().map(str::to_owned);
    names.iter().filter_map(first_word).collect()
}

/// Assigns a name to every parameter: its own, or the declared name at its position.
pub fn named(parameters: &[Parameter], declared: &[String]) -> Vec<Parameter> {
    let name = |index: usize, parameter: &Parameter| match parameter.name.is_empty() {
        true => declared.get(index).cloned().unwrap_or_default(),
        false => parameter.name.clone(),
    };
    let parameters = parameters.iter().enumerate();
    parameters.map(|(index, each)| Parameter { name: name(index, each), ..each.clone() }).collect()
}
