//! Runs SELECT: sources, joins, filter, order, and the columns of the result.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::collation::Collation;
use super::engine::{Engine, Table};
use super::evaluate::{BoundRow, Scope, column, error, evaluate, evaluate_condition, smallest_integer};
use super::functions::type_of;
use super::group::grouped_rows;
use super::join::read_sources;
use super::syntax::{Expr, Item, Select};
use super::types;
use super::values::{as_integer, cast, sort_order, unsupported};
use crate::value::{Column, Message, SqlType, Value};

/// Rows of cells, one list of cells per source.
pub(super) type Rows = Vec<Vec<Vec<Value>>>;
/// Alias and table of every source.
pub(super) type Sources<'a> = Vec<(&'a str, Table)>;

/// Runs a SELECT.
///
/// # Errors
/// 208 for an unknown object, or the error of an expression.
pub fn execute<E: Engine>(scope: &Scope<E>, select: &Select) -> Result<Table, Message> {
    let (sources, rows) = read_sources(scope, select)?;
    let rows = filter_rows(scope, select, &sources, rows)?;
    let nulls: Vec<Vec<Value>> = sources.iter().map(|(_, table)| vec![Value::Null; table.columns.len()]).collect();
    let columns = columns(&row_scope(scope, &bind_row(&sources, &nulls)), select)?;
    let is_aggregated = select
        .items
        .iter()
        .any(|item| matches!(item, Item::Value { expr, .. } | Item::Assign(_, expr) if is_aggregate(expr)));
    let mut rows = if !select.group.is_empty() {
        grouped_rows(scope, select, &sources, rows, &columns)?
    } else if is_aggregated {
        vec![aggregate_row(scope, select, &sources, &rows)?]
    } else {
        let rows = sort_rows(scope, select, &sources, rows)?;
        project_rows(scope, select, &sources, &rows, &columns)?
    };
    if select.distinct {
        rows = distinct_rows(rows, scope.collation());
    }
    if let Some(top) = select.top {
        rows.truncate(usize::try_from(top).unwrap_or(0));
    }
    Ok(Table { columns, rows })
}

fn filter_rows<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &[(&str, Table)],
    rows: Rows,
) -> Result<Rows, Message> {
    let Some(filter) = &select.filter else { return Ok(rows) };
    let mut kept = Vec::new();
    for row in rows {
        if evaluate_condition(&row_scope(scope, &bind_row(sources, &row)), filter)? == Some(true) {
            kept.push(row);
        }
    }
    Ok(kept)
}

fn sort_rows<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &[(&str, Table)],
    rows: Rows,
) -> Result<Rows, Message> {
    if select.order.is_empty() {
        return Ok(rows);
    }
    let keys: Vec<&Expr> = select
        .order
        .iter()
        .map(|(key, _)| order_key(select, key, scope.collation()))
        .collect::<Result<_, Message>>()?;
    let mut keyed = Vec::new();
    for row in rows {
        let bound = bind_row(sources, &row);
        let values: Result<Vec<Value>, Message> =
            keys.iter().map(|key| evaluate(&row_scope(scope, &bound), key)).collect();
        keyed.push((values?, row));
    }
    keyed.sort_by(|(a, _), (b, _)| compare_keys(a, b, &select.order, scope.collation()));
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
}

/// The order of two rows by the values of their sort keys.
pub(super) fn compare_keys(a: &[Value], b: &[Value], order: &[(Expr, bool)], collation: Collation) -> Ordering {
    let orders = a.iter().zip(b).zip(order).map(|((a, b), (_, descending))| {
        let order = sort_order(a, b, collation);
        if *descending { order.reverse() } else { order }
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// The expression of a sort key, which can be the position or the alias of a column of the result.
pub(super) fn order_key<'a>(select: &'a Select, key: &'a Expr, collation: Collation) -> Result<&'a Expr, Message> {
    let value = |item: &'a Item| match item {
        Item::Value { expr, .. } => Some(expr),
        Item::Star(_) | Item::Assign(..) => None,
    };
    match key {
        Expr::Int(position) => {
            let at = usize::try_from(*position).ok().and_then(|position| position.checked_sub(1));
            if select.items.iter().any(|item| matches!(item, Item::Star(_))) {
                return Err(unsupported("ORDER BY position"));
            }
            at.and_then(|at| select.items.get(at)).and_then(value).ok_or_else(|| {
                let text = format!(
                    "The ORDER BY position number {position} is out of range of the number of items in the select list."
                );
                error(108, 16, text)
            })
        }
        Expr::Column { source: None, name } => {
            let aliased = select.items.iter().find(|item| match item {
                Item::Value { name: Some(alias), .. } => collation.name(alias) == *name,
                Item::Value { .. } | Item::Star(_) | Item::Assign(..) => false,
            });
            Ok(aliased.and_then(value).unwrap_or(key))
        }
        _ => Ok(key),
    }
}

/// The rows without duplicates. NULL is equal to NULL here, and the cells of a column have one type.
fn distinct_rows(rows: Vec<Vec<Value>>, collation: Collation) -> Vec<Vec<Value>> {
    let cell = |value: &Value| match value {
        Value::NVarChar(text) => format!("text {:?}", collation.key(text)),
        other => format!("{other:?}"),
    };
    let mut seen = BTreeSet::new();
    let mut rows = rows;
    rows.retain(|row| seen.insert(row.iter().map(cell).collect::<Vec<String>>()));
    rows
}

/// The single row of a SELECT with an aggregate function.
fn aggregate_row<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &[(&str, Table)],
    rows: &Rows,
) -> Result<Vec<Value>, Message> {
    select
        .items
        .iter()
        .map(|item| match item {
            Item::Value { expr, .. } | Item::Assign(_, expr) => aggregate(scope, sources, rows, expr),
            Item::Star(_) => Err(unsupported("*")),
        })
        .collect()
}

fn project_rows<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &[(&str, Table)],
    rows: &Rows,
    columns: &[Column],
) -> Result<Vec<Vec<Value>>, Message> {
    let mut projected = Vec::new();
    for row in rows {
        let bound = bind_row(sources, row);
        let scope = row_scope(scope, &bound);
        let mut cells = Vec::new();
        for item in &select.items {
            match item {
                Item::Star(only) => {
                    for ((alias, _), source) in sources.iter().zip(row) {
                        if only.as_ref().is_none_or(|only| only == alias) {
                            cells.extend(source.iter().cloned());
                        }
                    }
                }
                Item::Value { expr, .. } | Item::Assign(_, expr) => cells.push(evaluate(&scope, expr)?),
            }
        }
        for (cell, column) in cells.iter_mut().zip(columns) {
            *cell = cast(std::mem::replace(cell, Value::Null), column.ty)?;
        }
        projected.push(cells);
    }
    Ok(projected)
}

