//! Runs SELECT: sources, joins, filter, order, and the columns of the result.

use std::cmp::Ordering;

use super::engine::{Engine, Table};
use super::evaluate::{Scope, column, error, evaluate, evaluate_condition, smallest_integer};
use super::functions::type_of;
use super::syntax::{Expr, Item, Select, Source};
use super::values::{as_integer, cast, compare};
use crate::value::{Column, Message, SqlType, Value};

/// Rows of cells, one list of cells per source.
type Rows = Vec<Vec<Vec<Value>>>;
/// Alias and table of every source.
type Sources<'a> = Vec<(&'a str, Table)>;

/// Runs a SELECT.
///
/// # Errors
/// 208 for an unknown object, or the error of an expression.
pub fn execute<E: Engine>(scope: &Scope<E>, select: &Select) -> Result<Table, Message> {
    let (sources, rows) = read_sources(scope, select)?;
    let rows = filter_rows(scope, select, &sources, rows)?;
    let mut rows = sort_rows(scope, select, &sources, rows)?;
    if let Some(top) = select.top {
        rows.truncate(usize::try_from(top).unwrap_or(0));
    }
    let nulls: Vec<Vec<Value>> = sources.iter().map(|(_, table)| vec![Value::Null; table.columns.len()]).collect();
    let columns = columns(&row_scope(scope, &bind_row(&sources, &nulls)), select)?;
    let is_aggregated = select
        .items
        .iter()
        .any(|item| matches!(item, Item::Value { expr, .. } | Item::Assign(_, expr) if is_aggregate(expr)));
    let rows = if is_aggregated {
        vec![aggregate_row(scope, select, &sources, &rows)?]
    } else {
        project_rows(scope, select, &sources, &rows, &columns)?
    };
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
    let mut keyed = Vec::new();
    for row in rows {
        let keys: Vec<Value> = select
            .order
            .iter()
            .map(|(key, _)| evaluate(&row_scope(scope, &bind_row(sources, &row)), key))
            .collect::<Result<_, _>>()?;
        keyed.push((keys, row));
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let compare_keys = |((a, b), (_, descending)): ((&Value, &Value), &(Expr, bool))| {
            let order = compare(a, b).unwrap_or(Ordering::Equal);
            if *descending { order.reverse() } else { order }
        };
        a.iter()
            .zip(b)
            .zip(&select.order)
            .map(compare_keys)
            .find(|order| *order != Ordering::Equal)
            .unwrap_or(Ordering::Equal)
    });
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
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
            Item::Star => Err(error(102, 15, "Incorrect syntax near '*'.")),
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
                Item::Star => cells.extend(row.iter().flatten().cloned()),
                Item::Value { expr, .. } | Item::Assign(_, expr) => cells.push(evaluate(&scope, expr)?),
            }
        }
        for (cell, column) in cells.iter_mut().zip(columns) {
            *cell = cast(std::mem::replace(cell, Value::Null), column.ty).map_err(|text| error(245, 16, text))?;
        }
        projected.push(cells);
    }
    Ok(projected)
}

fn read_sources<'a, E: Engine>(scope: &Scope<E>, select: &'a Select) -> Result<(Sources<'a>, Rows), Message> {
    let open = |source: &Source| match scope.engine.table(scope.session, &source.view) {
        Some(table) => table,
        None => Err(error(208, 16, format!("Invalid object name '{}'.", source.view))),
    };
    let Some((first, joins)) = &select.from else { return Ok((Vec::new(), vec![Vec::new()])) };
    let table = open(first)?;
    let mut rows: Rows = table.rows.iter().map(|row| vec![row.clone()]).collect();
    let mut sources = vec![(first.alias.as_str(), table)];
    for join in joins {
        let table = open(&join.source)?;
        sources.push((join.source.alias.as_str(), table));
        let right = sources[sources.len() - 1].1.rows.clone();
        let blank = vec![Value::Null; sources[sources.len() - 1].1.columns.len()];
        let mut joined = Vec::new();
        for left in rows {
            let mut matched = false;
            for other in &right {
                let mut row = left.clone();
                row.push(other.clone());
                if evaluate_condition(&row_scope(scope, &bind_row(&sources, &row)), &join.on)? == Some(true) {
                    matched = true;
                    joined.push(row);
                }
            }
            if join.left && !matched {
                let mut row = left;
                row.push(blank.clone());
                joined.push(row);
            }
        }
        rows = joined;
    }
    Ok((sources, rows))
}

