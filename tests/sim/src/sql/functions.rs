//! Scalar functions and `@@` globals. An unknown function is error 195, an unknown global error 137.

use super::collation::Collation;
use super::engine::Engine;
use super::evaluate::{Scope, error, evaluate, smallest_integer};
use super::syntax::Expr;
use super::values::{as_integer, as_text, compare, unsupported, unwrap_variant};
use crate::value::{Message, SqlType, Value};

/// Functions whose arguments convert to text, if the conversion is implemented.
const TEXT_FUNCTIONS: [&str; 7] = ["len", "upper", "lower", "rtrim", "ltrim", "replace", "substring"];

/// 2026-01-01, in milliseconds since 1900-01-01: the date at which every simulation starts.
const EPOCH_MILLIS: i64 = 46_021 * 86_400_000;

/// A time since the start of the simulation as a DATETIME.
pub fn epoch_millis(millis: i64) -> i64 {
    EPOCH_MILLIS.saturating_add(millis)
}

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
        "trancount" => smallest_integer(scope.engine.options(scope.session).transactions),
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
    let has_no_text = |value: &Value| *value != Value::Null && as_text(value).is_none();
    if TEXT_FUNCTIONS.contains(&name) && values.iter().any(has_no_text) {
        return Err(unsupported(name));
    }
    let string = |at: usize| values.get(at).and_then(as_text);
    let integer = |at: usize| values.get(at).and_then(as_integer);
    let flag = |flag: Option<bool>| flag.map_or(Value::Null, |flag| Value::Int(flag.into()));
    let mapped = |change: &dyn Fn(&str) -> String| string(0).map_or(Value::Null, |text| Value::NVarChar(change(&text)));
    Ok(match (name, values.len()) {
        ("isnull", 2) | ("coalesce", 2..) => {
            values.into_iter().find(|value| *value != Value::Null).unwrap_or(Value::Null)
        }
        ("nullif", 2) if compare(&values[0], &values[1], scope.collation())? == Some(std::cmp::Ordering::Equal) => {
            Value::Null
        }
        ("nullif", 2) => values[0].clone(),
        ("len", 1) => string(0).map_or(Value::Null, |text| {
            smallest_integer(i64::try_from(text.trim_end_matches(' ').encode_utf16().count()).unwrap_or(0))
        }),
        ("upper", 1) => mapped(&str::to_uppercase),
        ("lower", 1) => mapped(&str::to_lowercase),
        ("rtrim", 1) => mapped(&|text| text.trim_end().to_owned()),
        ("ltrim", 1) => mapped(&|text| text.trim_start().to_owned()),
        ("replace", 3) => match (string(0), string(1), string(2)) {
            (Some(text), Some(from), Some(to)) => Value::NVarChar(replace(&text, &from, &to, scope.collation())?),
            _ => Value::Null,
        },
        ("substring", 3) => match (string(0), integer(1), integer(2)) {
            (Some(text), Some(from), Some(size)) => substring(&text, from, size)?,
            _ => Value::Null,
        },
        ("getdate" | "getutcdate", 0) => Value::DateTime(epoch_millis(scope.engine.now_millis())),
        ("serverproperty", 1) => {
            let found = scope.engine.server_property(scope.session, &string(0).unwrap_or_default());
            if found == Value::Null { found } else { Value::Variant(Box::new(found)) }
        }
        ("is_srvrolemember", 1) => flag(scope.engine.is_server_role(scope.session, &string(0).unwrap_or_default())),
        ("has_perms_by_name", 3) if values[0] == Value::Null && values[1] == Value::Null => {
            flag(scope.engine.has_permission(scope.session, &string(2).unwrap_or_default()))
        }
        _ => return session_call(scope, name, &values),
    })
}

