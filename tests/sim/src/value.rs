//! The types that modules `sql` and `wire` share: values, columns and the events of a response.

/// A value of a cell or of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bit(bool),
    TinyInt(u8),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    Real(f32),
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
    /// SQL_VARIANT, the type of `SERVERPROPERTY`.
    Variant(Box<Value>),
}

/// A parameter of a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Empty for a parameter by position.
    pub name: String,
    pub value: Value,
    /// The client sent a varchar. The value is the text of its bytes.
    pub is_varchar: bool,
}

/// The declared type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlType {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Real,
    /// Length in characters; 0 means `nvarchar(max)`.
    NVarChar(u16),
    /// `varchar(n)` of code page 1252; 0 means `varchar(max)`.
    VarChar(u16),
    /// `char(n)` of code page 1252.
    Char(u16),
    Guid,
    Numeric {
        precision: u8,
        scale: u8,
    },
    DateTime,
    Binary(u16),
    Variant,
}

/// A column of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub ty: SqlType,
    pub nullable: bool,
}

/// An ERROR or INFO token. Up to class 10 the message is INFO; from class 20 on the connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub number: u32,
    pub state: u8,
    pub class: u8,
    pub text: String,
    pub line: u32,
}

/// One part of the response to a batch, in the order of the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Columns(Vec<Column>),
    Row(Vec<Value>),
    /// The end of one statement. `rows` is `None` if the statement has no row count or NOCOUNT is on.
    Done {
        rows: Option<u64>,
    },
    Message(Message),
    /// ENVCHANGE 1: the current database has changed.
    Database {
        old: String,
        new: String,
    },
    /// The return status of a procedure.
    ReturnStatus(i32),
}

/// The result of one step of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send these events and call `step` again.
    Emit(Vec<Event>),
    /// Call `step` again after a change of the world, or at its `wake_at`.
    Wait,
    /// The batch has ended: send these events, then the final DONE.
    Finished(Vec<Event>),
    /// Send these events, then close the connection.
    Disconnect(Vec<Event>),
}
