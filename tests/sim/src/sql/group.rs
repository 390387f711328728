//! GROUP BY: one row for each group of rows, with its aggregates.

use std::cmp::Ordering;

use super::engine::Engine;
use super::evaluate::{Scope, error, evaluate};
use super::query::{Rows, aggregate, bind_row, compare_keys, is_aggregate, order_key, row_scope};
use super::syntax::{Expr, Item, Select};
use super::values::{sort_order, unsupported};
use crate::value::{Column, Message, Value};

/// The rows of a SELECT with GROUP BY, sorted.
pub(super) fn grouped_rows<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &super::query::Sources,
    rows: Rows,
    columns: &[Column],
) -> Result<Vec<Vec<Value>>, Message> {
    let mut sorted = Vec::new();
    for group in groups(scope, select, sources, rows)? {
        let value = |expr: &Expr| grouped_value(scope, select, sources, &group, expr);
        let mut cells = Vec::new();
        for (item, column) in select.items.iter().zip(columns) {
            match item {
                Item::Value { expr, .. } => cells.push(super::values::cast(value(expr)?, column.ty)?),
                Item::Star(_) | Item::Assign(..) => return Err(unsupported("GROUP BY")),
            }
        }
        let keys: Result<Vec<Value>, Message> =
            select.order.iter().map(|(key, _)| value(order_key(select, key, scope.collation())?)).collect();
        sorted.push((keys?, cells));
    }
    sorted.sort_by(|(a, _), (b, _)| compare_keys(a, b, &select.order, scope.collation()));
    Ok(sorted.into_iter().map(|(_, cells)| cells).collect())
}

/// The rows of each group, in the order of their first rows.
fn groups<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &super::query::Sources,
    rows: Rows,
) -> Result<Vec<Rows>, Message> {
    let mut groups: Vec<(Vec<Value>, Rows)> = Vec::new();
    for row in rows {
        let bound = bind_row(sources, &row);
        let keys: Result<Vec<Value>, Message> =
            select.group.iter().map(|key| evaluate(&row_scope(scope, &bound), key)).collect();
        let keys = keys?;
        // NULL is equal to NULL here.
        let same = |other: &[Value]| {
            other.iter().zip(&keys).all(|(a, b)| sort_order(a, b, scope.collation()) == Ordering::Equal)
        };
        match groups.iter_mut().find(|(other, _)| same(other)) {
            Some((_, group)) => group.push(row),
            None => groups.push((keys, vec![row])),
        }
    }
    Ok(groups.into_iter().map(|(_, rows)| rows).collect())
}

fn grouped_value<E: Engine>(
    scope: &Scope<E>,
    select: &Select,
    sources: &super::query::Sources,
    group: &Rows,
    expr: &Expr,
) -> Result<Value, Message> {
    if is_aggregate(expr) {
        return aggregate(scope, sources, group, expr);
    }
    if !is_grouped(expr, &select.group) {
        let text = "Column is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.";
        return Err(error(8120, 16, text));
    }
    let first = group.first().ok_or_else(|| unsupported("GROUP BY"))?;
    evaluate(&row_scope(scope, &bind_row(sources, first)), expr)
}

/// Whether the value of an expression is the same for all rows of a group.
fn is_grouped(expr: &Expr, keys: &[Expr]) -> bool {
    let is_key = |key: &Expr| match (key, expr) {
        (Expr::Column { source: a, name: b }, Expr::Column { source: c, name: d }) => {
            b == d && (a.is_none() || c.is_none() || a == c)
        }
        _ => key == expr,
    };
    if keys.iter().any(is_key) {
        return true;
    }
    match expr {
        Expr::Text(_) | Expr::Int(_) | Expr::Bytes(_) | Expr::Null | Expr::Global(_) | Expr::Var(_) => true,
        Expr::Call(_, arguments) => arguments.iter().all(|argument| is_grouped(argument, keys)),
        Expr::Cast(inner, _) | Expr::Negative(inner) => is_grouped(inner, keys),
        Expr::Binary(_, left, right) => is_grouped(left, keys) && is_grouped(right, keys),
        _ => false,
    }
}
