//! Parses statements. Module `expression` parses expressions, module `select` parses SELECT.

use super::collation::Collation;
use super::syntax::{Expr, SessionStatement, Statement};
use super::token::{Token, tokens};
use crate::value::SqlType;

/// The statements of a batch.
///
/// # Errors
/// The token at which parsing failed, or `procedure NAME` for an unknown procedure, and its line.
pub fn parse(text: &str, collation: Collation) -> Result<Vec<Statement>, (String, u32)> {
    let (tokens, lines) = tokens(text, collation).map_err(|near| (near, 1))?;
    let mut parser = Parser { collation, tokens, lines, depth: 0, operators: 0, at: 0 };
    let mut statements = Vec::new();
    while !parser.done() {
        let statement = parser.statement().map_err(|near| (near, parser.line()))?;
        statements.push(statement);
        while parser.eat(";") {}
    }
    Ok(statements)
}

pub(super) struct Parser {
    pub(super) collation: Collation,
    pub(super) tokens: Vec<Token>,
    lines: Vec<u32>,
    depth: usize,
    operators: usize,
    pub(super) at: usize,
}

pub(super) type Parsed<T> = Result<T, String>;

const MAX_DEPTH: usize = 60;
/// For a whole batch.
const MAX_OPERATORS: usize = 400;