pub(super) fn bind_row<'a>(
    sources: &'a [(&'a str, Table)],
    row: &'a [Vec<Value>],
) -> Vec<(&'a str, &'a [Column], &'a [Value])> {
    sources
        .iter()
        .zip(row)
        .map(|((alias, table), cells)| (*alias, table.columns.as_slice(), cells.as_slice()))
        .collect()
}

/// The scope of a row of this SELECT. `scope` is the scope of the enclosing statement.
pub(super) fn row_scope<'a, E>(scope: &Scope<'a, E>, row: BoundRow<'a>) -> Scope<'a, E> {
    Scope { row, outer: if scope.row.is_empty() { scope.outer } else { scope.row }, ..*scope }
}

pub(super) fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::CountAll => true,
        Expr::Call(name, _) => matches!(name.as_str(), "count" | "max" | "min" | "sum"),
        _ => false,
    }
}

/// Whether an expression refers to a column of the query.
fn has_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column { .. } => true,
        Expr::Null | Expr::Text(_) | Expr::Int(_) | Expr::Bytes(_) | Expr::Var(_) | Expr::Global(_) => false,
        _ => true,
    }
}

pub(super) fn aggregate<E: Engine>(
    scope: &Scope<E>,
    sources: &[(&str, Table)],
    rows: &Rows,
    expr: &Expr,
) -> Result<Value, Message> {
    let Expr::Call(name, arguments) = expr else {
        return match expr {
            Expr::CountAll => Ok(smallest_integer(i64::try_from(rows.len()).unwrap_or(i64::MAX))),
            // A column needs GROUP BY.
            other if has_column(other) => Err(unsupported("GROUP BY")),
            other => evaluate(scope, other),
        };
    };
    let (true, [argument]) = (is_aggregate(expr), arguments.as_slice()) else { return Err(unsupported(name)) };
    let mut values = Vec::new();
    for row in rows {
        values.push(evaluate(&row_scope(scope, &bind_row(sources, row)), argument)?);
    }
    values.retain(|value| *value != Value::Null);
    let extreme = |wanted: Ordering| {
        values
            .iter()
            .cloned()
            .reduce(|best, value| if sort_order(&value, &best, scope.collation()) == wanted { value } else { best })
    };
    Ok(match name.as_str() {
        "count" => smallest_integer(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        "max" => extreme(Ordering::Greater).unwrap_or(Value::Null),
        "min" => extreme(Ordering::Less).unwrap_or(Value::Null),
        _ => sum(&values)?,
    })
}

/// SUM: NULL without values. The type of the values decides about overflow.
fn sum(values: &[Value]) -> Result<Value, Message> {
    let Some(first) = values.first() else { return Ok(Value::Null) };
    let is_big = matches!(first, Value::BigInt(_));
    let mut total = 0i64;
    for value in values {
        let (Value::TinyInt(_) | Value::SmallInt(_) | Value::Int(_) | Value::BigInt(_), Some(number)) =
            (value, as_integer(value))
        else {
            return Err(unsupported("SUM"));
        };
        total = total
            .checked_add(number)
            .filter(|total| is_big || i32::try_from(*total).is_ok())
            .ok_or_else(|| error(8115, 16, "Arithmetic overflow error converting expression to data type int."))?;
    }
    Ok(if is_big { Value::BigInt(total) } else { smallest_integer(total) })
}

fn columns<E: Engine>(scope: &Scope<E>, select: &Select) -> Result<Vec<Column>, Message> {
    let mut columns = Vec::new();
    for item in &select.items {
        match item {
            Item::Star(only) => {
                let sources = scope.row.iter().filter(|(alias, ..)| only.as_ref().is_none_or(|only| only == alias));
                let before = columns.len();
                // An outer join makes every column nullable.
                columns.extend(
                    sources
                        .flat_map(|(_, source, _)| source.iter())
                        .map(|column| Column { nullable: column.nullable || scope.row.len() > 1, ..column.clone() }),
                );
                if columns.len() == before {
                    return Err(error(
                        107,
                        15,
                        "The column prefix does not match with a table name or alias name used in the query.",
                    ));
                }
            }
            Item::Value { expr, name } => {
                let (ty, nullable, own) = expression_type(scope, expr)?;
                columns.push(Column { name: name.clone().or(own).unwrap_or_default(), ty, nullable });
            }
            Item::Assign(_, expr) => {
                let (ty, nullable, _) = expression_type(scope, expr)?;
                columns.push(Column { name: String::new(), ty, nullable });
            }
        }
    }
    Ok(columns)
}

/// Type, nullability and default column name of an expression. With joins every column is nullable.
fn expression_type<E: Engine>(scope: &Scope<E>, expr: &Expr) -> Result<(SqlType, bool, Option<String>), Message> {
    let is_join = scope.row.len() > 1;
    Ok(match expr {
        Expr::Column { .. } => {
            let found = column(scope, expr)?.0;
            (found.ty, found.nullable || is_join, Some(found.name.clone()))
        }
        Expr::Text(text) => (types::of_text(text), false, None),
        Expr::Bytes(bytes) => (SqlType::Binary(bytes.len().clamp(1, 8000) as u16), false, None),
        Expr::Int(number) => (if i32::try_from(*number).is_ok() { SqlType::Int } else { SqlType::BigInt }, false, None),
        Expr::Cast(_, ty) => (*ty, true, None),
        Expr::Var(name) => (scope.variables.get(name).map_or(SqlType::Int, |(ty, _)| *ty), true, None),
        Expr::Global(name) => match name.as_str() {
            "version" | "language" | "servername" => (SqlType::NVarChar(300), true, None),
            "max_precision" => (SqlType::TinyInt, false, None),
            _ => (SqlType::Int, false, None),
        },
        Expr::Call(name, arguments) if name == "coalesce" => (common_type(scope, arguments.iter())?, true, None),
        Expr::Call(name, arguments) if matches!(name.as_str(), "isnull" | "nullif" | "max" | "min") => {
            let first = arguments.first().map(|first| expression_type(scope, first)).transpose()?;
            (first.map_or(SqlType::Int, |(ty, ..)| ty), true, None)
        }
        Expr::Call(name, arguments) if matches!(name.as_str(), "rtrim" | "ltrim" | "upper" | "lower") => {
            let first = arguments.first().map(|first| expression_type(scope, first)).transpose()?;
            (first.map_or(SqlType::NVarChar(4000), |(ty, ..)| ty), true, None)
        }
        Expr::Call(name, _) if name == "count" => (SqlType::Int, true, None),
        Expr::Call(name, arguments) if name == "sum" => {
            let first = arguments.first().map(|first| expression_type(scope, first)).transpose()?;
            let is_big = first.is_some_and(|(ty, ..)| ty == SqlType::BigInt);
            (if is_big { SqlType::BigInt } else { SqlType::Int }, true, None)
        }
        Expr::Call(name, _) => (type_of(name), true, None),
        Expr::Case(arms, otherwise) => {
            let results = arms.iter().map(|(_, then)| then).chain(otherwise.as_deref());
            (common_type(scope, results)?, true, None)
        }
        Expr::Binary(_, left, right) => match (expression_type(scope, left)?.0, expression_type(scope, right)?.0) {
            (SqlType::VarChar(_), SqlType::VarChar(_)) => (SqlType::VarChar(8000), true, None),
            (left, right) if types::is_text(left) && types::is_text(right) => (SqlType::NVarChar(4000), true, None),
            (SqlType::BigInt, _) | (_, SqlType::BigInt) => (SqlType::BigInt, true, None),
            _ => (SqlType::Int, true, None),
        },
        Expr::Negative(inner) => expression_type(scope, inner)?,
        Expr::Null
        | Expr::CountAll
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::In(..)
        | Expr::InSelect(..)
        | Expr::Like(..)
        | Expr::Exists(_) => (SqlType::Int, true, None),
    })
}

/// The type of CASE or COALESCE. NULL has no type of its own.
fn common_type<'a, E: Engine>(scope: &Scope<E>, all: impl Iterator<Item = &'a Expr>) -> Result<SqlType, Message> {
    let mut found: Option<SqlType> = None;
    for expr in all.filter(|expr| **expr != Expr::Null) {
        let ty = expression_type(scope, expr)?.0;
        found = Some(found.map_or(Ok(ty), |found| types::common(found, ty))?);
    }
    Ok(found.unwrap_or(SqlType::Int))
}
