//! SELECT: sources, joins, filter, order, and the columns of the result.

use std::cmp::Ordering;

use super::engine::{Engine, Table};
use super::eval::{Scope, column, error, small, truth, value};
use super::functions::type_of;
use super::syntax::{Expr, Item, Select, Source};
use super::values::{cast, compare, number};
use crate::value::{Column, Message, SqlType, Value};

type Rows = Vec<Vec<Vec<Value>>>;
/// Alias and table of every source.
type Sources<'a> = Vec<(&'a str, Table)>;

/// # Errors
/// 208 for an unknown object; whatever an expression answers.
pub fn run<E: Engine>(scope: &Scope<E>, select: &Select) -> Result<Table, Message> {
    let (sources, mut rows) = gather(scope, select)?;
    if let Some(filter) = &select.filter {
        let mut kept = Vec::new();
        for row in rows {
            if truth(&within(scope, &bind(&sources, &row)), filter)? == Some(true) {
                kept.push(row);
            }
        }
        rows = kept;
    }
    if !select.order.is_empty() {
        let mut keyed = Vec::new();
        for row in rows {
            let keys: Vec<Value> = select
                .order
                .iter()
                .map(|(key, _)| value(&within(scope, &bind(&sources, &row)), key))
                .collect::<Result<_, _>>()?;
            keyed.push((keys, row));
        }
        keyed.sort_by(|(a, _), (b, _)| {
            let one = |((a, b), (_, down)): ((&Value, &Value), &(Expr, bool))| {
                let order = compare(a, b).unwrap_or(Ordering::Equal);
                if *down { order.reverse() } else { order }
            };
            a.iter()
                .zip(b)
                .zip(&select.order)
                .map(one)
                .find(|order| *order != Ordering::Equal)
                .unwrap_or(Ordering::Equal)
        });
        rows = keyed.into_iter().map(|(_, row)| row).collect();
    }
    if let Some(top) = select.top {
        rows.truncate(usize::try_from(top).unwrap_or(0));
    }
    let nulls: Vec<Vec<Value>> = sources.iter().map(|(_, table)| vec![Value::Null; table.columns.len()]).collect();
    let columns = columns(&within(scope, &bind(&sources, &nulls)), select)?;
    let aggregated = select
        .items
        .iter()
        .any(|item| matches!(item, Item::Value { expr, .. } | Item::Assign(_, expr) if is_aggregate(expr)));
    let mut out = Vec::new();
    if aggregated {
        let row: Result<Vec<Value>, Message> = select
            .items
            .iter()
            .map(|item| match item {
                Item::Value { expr, .. } | Item::Assign(_, expr) => aggregate(scope, &sources, &rows, expr),
                Item::Star => Err(error(102, 15, "Incorrect syntax near '*'.")),
            })
            .collect();
        out.push(row?);
        return Ok(Table { columns, rows: out });
    }
    for row in &rows {
        let bound = bind(&sources, row);
        let scope = within(scope, &bound);
        let mut cells = Vec::new();
        for item in &select.items {
            match item {
                Item::Star => cells.extend(row.iter().flatten().cloned()),
                Item::Value { expr, .. } | Item::Assign(_, expr) => cells.push(value(&scope, expr)?),
            }
        }
        for (cell, column) in cells.iter_mut().zip(&columns) {
            *cell = cast(std::mem::replace(cell, Value::Null), column.ty).map_err(|text| error(245, 16, text))?;
        }
        out.push(cells);
    }
    Ok(Table { columns, rows: out })
}