fn bind_row<'a>(sources: &'a [(&'a str, Table)], row: &'a [Vec<Value>]) -> Vec<(&'a str, &'a [Column], &'a [Value])> {
    sources
        .iter()
        .zip(row)
        .map(|((alias, table), cells)| (*alias, table.columns.as_slice(), cells.as_slice()))
        .collect()
}

fn row_scope<'a, E>(scope: &Scope<'a, E>, row: &'a [(&'a str, &'a [Column], &'a [Value])]) -> Scope<'a, E> {
    Scope { row, ..*scope }
}

fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::CountAll => true,
        Expr::Call(name, _) => matches!(name.as_str(), "count" | "max" | "min" | "sum"),
        _ => false,
    }
}

fn aggregate<E: Engine>(
    scope: &Scope<E>,
    sources: &[(&str, Table)],
    rows: &Rows,
    expr: &Expr,
) -> Result<Value, Message> {
    let Expr::Call(name, arguments) = expr else {
        return match expr {
            Expr::CountAll => Ok(smallest_integer(i64::try_from(rows.len()).unwrap_or(i64::MAX))),
            other => evaluate(scope, other),
        };
    };
    let Some(argument) = arguments.first() else {
        return Err(error(174, 15, format!("The {name} function requires 1 argument.")));
    };
    let mut values = Vec::new();
    for row in rows {
        values.push(evaluate(&row_scope(scope, &bind_row(sources, row)), argument)?);
    }
    values.retain(|value| *value != Value::Null);
    let extreme = |wanted: Ordering| {
        values
            .iter()
            .cloned()
            .reduce(|best, value| if compare(&value, &best) == Some(wanted) { value } else { best })
            .unwrap_or(Value::Null)
    };
    Ok(match name.as_str() {
        "count" => smallest_integer(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        "max" => extreme(Ordering::Greater),
        "min" => extreme(Ordering::Less),
        _ => smallest_integer(values.iter().filter_map(as_integer).sum()),
    })
}

fn columns<E: Engine>(scope: &Scope<E>, select: &Select) -> Result<Vec<Column>, Message> {
    let mut columns = Vec::new();
    for item in &select.items {
        match item {
            Item::Star => columns.extend(scope.row.iter().flat_map(|(_, source, _)| source.iter().cloned())),
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
        Expr::Text(text) => {
            (SqlType::NVarChar(u16::try_from(text.chars().count().max(1)).unwrap_or(4000)), false, None)
        }
        Expr::Int(number) => (if i32::try_from(*number).is_ok() { SqlType::Int } else { SqlType::BigInt }, false, None),
        Expr::Cast(_, ty) => (*ty, true, None),
        Expr::Var(name) => (scope.variables.get(name).map_or(SqlType::Int, |(ty, _)| *ty), true, None),
        Expr::Global(name) => match name.as_str() {
            "version" | "language" | "servername" => (SqlType::NVarChar(300), true, None),
            "max_precision" => (SqlType::TinyInt, false, None),
            _ => (SqlType::Int, false, None),
        },
        Expr::Call(name, arguments) if matches!(name.as_str(), "isnull" | "coalesce" | "nullif" | "max" | "min") => {
            let first = arguments.first().map(|first| expression_type(scope, first)).transpose()?;
            (first.map_or(SqlType::Int, |(ty, ..)| ty), true, None)
        }
        Expr::Call(name, arguments) if matches!(name.as_str(), "rtrim" | "ltrim" | "upper" | "lower") => {
            let first = arguments.first().map(|first| expression_type(scope, first)).transpose()?;
            (first.map_or(SqlType::NVarChar(4000), |(ty, ..)| ty), true, None)
        }
        Expr::Call(name, _) if matches!(name.as_str(), "count" | "sum") => (SqlType::Int, true, None),
        Expr::Call(name, _) => (type_of(name), true, None),
        Expr::Case(arms, _) => {
            let first = arms.first().map(|(_, then)| expression_type(scope, then)).transpose()?;
            (first.map_or(SqlType::Int, |(ty, ..)| ty), true, None)
        }
        Expr::Binary(_, left, right) => match (expression_type(scope, left)?.0, expression_type(scope, right)?.0) {
            (SqlType::NVarChar(_), SqlType::NVarChar(_)) => (SqlType::NVarChar(4000), true, None),
            (SqlType::BigInt, _) | (_, SqlType::BigInt) => (SqlType::BigInt, true, None),
            _ => (SqlType::Int, true, None),
        },
        Expr::Negative(inner) => expression_type(scope, inner)?,
        Expr::Null
        | Expr::CountAll
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::In(..)
        | Expr::Like(..)
        | Expr::Exists(_) => (SqlType::Int, true, None),
    })
}
