//! Tokens -> statements. Expressions are parsed in `expression`.

use super::engine::PartnerAction;
use super::syntax::Statement;
use super::token::{Token, tokens};
use crate::value::SqlType;

/// # Errors
/// What is near the mistake.
pub fn parse(text: &str) -> Result<Vec<Statement>, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut all = Vec::new();
    while !parser.done() {
        all.push(parser.statement()?);
        while parser.eat(";") {}
    }
    Ok(all)
}

pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
}

pub(super) type Parsed<T> = Result<T, String>;

/// Options of SET that drivers send and that change nothing here.
const OPTIONS: [&str; 19] = [
    "ansi_nulls",
    "ansi_padding",
    "ansi_warnings",
    "ansi_null_dflt_on",
    "ansi_defaults",
    "quoted_identifier",
    "concat_null_yields_null",
    "arithabort",
    "numeric_roundabort",
    "cursor_close_on_commit",
    "implicit_transactions",
    "textsize",
    "lock_timeout",
    "deadlock_priority",
    "xact_abort",
    "dateformat",
    "datefirst",
    "language",
    "no_browsetable",
];

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn done(&mut self) -> bool {
        while self.eat(";") {}
        *self.peek() == Token::End
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn near<T>(&self) -> Parsed<T> {
        Err(self.peek().words())
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(text) if text.eq_ignore_ascii_case(word))
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn need_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { self.near() }
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(text) if *text == symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn need(&mut self, symbol: &str) -> Parsed<()> {
        if self.eat(symbol) { Ok(()) } else { self.near() }
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        match self.peek().clone() {
            Token::Word(name) | Token::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.near(),
        }
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let Token::Word(word) = self.peek().clone() else { return self.near() };
        let from = self.at;
        self.at += 1;
        match word.to_lowercase().as_str() {
            "set" => self.set(),
            "declare" => self.declare(),
            "use" => Ok(Statement::Use(self.name()?)),
            "select" => {
                self.at = from;
                Ok(Statement::Select(self.select()?))
            }
            "if" => {
                let condition = self.expr()?;
                let then = self.body()?;
                let otherwise = if self.word("else") { Some(Box::new(self.body()?)) } else { None };
                Ok(Statement::If(condition, Box::new(then), otherwise))
            }
            "begin" if self.word("tran") || self.word("transaction") => Ok(Statement::Transaction(1)),
            "begin" => {
                let mut all = Vec::new();
                while !self.word("end") {
                    if self.done() {
                        return self.near();
                    }
                    if self.is_word("end") {
                        continue;
                    }
                    all.push(self.statement()?);
                }
                Ok(Statement::Block(all))
            }
            "commit" | "rollback" => {
                let _ = self.word("tran") || self.word("transaction") || self.word("work");
                Ok(Statement::Transaction(if word.eq_ignore_ascii_case("commit") { -1 } else { 0 }))
            }
            "print" => Ok(Statement::Print(self.expr()?)),
            "raiserror" => self.raise(),
            "return" => Ok(Statement::Return),
            "waitfor" => {
                self.need_word("delay")?;
                Ok(Statement::Delay(self.expr()?))
            }
            "exec" | "execute" => {
                let name = self.name()?;
                if !name.eq_ignore_ascii_case("sp_executesql") {
                    return Err(format!("procedure {name}"));
                }
                Ok(Statement::Execute(self.expr()?))
            }
            "alter" => self.alter(),
            _ => {
                self.at = from;
                self.near()
            }
        }
    }

    /// The statement of an IF; a semicolon may follow it before ELSE.
    fn body(&mut self) -> Parsed<Statement> {
        let statement = self.statement()?;
        let mark = self.at;
        while self.eat(";") {}
        if !self.is_word("else") {
            self.at = mark;
        }
        Ok(statement)
    }

    fn set(&mut self) -> Parsed<Statement> {
        if let Token::Var(name) = self.peek().clone() {
            self.at += 1;
            self.need("=")?;
            return Ok(Statement::Assign(name, self.expr()?));
        }
        if self.word("transaction") {
            self.need_word("isolation")?;
            self.need_word("level")?;
            let _ = self.name()?;
            let _ = self.word("committed") || self.word("uncommitted") || self.word("read");
            return Ok(Statement::Option);
        }
        let mut no_count = false;
        loop {
            let option = self.name()?.to_lowercase();
            no_count |= option == "nocount";
            if option != "nocount" && option != "fmtonly" && option != "rowcount" && !OPTIONS.contains(&option.as_str())
            {
                return Err(option);
            }
            if !self.eat(",") {
                break;
            }
        }
        let _ = self.eat("-");
        let on = self.is_word("on");
        match self.take() {
            Token::Word(_) | Token::Int(_) | Token::Var(_) => {}
            other => return Err(other.words()),
        }
        Ok(if no_count { Statement::NoCount(on) } else { Statement::Option })
    }

    fn declare(&mut self) -> Parsed<Statement> {
        let mut all = Vec::new();
        loop {
            let Token::Var(name) = self.take() else { return self.near() };
            let _ = self.word("as");
            let ty = self.sql_type()?;
            let value = if self.eat("=") { Some(self.expr()?) } else { None };
            all.push((name, ty, value));
            if !self.eat(",") {
                return Ok(Statement::Declare(all));
            }
        }
    }

    pub(super) fn sql_type(&mut self) -> Parsed<SqlType> {
        let name = self.name()?.to_lowercase();
        let mut sizes = Vec::new();
        if self.eat("(") {
            loop {
                match self.take() {
                    Token::Int(size) => sizes.push(u16::try_from(size).map_err(|_| size.to_string())?),
                    Token::Word(max) if max.eq_ignore_ascii_case("max") => sizes.push(0),
                    other => return Err(other.words()),
                }
                if !self.eat(",") {
                    break;
                }
            }
            self.need(")")?;
        }
        let size = sizes.first().copied();
        Ok(match name.as_str() {
            "bit" => SqlType::Bit,
            "tinyint" => SqlType::TinyInt,
            "smallint" => SqlType::SmallInt,
            "int" | "integer" => SqlType::Int,
            "bigint" => SqlType::BigInt,
            "nvarchar" | "varchar" | "nchar" | "char" => SqlType::NVarChar(size.unwrap_or(30)),
            "sysname" => SqlType::NVarChar(128),
            "uniqueidentifier" => SqlType::Guid,
            "numeric" | "decimal" => {
                let digit =
                    |at: usize, other: u8| sizes.get(at).and_then(|size| u8::try_from(*size).ok()).unwrap_or(other);
                SqlType::Numeric { precision: digit(0, 18), scale: digit(1, 0) }
            }
            "datetime" => SqlType::DateTime,
            "varbinary" | "binary" => SqlType::Binary(size.unwrap_or(30)),
            "sql_variant" => SqlType::Variant,
            _ => return Err(name),
        })
    }

    fn raise(&mut self) -> Parsed<Statement> {
        self.need("(")?;
        let text = self.expr()?;
        self.need(",")?;
        let severity = self.expr()?;
        self.need(",")?;
        let state = self.expr()?;
        let mut arguments = Vec::new();
        while self.eat(",") {
            arguments.push(self.expr()?);
        }
        self.need(")")?;
        if self.word("with") {
            self.need_word("nowait")?;
        }
        Ok(Statement::Raise { text, severity, state, arguments })
    }

    fn alter(&mut self) -> Parsed<Statement> {
        self.need_word("database")?;
        let database = self.name()?;
        self.need_word("set")?;
        let action = if self.word("witness") {
            self.need_word("off")?;
            PartnerAction::WitnessOff
        } else {
            self.need_word("partner")?;
            match self.name()?.to_lowercase().as_str() {
                "failover" => PartnerAction::Failover,
                "force_service_allow_data_loss" => PartnerAction::ForceService,
                "suspend" => PartnerAction::Suspend,
                "resume" => PartnerAction::Resume,
                "off" => PartnerAction::Off,
                "safety" if self.word("full") => PartnerAction::SafetyFull,
                "safety" if self.word("off") => PartnerAction::SafetyOff,
                other => return Err(other.to_owned()),
            }
        };
        Ok(Statement::Alter { database, action })
    }
}