fn gather<'a, E: Engine>(scope: &Scope<E>, select: &'a Select) -> Result<(Sources<'a>, Rows), Message> {
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
                if truth(&within(scope, &bind(&sources, &row)), &join.on)? == Some(true) {
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

fn bind<'a>(sources: &'a [(&'a str, Table)], row: &'a [Vec<Value>]) -> Vec<(&'a str, &'a [Column], &'a [Value])> {
    sources
        .iter()
        .zip(row)
        .map(|((alias, table), cells)| (*alias, table.columns.as_slice(), cells.as_slice()))
        .collect()
}

fn within<'a, E>(scope: &Scope<'a, E>, row: &'a [(&'a str, &'a [Column], &'a [Value])]) -> Scope<'a, E> {
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
            Expr::CountAll => Ok(small(i64::try_from(rows.len()).unwrap_or(i64::MAX))),
            other => value(scope, other),
        };
    };
    let Some(argument) = arguments.first() else {
        return Err(error(174, 15, format!("The {name} function requires 1 argument.")));
    };
    let mut values = Vec::new();
    for row in rows {
        values.push(value(&within(scope, &bind(sources, row)), argument)?);
    }
    values.retain(|value| *value != Value::Null);
    let extreme = |wanted: Ordering| {
        values
            .iter()
            .cloned()
            .reduce(|best, one| if compare(&one, &best) == Some(wanted) { one } else { best })
            .unwrap_or(Value::Null)
    };
    Ok(match name.as_str() {
        "count" => small(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        "max" => extreme(Ordering::Greater),
        "min" => extreme(Ordering::Less),
        _ => small(values.iter().filter_map(number).sum()),
    })
}

fn columns<E: Engine>(scope: &Scope<E>, select: &Select) -> Result<Vec<Column>, Message> {
    let mut all = Vec::new();
    for item in &select.items {
        match item {
            Item::Star => all.extend(scope.row.iter().flat_map(|(_, columns, _)| columns.iter().cloned())),
            Item::Value { expr, name } => {
                let (ty, nullable, own) = shape(scope, expr)?;
                all.push(Column { name: name.clone().or(own).unwrap_or_default(), ty, nullable });
            }
            Item::Assign(_, expr) => {
                let (ty, nullable, _) = shape(scope, expr)?;
                all.push(Column { name: String::new(), ty, nullable });
            }
        }
    }
    Ok(all)
}

/// Type, nullability, and the name that the expression has by itself. A column of an outer join may be NULL.
fn shape<E: Engine>(scope: &Scope<E>, expr: &Expr) -> Result<(SqlType, bool, Option<String>), Message> {
    let several = scope.row.len() > 1;
    Ok(match expr {
        Expr::Column { .. } => {
            let found = column(scope, expr)?.0;
            (found.ty, found.nullable || several, Some(found.name.clone()))
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
            let first = arguments.first().map(|first| shape(scope, first)).transpose()?;
            (first.map_or(SqlType::Int, |(ty, ..)| ty), true, None)
        }
        Expr::Call(name, arguments) if matches!(name.as_str(), "rtrim" | "ltrim" | "upper" | "lower") => {
            let first = arguments.first().map(|first| shape(scope, first)).transpose()?;
            (first.map_or(SqlType::NVarChar(4000), |(ty, ..)| ty), true, None)
        }
        Expr::Call(name, _) if matches!(name.as_str(), "count" | "sum") => (SqlType::Int, true, None),
        Expr::Call(name, _) => (type_of(name), true, None),
        Expr::Case(arms, _) => {
            let first = arms.first().map(|(_, then)| shape(scope, then)).transpose()?;
            (first.map_or(SqlType::Int, |(ty, ..)| ty), true, None)
        }
        Expr::Binary(_, left, right) => match (shape(scope, left)?.0, shape(scope, right)?.0) {
            (SqlType::NVarChar(_), SqlType::NVarChar(_)) => (SqlType::NVarChar(4000), true, None),
            (SqlType::BigInt, _) | (_, SqlType::BigInt) => (SqlType::BigInt, true, None),
            _ => (SqlType::Int, true, None),
        },
        Expr::Negative(inner) => shape(scope, inner)?,
        Expr::Null
        | Expr::CountAll
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::In(..)
        | Expr::Like(..)
        | Expr::Exists(_) => (SqlType::Int, true, None),
    })
}
