//! `explain`: the page of a reason, without a network.

use clap::Args;
use strum::IntoEnumIterator;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::verbs::reason_pages::page;
use crate::model::Reason;

#[derive(Debug, Args)]
pub struct Explain {
    /// A reason of a condition or an event, e.g. UnexpectedPrincipal. Without one: the list of all.
    #[arg(value_name = "REASON", value_parser = reason)]
    reason: Option<Reason>,
}

impl Explain {
    pub fn run(self) -> Result<Exit, Error> {
        let text = match self.reason {
            Some(reason) => page(reason).to_owned(),
            None => Reason::iter().map(|reason| format!("{reason}\n")).collect(),
        };
        output::print(&text)?;
        Ok(Exit::AsWanted)
    }
}

fn reason(text: &str) -> Result<Reason, String> {
    let found = Reason::iter().find(|reason| reason.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "there is no such reason; `explain` without a reason lists all".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_each_reason_is_its_own() {
        for reason in Reason::iter() {
            assert!(page(reason).starts_with(&format!("# {reason}\n")), "{reason}");
        }
        assert_eq!(reason("unexpectedprincipal"), Ok(Reason::UnexpectedPrincipal));
        assert!(reason("Fine").is_err());
    }
}
