//! Evaluates expressions against one row, the variables of the batch and the engine.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::collation::Collation;
use super::engine::Engine;
use super::functions;
use super::query;
use super::syntax::{Expr, Op};
use super::values::{as_integer, as_text, cast, compare, unsupported, unwrap_variant};
use crate::value::{Column, Message, SqlType, Value};

/// The context of an evaluation.
pub struct Scope<'a, E> {
    pub engine: &'a E,
    pub session: u64,
    pub variables: &'a BTreeMap<String, (SqlType, Value)>,
    pub globals: &'a BTreeMap<&'static str, i64>,
    /// Each source of the current row.
    pub row: BoundRow<'a>,
    /// The row of the enclosing SELECT.
    pub outer: BoundRow<'a>,
    /// Counts the rows that joins have compared.
    pub comparisons: &'a Cell<u64>,
}

/// Alias, columns and cells of each source of a row.
pub type BoundRow<'a> = &'a [(&'a str, &'a [Column], &'a [Value])];

impl<E> Clone for Scope<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Scope<'_, E> {}

impl<E: Engine> Scope<'_, E> {
    /// The collation of the server of the session.
    pub fn collation(&self) -> Collation {
        self.engine.collation(self.session)
    }
}

/// An error message with state 1 and line 1.
pub fn error(number: u32, class: u8, text: impl Into<String>) -> Message {
    Message { number, state: 1, class, text: text.into(), line: 1 }
}

/// The value of an expression.
///
/// # Errors
/// 207 for an unknown column, 195 for an unknown function, 137 for a variable that was not declared.
pub fn evaluate<E: Engine>(scope: &Scope<E>, expr: &Expr) -> Result<Value, Message> {
    Ok(match expr {
        Expr::Null => Value::Null,
        Expr::Text(text) => Value::NVarChar(text.clone()),
        Expr::Bytes(bytes) => Value::Binary(bytes.clone()),
        Expr::Int(number) => i32::try_from(*number).map_or(Value::BigInt(*number), Value::Int),
        Expr::Var(name) => match scope.variables.get(name) {
            Some((_, value)) => value.clone(),
            None => return Err(error(137, 15, format!("Must declare the scalar variable \"@{name}\"."))),
        },
        Expr::Global(name) => functions::global(scope, name)?,
        Expr::Column { .. } => column(scope, expr)?.1.clone(),
        Expr::Negative(inner) => match as_integer(&evaluate(scope, inner)?) {
            Some(number) => smallest_integer(number.checked_neg().ok_or_else(|| overflow("bigint"))?),
            None => Value::Null,
        },
        Expr::Binary(op @ (Op::Add | Op::Subtract | Op::Multiply | Op::Divide), left, right) => {
            arithmetic(*op, evaluate(scope, left)?, evaluate(scope, right)?)?
        }
        Expr::Case(arms, otherwise) => {
            for (test, then) in arms {
                if evaluate_condition(scope, test)? == Some(true) {
                    return evaluate(scope, then);
                }
            }
            otherwise.as_ref().map_or(Ok(Value::Null), |otherwise| evaluate(scope, otherwise))?
        }
        Expr::Cast(inner, ty) => cast(evaluate(scope, inner)?, *ty)?,
        Expr::Call(name, arguments) => functions::call(scope, name, arguments)?,
        Expr::CountAll => return Err(error(102, 15, "Incorrect syntax near 'COUNT'.")),
        Expr::Not(_)
        | Expr::Binary(..)
        | Expr::IsNull(_)
        | Expr::In(..)
        | Expr::InSelect(..)
        | Expr::Like(..)
        | Expr::Exists(_) => {
            return Err(error(102, 15, "A condition was found where a value is expected."));
        }
    })
}

/// The truth value of a condition in three-valued logic; `None` is UNKNOWN.
///
/// # Errors
/// As `evaluate`; 4145 for a value where a condition is expected.
pub fn evaluate_condition<E: Engine>(scope: &Scope<E>, expr: &Expr) -> Result<Option<bool>, Message> {
    Ok(match expr {
        Expr::Not(inner) => evaluate_condition(scope, inner)?.map(|truth| !truth),
        Expr::Binary(Op::And, left, right) => {
            match (evaluate_condition(scope, left)?, evaluate_condition(scope, right)?) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }
        }
        Expr::Binary(Op::Or, left, right) => {
            match (evaluate_condition(scope, left)?, evaluate_condition(scope, right)?) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }
        }
        Expr::Binary(op, left, right) => compare(&evaluate(scope, left)?, &evaluate(scope, right)?, scope.collation())?
            .map(|order| match op {
                Op::Equal => order == Ordering::Equal,
                Op::NotEqual => order != Ordering::Equal,
                Op::Less => order == Ordering::Less,
                Op::LessOrEqual => order != Ordering::Greater,
                Op::Greater => order == Ordering::Greater,
                Op::GreaterOrEqual => order != Ordering::Less,
                Op::And | Op::Or | Op::Add | Op::Subtract | Op::Multiply | Op::Divide => false,
            }),
        Expr::IsNull(inner) => Some(evaluate(scope, inner)? == Value::Null),
        Expr::In(inner, list) => {
            let wanted = evaluate(scope, inner)?;
            let list: Result<Vec<Value>, Message> = list.iter().map(|item| evaluate(scope, item)).collect();
            is_in(&wanted, &list?, scope.collation())?
        }
        Expr::InSelect(inner, select) => {
            let wanted = evaluate(scope, inner)?;
            let table = query::execute(scope, select)?;
            if table.columns.len() != 1 {
                let text = "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.";
                return Err(error(116, 16, text));
            }
            let list: Vec<Value> = table.rows.into_iter().flatten().collect();
            is_in(&wanted, &list, scope.collation())?
        }
        Expr::Like(inner, pattern) => match (text(&evaluate(scope, inner)?)?, text(&evaluate(scope, pattern)?)?) {
            (Some(text), Some(pattern)) => Some(scope.collation().like(&text, &pattern)?),
            _ => None,
        },
        Expr::Exists(select) => Some(!query::execute(scope, select)?.rows.is_empty()),
        _ => return Err(error(4145, 15, "An expression of non-boolean type was found where a condition is expected.")),
    })
}

