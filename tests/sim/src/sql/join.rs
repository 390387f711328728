//! Joins. An equality of two columns uses a hash table, so that the work grows with the number of rows.

use std::collections::HashMap;

use super::collation::Collation;
use super::engine::{Engine, Table};
use super::evaluate::{Scope, error, evaluate_condition};
use super::query::{Rows, Sources, bind_row, row_scope};
use super::syntax::{Expr, Join, Op, Select, Source};
use super::types::{Key, have_keys, key};
use crate::value::{Message, Value};

/// The sources of a SELECT and their joined rows.
///
/// # Errors
/// 208 for an unknown object, or the error of an expression.
pub fn read_sources<'a, E: Engine>(scope: &Scope<E>, select: &'a Select) -> Result<(Sources<'a>, Rows), Message> {
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
        if sources.iter().any(|(alias, _)| *alias == join.source.alias) {
            let text = format!(
                "The objects \"{0}\" and \"{0}\" in the FROM clause have the same exposed names.",
                join.source.alias
            );
            return Err(error(1013, 16, text));
        }
        sources.push((join.source.alias.as_str(), table));
        rows = join_rows(scope, join, &sources, rows)?;
    }
    Ok((sources, rows))
}

fn join_rows<E: Engine>(scope: &Scope<E>, join: &Join, sources: &Sources, rows: Rows) -> Result<Rows, Message> {
    let right = &sources[sources.len() - 1].1;
    let blank = vec![Value::Null; right.columns.len()];
    let index = lookup(join, sources, scope.collation());
    let mut joined = Vec::new();
    for left in rows {
        let candidates: Vec<usize> = match &index {
            None => (0..right.rows.len()).collect(),
            Some(index) => key(&left[index.source][index.column], scope.collation())
                .and_then(|key| index.rows.get(&key))
                .cloned()
                .unwrap_or_default(),
        };
        let mut matched = false;
        for at in candidates {
            scope.comparisons.set(scope.comparisons.get() + 1);
            let mut row = left.clone();
            row.push(right.rows[at].clone());
            if evaluate_condition(&row_scope(scope, &bind_row(sources, &row)), &join.on)? == Some(true) {
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
    Ok(joined)
}

/// The rows of the last source by the value of one column, and the column of an earlier source that must be equal.
struct Lookup {
    source: usize,
    column: usize,
    rows: HashMap<Key, Vec<usize>>,
}

fn lookup(join: &Join, sources: &Sources, collation: Collation) -> Option<Lookup> {
    let last = sources.len() - 1;
    let (left, right) = equalities(&join.on).into_iter().find_map(|(a, b)| {
        let (a, b) = (locate(a, sources)?, locate(b, sources)?);
        let (left, right) = if b.0 == last { (a, b) } else { (b, a) };
        let ty = |(source, column): (usize, usize)| sources[source].1.columns[column].ty;
        (left.0 < last && right.0 == last && have_keys(ty(left), ty(right))).then_some((left, right))
    })?;
    let mut rows: HashMap<Key, Vec<usize>> = HashMap::new();
    for (at, row) in sources[last].1.rows.iter().enumerate() {
        if let Some(key) = key(&row[right.1], collation) {
            rows.entry(key).or_default().push(at);
        }
    }
    Some(Lookup { source: left.0, column: left.1, rows })
}

/// The equalities of a condition that every row must satisfy.
fn equalities(on: &Expr) -> Vec<(&Expr, &Expr)> {
    match on {
        Expr::Binary(Op::Equal, a, b) => vec![(a, b)],
        Expr::Binary(Op::And, a, b) => [equalities(a), equalities(b)].concat(),
        _ => Vec::new(),
    }
}

/// The source and the position of a column that exists exactly once.
fn locate(expr: &Expr, sources: &Sources) -> Option<(usize, usize)> {
    let Expr::Column { source, name } = expr else { return None };
    let mut found = sources.iter().enumerate().filter_map(|(at, (alias, table)): (usize, &(&str, Table))| {
        let named = source.as_ref().is_none_or(|source| source == alias);
        let column = table.columns.iter().position(|column| column.name == *name)?;
        named.then_some((at, column))
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
