//! Scalar functions and `@@` globals. An unknown function is error 195, an unknown global error 137.

use super::engine::Engine;
use super::evaluate::{Scope, error, evaluate, smallest_integer};
use super::syntax::Expr;
use super::values::{as_integer, as_text};
use crate::value::{Message, SqlType, Value};

/// The value of an `@@` global.
///
/// # Errors
/// 137 for an unknown global.
pub fn global<E: Engine>(scope: &Scope<E>, name: &str) -> Result<Value, Message> {
    Ok(match name {
        "version" => Value::NVarChar(scope.engine.version_text(scope.session)),
        "servername" => Value::NVarChar(scope.engine.registered_name(scope.session)),
        "lock_timeout" => smallest_integer(scope.engine.options(scope.session).lock_timeout),
        "spid" => smallest_integer(i64::try_from(scope.session).unwrap_or(0)),
        "max_precision" => Value::TinyInt(38),
        "language" => Value::NVarChar("us_english".to_owned()),
        "options" => Value::Int(5496),
        "microsoftversion" => Value::Int(0x0b00_1b59),
        name => match scope.globals.get(name) {
            Some(number) => smallest_integer(*number),
            None => return Err(error(137, 15, format!("Must declare the scalar variable \"@@{name}\"."))),
        },
    })
}

/// The result of a function call. `name` is in lower case.
///
/// # Errors
/// 195 for an unknown function or a wrong number of arguments.
pub fn call<E: Engine>(scope: &Scope<E>, name: &str, arguments: &[Expr]) -> Result<Value, Message> {
    let values: Vec<Value> = arguments.iter().map(|argument| evaluate(scope, argument)).collect::<Result<_, _>>()?;
    let string = |at: usize| values.get(at).and_then(as_text);
    let integer = |at: usize| values.get(at).and_then(as_integer);
    let flag = |flag: Option<bool>| flag.map_or(Value::Null, |flag| Value::Int(flag.into()));
    let mapped = |change: &dyn Fn(&str) -> String| string(0).map_or(Value::Null, |text| Value::NVarChar(change(&text)));
    Ok(match (name, values.len()) {
        ("isnull", 2) | ("coalesce", _) => {
            values.into_iter().find(|value| *value != Value::Null).unwrap_or(Value::Null)
        }
        ("nullif", 2) if super::values::compare(&values[0], &values[1]) == Some(std::cmp::Ordering::Equal) => {
            Value::Null
        }
        ("nullif", 2) => values[0].clone(),
        ("len", 1) => string(0)
            .map_or(Value::Null, |text| smallest_integer(i64::try_from(text.trim_end().chars().count()).unwrap_or(0))),
        ("upper", 1) => mapped(&str::to_uppercase),
        ("lower", 1) => mapped(&str::to_lowercase),
        ("rtrim", 1) => mapped(&|text| text.trim_end().to_owned()),
        ("ltrim", 1) => mapped(&|text| text.trim_start().to_owned()),
        ("replace", 3) => match (string(0), string(1), string(2)) {
            (Some(text), Some(from), Some(to)) => Value::NVarChar(text.replace(&from, &to)),
            _ => Value::Null,
        },
        ("substring", 3) => match (string(0), integer(1), integer(2)) {
            (Some(text), Some(from), Some(size)) => {
                let skip = usize::try_from(from.max(1) - 1).unwrap_or(0);
                Value::NVarChar(text.chars().skip(skip).take(usize::try_from(size).unwrap_or(0)).collect())
            }
            _ => Value::Null,
        },
        ("db_name", 0) => Value::NVarChar(scope.engine.database(scope.session)),
        ("db_id", 0 | 1) => {
            let wanted = string(0).unwrap_or_else(|| scope.engine.database(scope.session));
            match scope.engine.table(scope.session, "sys.databases") {
                Some(Ok(table)) => table
                    .rows
                    .iter()
                    .find(|row| as_text(&row[0]).is_some_and(|name| name.eq_ignore_ascii_case(&wanted)))
                    .map_or(Value::Null, |row| row[1].clone()),
                _ => Value::Null,
            }
        }
        ("suser_sname" | "suser_name" | "original_login" | "user_name", 0 | 1) => {
            Value::NVarChar(scope.engine.login(scope.session))
        }
        ("host_name" | "app_name", 0) => Value::NVarChar(String::new()),
        ("getdate" | "sysdatetime" | "getutcdate", 0) => Value::DateTime(scope.engine.now_millis()),
        ("serverproperty", 1) => {
            let found = scope.engine.server_property(scope.session, &string(0).unwrap_or_default());
            if found == Value::Null { found } else { Value::Variant(Box::new(found)) }
        }
        ("is_srvrolemember", 1) => flag(scope.engine.is_server_role(scope.session, &string(0).unwrap_or_default())),
        ("has_perms_by_name", 3) if values[0] == Value::Null && values[1] == Value::Null => {
            flag(scope.engine.has_permission(scope.session, &string(2).unwrap_or_default()))
        }
        _ => return Err(error(195, 15, format!("'{name}' is not a recognized built-in function name."))),
    })
}

/// The type of a call's result, for column metadata.
pub fn type_of(name: &str) -> SqlType {
    match name {
        "len" | "db_id" | "is_srvrolemember" | "has_perms_by_name" => SqlType::Int,
        "getdate" | "sysdatetime" | "getutcdate" => SqlType::DateTime,
        "serverproperty" => SqlType::Variant,
        _ => SqlType::NVarChar(4000),
    }
}
