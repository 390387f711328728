//! The syntax tree of the T-SQL subset.

use super::administration::Administration;
use super::engine::{PartnerAction, Report};
use crate::value::SqlType;

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Null,
    Text(String),
    Int(i64),
    /// A literal such as 0x01.
    Bytes(Vec<u8>),
    /// `@name`, in lower case without the sign.
    Var(String),
    /// `@@NAME`, in lower case without the signs.
    Global(String),
    Column {
        source: Option<String>,
        name: String,
    },
    Negative(Box<Expr>),
    Not(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    InSelect(Box<Expr>, Box<Select>),
    Like(Box<Expr>, Box<Expr>),
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    Cast(Box<Expr>, SqlType),
    Call(String, Vec<Expr>),
    Exists(Box<Select>),
    CountAll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `*`, or `alias.*`.
    Star(Option<String>),
    Value {
        expr: Expr,
        name: Option<String>,
    },
    Assign(String, Expr),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub view: String,
    pub alias: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    pub left: bool,
    pub source: Source,
    pub on: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    pub distinct: bool,
    pub top: Option<i64>,
    pub items: Vec<Item>,
    pub from: Option<(Source, Vec<Join>)>,
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group: Vec<Expr>,
    /// Sort keys; `true` is descending.
    pub order: Vec<(Expr, bool)>,
}

impl Select {
    /// The views of the FROM clause.
    pub fn views(&self) -> Vec<&str> {
        let sources = self
            .from
            .iter()
            .flat_map(|(first, joins)| std::iter::once(first).chain(joins.iter().map(|join| &join.source)));
        sources.map(|source| source.view.as_str()).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// A statement and its line.
    At(u32, Box<Statement>),
    /// A SET option without effect.
    Option,
    Session(SessionStatement),
    Declare(Vec<(String, SqlType, Option<Expr>)>),
    Assign(String, Expr),
    Select(Select),
    If(Expr, Box<Statement>, Option<Box<Statement>>),
    Block(Vec<Statement>),
    Print(Expr),
    Raise {
        text: Expr,
        severity: Expr,
        state: Expr,
        arguments: Vec<Expr>,
    },
    Return,
    Delay(Expr),
    Execute(Expr),
    Alter {
        database: String,
        action: PartnerAction,
    },
}

/// A statement that only the engine executes.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionStatement {
    NoCount(bool),
    ImplicitTransactions(bool),
    LockTimeout(Expr),
    Use(String),
    /// +1 begin, -1 commit, 0 rollback.
    Transaction(i32),
    Administer(Administration),
    Checkpoint,
    /// A procedure or a DBCC command with a result set.
    Report(Report),
}

impl From<SessionStatement> for Statement {
    fn from(statement: SessionStatement) -> Statement {
        Statement::Session(statement)
    }
}