/// SET options that drivers send and that have no effect in the simulation.
const OPTIONS: [&str; 17] = [
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
    "textsize",
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

    /// Parses a part that can contain itself. The limit keeps the recursion within the stack.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err("too many nested levels".to_owned());
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Counts an operator: a chain of operators is evaluated recursively.
    pub(super) fn count_operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS { Err("too many operators".to_owned()) } else { Ok(()) }
    }

    /// The line of the next token.
    fn line(&self) -> u32 {
        self.lines.get(self.at).or(self.lines.last()).copied().unwrap_or(1)
    }

    fn done(&mut self) -> bool {
        while self.eat(";") {}
        *self.peek() == Token::End
    }

    pub(super) fn next_token(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn syntax_error<T>(&self) -> Parsed<T> {
        Err(self.peek().source_text())
    }

    pub(super) fn is_keyword(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(text) if text.eq_ignore_ascii_case(word))
    }

    pub(super) fn eat_keyword(&mut self, word: &str) -> bool {
        let found = self.is_keyword(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_keyword(&mut self, word: &str) -> Parsed<()> {
        if self.eat_keyword(word) { Ok(()) } else { self.syntax_error() }
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(text) if *text == symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.eat(symbol) { Ok(()) } else { self.syntax_error() }
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        match self.peek().clone() {
            Token::Word(name) | Token::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.syntax_error(),
        }
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let line = self.line();
        Ok(Statement::At(line, Box::new(self.nested(Self::bare_statement)?)))
    }

    fn bare_statement(&mut self) -> Parsed<Statement> {
        let Token::Word(word) = self.peek().clone() else { return self.syntax_error() };
        let start = self.at;
        self.at += 1;
        match word.to_lowercase().as_str() {
            "set" => self.set(),
            "declare" => self.declare(),
            "use" => Ok(SessionStatement::Use(self.name()?).into()),
            "select" => {
                self.at = start;
                Ok(Statement::Select(self.select()?))
            }
            "if" => {
                let condition = self.expr()?;
                let then = self.body()?;
                let otherwise = if self.eat_keyword("else") { Some(Box::new(self.body()?)) } else { None };
                Ok(Statement::If(condition, Box::new(then), otherwise))
            }
            "begin" if self.eat_keyword("tran") || self.eat_keyword("transaction") => {
                Ok(SessionStatement::Transaction(1).into())
            }
            "begin" => self.block(),
            "commit" | "rollback" => {
                let _ = self.eat_keyword("tran") || self.eat_keyword("transaction") || self.eat_keyword("work");
                Ok(SessionStatement::Transaction(if word.eq_ignore_ascii_case("commit") { -1 } else { 0 }).into())
            }
            "print" => Ok(Statement::Print(self.expr()?)),
            "raiserror" => self.raise(),
            "return" => Ok(Statement::Return),
            "waitfor" => {
                self.expect_keyword("delay")?;
                Ok(Statement::Delay(self.expr()?))
            }
            "exec" | "execute" => self.execute(),
            "create" => self.create(),
            "drop" => self.drop_login(),
            "grant" => self.grant(),
            "restore" => self.restore(),
            "backup" => self.backup(),
            "checkpoint" => Ok(SessionStatement::Checkpoint.into()),
            "dbcc" => self.dbcc(),
            "kill" => self.kill(),
            "disable" => self.disable_trigger(),
            "alter" => self.alter(),
            _ => {
                self.at = start;
                self.syntax_error()
            }
        }
    }

    fn block(&mut self) -> Parsed<Statement> {
        let mut all = Vec::new();
        while !self.eat_keyword("end") {
            if self.done() {
                return self.syntax_error();
            }
            if self.is_keyword("end") {
                continue;
            }
            all.push(self.statement()?);
        }
        Ok(Statement::Block(all))
    }

    fn execute(&mut self) -> Parsed<Statement> {
        let mut name = self.name()?;
        while self.eat(".") {
            if !matches!(self.peek(), Token::Symbol(".")) {
                name = self.name()?;
            }
        }
        match self.collation.name(&name).as_str() {
            "sp_executesql" => Ok(Statement::Execute(self.expr()?)),
            "sp_addsrvrolemember" => self.server_role_procedure(true),
            "sp_dropsrvrolemember" => self.server_role_procedure(false),
            "sp_readerrorlog" => self.error_log_procedure(),
            _ => Err(format!("procedure {name}")),
        }
    }

    /// The statement of an IF. A semicolon can separate the statement from ELSE.
    fn body(&mut self) -> Parsed<Statement> {
        let statement = self.statement()?;
        let end = self.at;
        while self.eat(";") {}
        if !self.is_keyword("else") {
            self.at = end;
        }
        Ok(statement)
    }

    fn set(&mut self) -> Parsed<Statement> {
        if let Token::Var(name) = self.peek().clone() {
            self.at += 1;
            self.expect("=")?;
            return Ok(Statement::Assign(name, self.expr()?));
        }
        if self.eat_keyword("transaction") {
            self.expect_keyword("isolation")?;
            self.expect_keyword("level")?;
            let _ = self.name()?;
            let _ = self.eat_keyword("committed") || self.eat_keyword("uncommitted") || self.eat_keyword("read");
            return Ok(Statement::Option);
        }
        if self.eat_keyword("lock_timeout") {
            let negative = self.eat("-");
            let period = match self.next_token() {
                Token::Int(period) => Expr::Int(if negative { -period } else { period }),
                Token::Var(name) if !negative => Expr::Var(name),
                other => return Err(other.source_text()),
            };
            return Ok(SessionStatement::LockTimeout(period).into());
        }
        let mut all = Vec::new();
        loop {
            all.push(self.name()?.to_lowercase());
            if !self.eat(",") {
                break;
            }
        }
        let _ = self.eat("-");
        let on = self.is_keyword("on");
        let value = self.next_token();
        match value {
            Token::Word(_) | Token::Int(_) | Token::Var(_) => {}
            other => return Err(other.source_text()),
        }
        if let [option] = all.as_slice() {
            match (option.as_str(), &value) {
                ("nocount", Token::Word(_)) => return Ok(SessionStatement::NoCount(on).into()),
                ("implicit_transactions", Token::Word(_)) => {
                    return Ok(SessionStatement::ImplicitTransactions(on).into());
                }
                // Other values change the results, which is not implemented.
                ("rowcount", Token::Int(0)) => return Ok(Statement::Option),
                ("fmtonly", Token::Word(word)) if word.eq_ignore_ascii_case("off") => return Ok(Statement::Option),
                _ => {}
            }
        }
        match all.into_iter().find(|option| !OPTIONS.contains(&option.as_str())) {
            Some(option) => Err(option),
            None => Ok(Statement::Option),
        }
    }

    fn declare(&mut self) -> Parsed<Statement> {
        let mut all = Vec::new();
        loop {
            let Token::Var(name) = self.next_token() else { return self.syntax_error() };
            let _ = self.eat_keyword("as");
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
                match self.next_token() {
                    Token::Int(size) => sizes.push(u16::try_from(size).map_err(|_| size.to_string())?),
                    Token::Word(max) if max.eq_ignore_ascii_case("max") => sizes.push(0),
                    other => return Err(other.source_text()),
                }
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        let size = sizes.first().copied();
        Ok(match name.as_str() {
            "bit" => SqlType::Bit,
            "tinyint" => SqlType::TinyInt,
            "smallint" => SqlType::SmallInt,
            "int" | "integer" => SqlType::Int,
            "bigint" => SqlType::BigInt,
            "nvarchar" | "varchar" | "nchar" => SqlType::NVarChar(size.unwrap_or(30)),
            "char" if size.unwrap_or(30) <= 8000 => SqlType::Char(size.unwrap_or(30)),
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
        self.expect("(")?;
        let text = self.expr()?;
        self.expect(",")?;
        let severity = self.expr()?;
        self.expect(",")?;
        let state = self.expr()?;
        let mut arguments = Vec::new();
        while self.eat(",") {
            arguments.push(self.expr()?);
        }
        self.expect(")")?;
        if self.eat_keyword("with") {
            self.expect_keyword("nowait")?;
        }
        Ok(Statement::Raise { text, severity, state, arguments })
    }

    fn alter(&mut self) -> Parsed<Statement> {
        if self.eat_keyword("login") {
            return self.alter_login();
        }
        if self.eat_keyword("server") {
            return self.alter_server_role();
        }
        if self.eat_keyword("authorization") {
            return self.alter_authorization();
        }
        if self.eat_keyword("endpoint") {
            return self.alter_endpoint();
        }
        self.expect_keyword("database")?;
        self.alter_database()
    }
}
