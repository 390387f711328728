//! RAISERROR.

use super::batch::{Batch, single};
use super::engine::Engine;
use super::syntax::Expr;
use super::values::{as_integer, as_text};
use crate::value::{Message, Value};

impl Batch {
    /// RAISERROR with its text, severity and state: always an error, 50000 unless an argument cannot be evaluated.
    pub(super) fn raise<E: Engine>(
        &self,
        engine: &E,
        session: u64,
        [text, severity, state]: [&Expr; 3],
        arguments: &[Expr],
    ) -> Vec<Message> {
        let small = |expr: &Expr, default: u8| {
            let number = as_integer(&self.evaluate(engine, session, expr)?);
            Ok(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(default))
        };
        let message = || -> Result<Message, Message> {
            let format = self.evaluate_text(engine, session, text)?;
            let (class, state) = (small(severity, 16)?, small(state, 1)?);
            let values: Result<Vec<Value>, Message> =
                arguments.iter().map(|argument| self.evaluate(engine, session, argument)).collect();
            Ok(Message { number: 50000, state, class, text: substitute(&format, &values?), line: 1 })
        };
        single(message().unwrap_or_else(|error| error))
    }
}

/// Replaces the placeholders of RAISERROR (`%s`, `%d`, `%i`, `%u`) by the values.
fn substitute(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d' | 'i' | 'u' | 's') => {
                out.push_str(&values.next().and_then(as_text).unwrap_or_else(|| "(null)".to_owned()))
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}
