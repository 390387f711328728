//! Parses SELECT.

use super::parse::{Parsed, Parser};
use super::syntax::{Item, Join, Select, Source};
use super::token::Token;

/// Keywords that cannot be an alias without AS.
const RESERVED: [&str; 49] = [
    "from",
    "where",
    "order",
    "join",
    "inner",
    "left",
    "on",
    "and",
    "or",
    "if",
    "else",
    "begin",
    "end",
    "select",
    "set",
    "declare",
    "use",
    "alter",
    "exec",
    "execute",
    "print",
    "raiserror",
    "return",
    "waitfor",
    "commit",
    "rollback",
    "union",
    "group",
    "having",
    "when",
    "then",
    "case",
    "as",
    "with",
    "right",
    "full",
    "cross",
    "outer",
    "between",
    "grant",
    "create",
    "drop",
    "restore",
    "backup",
    "checkpoint",
    "except",
    "dbcc",
    "kill",
    "disable",
];

impl Parser {
    pub(super) fn select(&mut self) -> Parsed<Select> {
        self.expect_keyword("select")?;
        let mut select = Select {
            distinct: false,
            top: None,
            items: Vec::new(),
            from: None,
            filter: None,
            group: Vec::new(),
            order: Vec::new(),
        };
        select.distinct = self.eat_keyword("distinct");
        if self.eat_keyword("top") {
            let paren = self.eat("(");
            let Token::Int(top) = self.next_token() else { return self.syntax_error() };
            select.top = Some(top);
            if paren {
                self.expect(")")?;
            }
        }
        loop {
            select.items.push(self.item()?);
            if !self.eat(",") {
                break;
            }
        }
        if self.eat_keyword("from") {
            let first = self.source()?;
            let mut joins = Vec::new();
            loop {
                let left = self.eat_keyword("left");
                if left {
                    let _ = self.eat_keyword("outer");
                }
                if !left {
                    let _ = self.eat_keyword("inner");
                }
                if !self.eat_keyword("join") {
                    break;
                }
                let source = self.source()?;
                self.expect_keyword("on")?;
                joins.push(Join { left, source, on: self.expr()? });
            }
            select.from = Some((first, joins));
        }
        if self.eat_keyword("where") {
            select.filter = Some(self.expr()?);
        }
        if self.eat_keyword("group") {
            self.expect_keyword("by")?;
            loop {
                select.group.push(self.expr()?);
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.order(&mut select)?;
        Ok(select)
    }

    fn order(&mut self, select: &mut Select) -> Parsed<()> {
        if self.eat_keyword("order") {
            self.expect_keyword("by")?;
            loop {
                let key = self.expr()?;
                let descending = self.eat_keyword("desc");
                let _ = self.eat_keyword("asc");
                select.order.push((key, descending));
                if !self.eat(",") {
                    break;
                }
            }
        }
        Ok(())
    }

    fn item(&mut self) -> Parsed<Item> {
        if self.eat("*") {
            return Ok(Item::Star(None));
        }
        if let (Some(alias), [_, Token::Symbol("."), Token::Symbol("*"), ..]) =
            (self.peek_name(), self.tokens.get(self.at..).unwrap_or_default())
        {
            self.at += 3;
            return Ok(Item::Star(Some(self.collation.name(&alias))));
        }
        if let (Token::Var(name), Some(Token::Symbol("="))) = (self.peek().clone(), self.tokens.get(self.at + 1)) {
            self.at += 2;
            return Ok(Item::Assign(name, self.expr()?));
        }
        let expr = self.expr()?;
        let name = if self.eat_keyword("as") { Some(self.alias()?) } else { self.bare_alias() };
        Ok(Item::Value { expr, name })
    }

    fn peek_name(&self) -> Option<String> {
        match self.peek() {
            Token::Word(name) | Token::Name(name) => Some(name.clone()),
            _ => None,
        }
    }

    fn alias(&mut self) -> Parsed<String> {
        match self.next_token() {
            Token::Word(name) | Token::Name(name) | Token::Text(name) => Ok(name),
            other => Err(other.source_text()),
        }
    }

    fn bare_alias(&mut self) -> Option<String> {
        let alias = match self.peek() {
            Token::Word(word) if !RESERVED.contains(&word.to_lowercase().as_str()) => word.clone(),
            Token::Name(name) => name.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(alias)
    }

    fn source(&mut self) -> Parsed<Source> {
        let collation = self.collation;
        let mut view = collation.name(&self.name()?);
        while self.eat(".") {
            if !matches!(self.peek(), Token::Symbol(".")) {
                view = format!("{view}.{}", collation.name(&self.name()?));
            }
        }
        let view = view.strip_prefix("master.").unwrap_or(&view).to_owned();
        let alias = if self.eat_keyword("as") { Some(self.alias()?) } else { self.bare_alias() };
        // The hint does not avoid the wait for `lockCatalog`: that lock is incompatible with every reader.
        if self.eat_keyword("with") {
            self.expect("(")?;
            self.hint()?;
        } else if self.eat("(") {
            self.hint()?;
        }
        let last = view.rsplit('.').next().unwrap_or(&view).to_owned();
        Ok(Source { alias: collation.name(&alias.unwrap_or(last)), view })
    }

    fn hint(&mut self) -> Parsed<()> {
        if !self.eat_keyword("nolock") {
            self.expect_keyword("readuncommitted")?;
        }
        self.expect(")")
    }
}
