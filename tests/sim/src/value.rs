//! The words that the T-SQL room and the TDS room share: values, columns, and the events of an answer.
//! No bytes and no clock live here.

/// A value of a cell or of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bit(bool),
    TinyInt(u8),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    NVarChar(String),
    Guid([u8; 16]),
    Numeric {
        value: i128,
        precision: u8,
        scale: u8,
    },
    /// Milliseconds since 1900-01-01 00:00.
    DateTime(i64),
    Binary(Vec<u8>),
    /// What `SERVERPROPERTY` returns before a CAST.
    Variant(Box<Value>),
}

/// The declared type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlType {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    /// Length in characters; 0 means `nvarchar(max)`.
    NVarChar(u16),
    Guid,
    Numeric {
        precision: u8,
        scale: u8,
    },
    DateTime,
    Binary(u16),
    Variant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub ty: SqlType,
    pub nullable: bool,
}

/// An ERROR or INFO token. Class 10 and below is INFO; 20 and above ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub number: u32,
    pub state: u8,
    pub class: u8,
    pub text: String,
    pub line: u32,
}

/// One piece of the answer to a batch, in the order in which it goes out.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Columns(Vec<Column>),
    Row(Vec<Value>),
    /// The end of one statement; `rows` is None when the statement counts nothing (or NOCOUNT is on).
    Done {
        rows: Option<u64>,
    },
    Message(Message),
    /// ENVCHANGE 1: the session moved to another database.
    Database {
        old: String,
        new: String,
    },
    /// The return status of a procedure.
    ReturnStatus(i32),
}

/// What a batch answers when it is asked to go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send these and ask again at once.
    Emit(Vec<Event>),
    /// Ask again when the world changed, or when the clock passes its `wake_at`.
    Wait,
    /// The batch is over: send these, then the final DONE.
    Finished(Vec<Event>),
    /// Send these (a class 20+ error, if any), then drop the connection.
    Disconnect(Vec<Event>),
}