/// The functions about the databases and logins of the session.
fn session_call<E: Engine>(scope: &Scope<E>, name: &str, values: &[Value]) -> Result<Value, Message> {
    let string = |at: usize| values.get(at).and_then(as_text);
    let integer = |at: usize| values.get(at).and_then(as_integer);
    Ok(match (name, values.len()) {
        ("db_name", 0) => Value::NVarChar(scope.engine.database(scope.session)),
        ("db_name", 1) => {
            let name = integer(0).and_then(|id| scope.engine.database_name(scope.session, id));
            name.map_or(Value::Null, Value::NVarChar)
        }
        ("db_id", 0 | 1) => {
            let wanted = if values.is_empty() { Some(scope.engine.database(scope.session)) } else { string(0) };
            let id = wanted.and_then(|name| scope.engine.database_id(scope.session, &name));
            id.map_or(Value::Null, Value::Int)
        }
        ("suser_sname" | "suser_name" | "original_login", 0) => Value::NVarChar(scope.engine.login(scope.session)),
        ("suser_sname", 1) => match unwrap_variant(values[0].clone()) {
            Value::Null => Value::Null,
            Value::Binary(sid) => scope.engine.login_of(scope.session, &sid).map_or(Value::Null, Value::NVarChar),
            _ => return Err(unsupported(name)),
        },
        // The name of a login by its principal_id.
        ("suser_name", 1) => match (integer(0), scope.engine.table(scope.session, "sys.server_principals")) {
            (Some(id), Some(principals)) => {
                let principals = principals?;
                let at = |wanted: &str| principals.columns.iter().position(|column| column.name == wanted);
                let (name, key) = (at("name").unwrap_or(0), at("principal_id").unwrap_or(0));
                let found = principals.rows.iter().find(|row| as_integer(&row[key]) == Some(id));
                found.map_or(Value::Null, |row| row[name].clone())
            }
            _ => Value::Null,
        },
        // A sysadmin is dbo in every database, another login is guest in the system databases.
        ("user_name", 0) => {
            let is_dbo = scope.engine.is_server_role(scope.session, "sysadmin") == Some(true);
            Value::NVarChar(if is_dbo { "dbo" } else { "guest" }.to_owned())
        }
        ("host_name", 0) => Value::NVarChar(scope.engine.client(scope.session).0),
        ("app_name", 0) => Value::NVarChar(scope.engine.client(scope.session).1),
        _ => return Err(error(195, 15, format!("'{name}' is not a recognized built-in function name."))),
    })
}

/// The type of a call's result, for column metadata.
pub fn type_of(name: &str) -> SqlType {
    match name {
        "len" | "db_id" | "is_srvrolemember" | "has_perms_by_name" => SqlType::Int,
        "getdate" | "getutcdate" => SqlType::DateTime,
        "serverproperty" => SqlType::Variant,
        _ => SqlType::NVarChar(4000),
    }
}

/// SUBSTRING, which counts UTF-16 units from 1. A start before the text shortens the result.
fn substring(text: &str, from: i64, size: i64) -> Result<Value, Message> {
    if size < 0 {
        return Err(error(537, 16, "Invalid length parameter passed to the LEFT or SUBSTRING function."));
    }
    let end = from.saturating_add(size).max(1);
    let (start, end) = (from.max(1), end);
    let skip = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let take = usize::try_from(end.saturating_sub(start).max(0)).unwrap_or(usize::MAX);
    let units: Vec<u16> = text.encode_utf16().skip(skip).take(take).collect();
    String::from_utf16(&units).map(Value::NVarChar).map_err(|_| unsupported("half of a surrogate pair"))
}

/// REPLACE, which compares by the collation. Only texts whose case has one form are implemented.
fn replace(text: &str, from: &str, to: &str, collation: Collation) -> Result<String, Message> {
    if from.is_empty() {
        return Ok(text.to_owned());
    }
    if collation == Collation::CaseSensitive {
        return Ok(text.replace(from, to));
    }
    if !text.is_ascii() || !from.is_ascii() {
        return Err(unsupported("REPLACE"));
    }
    let (folded, wanted) = (text.to_ascii_lowercase(), from.to_ascii_lowercase());
    let mut out = String::new();
    let mut at = 0;
    while let Some(found) = folded[at..].find(&wanted) {
        out.push_str(&text[at..at + found]);
        out.push_str(to);
        at += found + wanted.len();
    }
    out.push_str(&text[at..]);
    Ok(out)
}