/// The value as text; `None` for NULL.
///
/// # Errors
/// 102 for a value whose text is not implemented.
pub fn text(value: &Value) -> Result<Option<String>, Message> {
    match as_text(value) {
        None if *value != Value::Null => Err(unsupported("text of a date or binary value")),
        text => Ok(text),
    }
}

/// Whether a value is in a list, in three-valued logic.
fn is_in(wanted: &Value, list: &[Value], collation: Collation) -> Result<Option<bool>, Message> {
    let mut unknown = false;
    for item in list {
        match compare(wanted, item, collation)? {
            Some(Ordering::Equal) => return Ok(Some(true)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { None } else { Some(false) })
}

/// The column and the cell of a column reference.
///
/// # Errors
/// 207 for an unknown column, 209 for a name that two sources have.
pub fn column<'a, E>(scope: &Scope<'a, E>, expr: &Expr) -> Result<(&'a Column, &'a Value), Message> {
    let Expr::Column { source, name } = expr else { return Err(error(207, 16, "not a column")) };
    for row in [scope.row, scope.outer] {
        let mut found = row.iter().filter_map(|(alias, columns, cells)| {
            let at = columns.iter().position(|column| column.name == *name)?;
            source.as_ref().is_none_or(|source| source == alias).then_some((&columns[at], &cells[at]))
        });
        if let Some(first) = found.next() {
            return match found.next() {
                None => Ok(first),
                Some(_) => Err(error(209, 16, format!("Ambiguous column name '{name}'."))),
            };
        }
    }
    Err(error(207, 16, format!("Invalid column name '{name}'.")))
}

/// INT if the number fits, else BIGINT.
pub fn smallest_integer(number: i64) -> Value {
    i32::try_from(number).map_or(Value::BigInt(number), Value::Int)
}

fn arithmetic(op: Op, left: Value, right: Value) -> Result<Value, Message> {
    let (left, right) = (unwrap_variant(left), unwrap_variant(right));
    if left == Value::Null || right == Value::Null {
        return Ok(Value::Null);
    }
    if let (Value::NVarChar(a), Value::NVarChar(b)) = (&left, &right) {
        return match op {
            Op::Add => Ok(Value::NVarChar(format!("{a}{b}"))),
            _ => Err(error(8117, 16, "Operand data type nvarchar is invalid for this operator.")),
        };
    }
    if matches!(left, Value::Numeric { .. }) || matches!(right, Value::Numeric { .. }) {
        return Err(unsupported("numeric"));
    }
    // BIGINT if one side is BIGINT, else INT: the result of two INT can overflow.
    let ty = match (&left, &right) {
        (Value::BigInt(_), _) | (_, Value::BigInt(_)) => SqlType::BigInt,
        _ => SqlType::Int,
    };
    let (Value::Int(_) | Value::BigInt(_), Value::Int(_) | Value::BigInt(_)) =
        (&cast(left.clone(), ty)?, &cast(right.clone(), ty)?)
    else {
        return Err(unsupported("operator"));
    };
    let (Some(a), Some(b)) = (as_integer(&left), as_integer(&right)) else { return Err(unsupported("operator")) };
    let result = match op {
        Op::Add => a.checked_add(b),
        Op::Subtract => a.checked_sub(b),
        Op::Multiply => a.checked_mul(b),
        _ if b == 0 => return Err(error(8134, 16, "Divide by zero error encountered.")),
        _ => a.checked_div(b),
    };
    match (ty, result.map(|number| (number, i32::try_from(number)))) {
        (SqlType::BigInt, Some((number, _))) => Ok(Value::BigInt(number)),
        (SqlType::BigInt, None) => Err(overflow("bigint")),
        (_, Some((_, Ok(number)))) => Ok(Value::Int(number)),
        _ => Err(overflow("int")),
    }
}

fn overflow(ty: &str) -> Message {
    error(8115, 16, format!("Arithmetic overflow error converting expression to data type {ty}."))
}
