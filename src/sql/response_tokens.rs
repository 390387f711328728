//! Follows the tokens of a response as they arrive, and refuses a response before the driver expands what costs too much
//! (MS-TDS 2.2.7). A NULL of one bit on the network is a value of many bytes in the driver.
//!
//! ```text
//! COLMETADATA  count (2), then for each column: user type (4), flags (2), type, length of the name (1), name
//! ROW          a value for each column
//! NBCROW       a bit for each column, then the values whose bit is 0
//! ```
//!
//! Only the tokens and types that an answer to the login or to a batch of the operator can contain are accepted. The driver does
//! not check the length of a sql_variant, and reads DONE by the version of the last LOGINACK: with these, the two would read
//! different tokens in the same bytes.

use crate::sql::response_defect::Defect;
use crate::sql::response_memory::{ROW, Reserved, VALUE};

/// The largest numbers in one response. A poll has 14 columns and 5 result sets. The memory bounds the rows.
pub const MAX_COLUMNS: usize = 64;
pub const MAX_RESULT_SETS: usize = 16;
/// The largest value in bytes. A name has at most 256.
pub const MAX_VALUE: usize = 1 << 16;

const MANY_COLUMNS: &str = "the response has more than 64 columns";
const MANY_RESULT_SETS: &str = "the response has more than 16 result sets";
const LONG_VALUE: &str = "a value of the response is more than 64 KiB long";
const UNEXPECTED_TOKEN: &str =
    "the response contains a token that neither a login nor a batch of the operator leads to";
const SECOND_LOGINACK: &str = "the response acknowledges the login twice";
const UNEXPECTED_TYPE: &str = "a column of the response has a type that no batch of the operator reads";

/// How the values of a column are written.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// A number of bytes.
    Fixed(usize),
    /// A length of one byte, or of two bytes with 0xFFFF for NULL.
    Byte,
    Short,
    /// A total of eight bytes, then chunks with a length of four bytes. Chunk 0 is the last.
    Chunks,
}

/// The next field with a meaning.
#[derive(Debug, Clone, Copy)]
enum Step {
    Token,
    /// The length of a token that is passed over, in this number of bytes.
    Length(usize),
    /// The length of LOGINACK (2), the interface (1) and the version of TDS (4).
    LoginAck,
    /// A feature of FEATUREEXTACK, or its end.
    Feature,
    FeatureLength,
    ColumnCount,
    Column,
    /// The parameters of a type, in bytes.
    TypeInfo(u8, usize),
    ColumnName,
    /// The NULL bits of a row, in bytes.
    NullBits(usize),
    /// The length of the value of this column.
    Value(usize),
    Chunk(usize),
}

impl Step {
    /// The length of the field in bytes, at least one.
    fn length(self, form: impl Fn(usize) -> Form) -> usize {
        match self {
            Step::Token | Step::Feature | Step::ColumnName => 1,
            Step::Length(bytes) | Step::TypeInfo(_, bytes) | Step::NullBits(bytes) => bytes,
            Step::FeatureLength | Step::Chunk(_) => 4,
            Step::ColumnCount => 2,
            Step::Column | Step::LoginAck => 7,
            Step::Value(column) => match form(column) {
                Form::Byte => 1,
                Form::Short => 2,
                Form::Fixed(_) | Form::Chunks => 8,
            },
        }
    }
}

/// What the response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Login,
    /// The same, after LOGINACK. A second one would change how the driver reads DONE.
    Acknowledged,
    /// LOGINACK has a version below 7.2, with another DONE. The session refuses this server after the login, and until then
    /// the driver keeps nothing.
    TooOld,
    Batch,
}

/// The state of one response.
#[derive(Debug)]
pub struct ResponseTokens {
    step: Step,
    phase: Phase,
    /// The bytes of the present field so far, and the bytes before it that have no meaning here.
    field: Vec<u8>,
    skip: usize,
    /// The columns of the present result set, and how many are still to come.
    columns: Vec<Form>,
    missing: usize,
    null_bits: Vec<u8>,
    /// The length of the present value in chunks.
    chunks: usize,
    result_sets: usize,
    /// None: a login, whose response has no rows.
    memory: Option<Reserved>,
}

impl ResponseTokens {
    pub fn of_login() -> Self {
        Self::new(Phase::Login, None)
    }

    pub fn of_batch(memory: Reserved) -> Self {
        Self::new(Phase::Batch, Some(memory))
    }

    /// The memory of the rows, to be kept as long as they are.
    pub fn take_memory(&mut self) -> Option<Reserved> {
        self.memory.take()
    }

    fn new(phase: Phase, memory: Option<Reserved>) -> Self {
        Self {
            step: Step::Token,
            phase,
            field: Vec::new(),
            skip: 0,
            columns: Vec::new(),
            missing: 0,
            null_bits: Vec::new(),
            chunks: 0,
            result_sets: 0,
            memory,
        }
    }

    /// Reads the next bytes of the payload.
    ///
    /// # Errors
    /// What is wrong with the response.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Defect> {
        while !bytes.is_empty() && self.phase != Phase::TooOld {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                break;
            }
            let length = self.step.length(|column| self.form(column));
            let (part, rest) = bytes.split_at(bytes.len().min(length - self.field.len()));
            self.field.extend_from_slice(part);
            bytes = rest;
            if self.field.len() == length {
                let field = std::mem::take(&mut self.field);
                self.step = self.next(&field)?;
            }
        }
        Ok(())
    }

    fn form(&self, column: usize) -> Form {
        self.columns.get(column).copied().unwrap_or(Form::Byte)
    }

    /// The step after this field.
    fn next(&mut self, field: &[u8]) -> Result<Step, Defect> {
        match self.step {
            Step::Token => self.token(field.first().copied().unwrap_or_default()),
            Step::Length(_) => {
                self.skip = number(field);
                Ok(Step::Token)
            }
            Step::LoginAck => self.login_ack(field),
            Step::Feature => Ok(if field == [0xff] { Step::Token } else { Step::FeatureLength }),
            Step::FeatureLength => {
                self.skip = number(field);
                Ok(Step::Feature)
            }
            Step::ColumnCount => self.result_set(number(field)),
            Step::Column => self.column(field.last().copied().unwrap_or_default()),
            Step::TypeInfo(kind, _) => {
                let form = match kind {
                    0xa5 | 0xa7 | 0xad | 0xaf | 0xe7 | 0xef if field.starts_with(&[0xff, 0xff]) => Form::Chunks,
                    0xa5 | 0xa7 | 0xad | 0xaf | 0xe7 | 0xef => Form::Short,
                    _ => Form::Byte,
                };
                self.columns.push(form);
                Ok(Step::ColumnName)
            }
            Step::ColumnName => {
                self.skip = 2 * number(field);
                self.missing = self.missing.saturating_sub(1);
                Ok(if self.missing == 0 { Step::Token } else { Step::Column })
            }
            Step::NullBits(_) => {
                self.null_bits = field.to_vec();
                Ok(self.value(0))
            }
            Step::Value(column) => self.value_length(column, field),
            Step::Chunk(column) => match number(field) {
                0 => Ok(self.value(column + 1)),
                length => {
                    self.chunks = self.chunks.saturating_add(length);
                    self.pass(self.chunks, length)?;
                    Ok(Step::Chunk(column))
                }
            },
        }
    }

    fn token(&mut self, token: u8) -> Result<Step, Defect> {
        let is_batch = self.phase == Phase::Batch;
        match token {
            // COLMETADATA
            0x81 if is_batch => Ok(Step::ColumnCount),
            // ROW, NBCROW
            0xd1 | 0xd2 if is_batch => {
                // A row without columns is an object of the driver too.
                self.pay(ROW + self.columns.len() * VALUE)?;
                self.null_bits.clear();
                let bits = self.columns.len().div_ceil(8);
                Ok(if token == 0xd2 && bits > 0 { Step::NullBits(bits) } else { self.value(0) })
            }
            // DONE, DONEPROC, DONEINPROC
            0xfd..=0xff => {
                self.skip = 12;
                Ok(Step::Token)
            }
            // RETURNSTATUS
            0x79 if is_batch => {
                self.skip = 4;
                Ok(Step::Token)
            }
            // ERROR, INFO, ENVCHANGE
            0xaa | 0xab | 0xe3 => Ok(Step::Length(2)),
            // ORDER
            0xa9 if is_batch => Ok(Step::Length(2)),
            // SSPI
            0xed if !is_batch => Ok(Step::Length(2)),
            // LOGINACK
            0xad if self.phase == Phase::Login => Ok(Step::LoginAck),
            0xad if self.phase == Phase::Acknowledged => Err(SECOND_LOGINACK.into()),
            // SESSIONSTATE, FEDAUTHINFO
            0xe4 | 0xee if !is_batch => Ok(Step::Length(4)),
            // FEATUREEXTACK
            0xae if !is_batch => Ok(Step::Feature),
            _ => Err(UNEXPECTED_TOKEN.into()),
        }
    }

    fn login_ack(&mut self, field: &[u8]) -> Result<Step, Defect> {
        let [low, high, _, major, ..] = *field else { return Err(UNEXPECTED_TOKEN.into()) };
        let rest = usize::from(u16::from_le_bytes([low, high])).checked_sub(5).ok_or(UNEXPECTED_TOKEN)?;
        self.phase = if major < 0x72 { Phase::TooOld } else { Phase::Acknowledged };
        self.skip = rest;
        Ok(Step::Token)
    }

    fn result_set(&mut self, count: usize) -> Result<Step, Defect> {
        /// A result set without metadata.
        const NO_METADATA: usize = 0xffff;
        self.result_sets += 1;
        self.columns.clear();
        self.missing = if count == NO_METADATA { 0 } else { count };
        match self.missing {
            _ if self.result_sets > MAX_RESULT_SETS => Err(MANY_RESULT_SETS.into()),
            0 => Ok(Step::Token),
            1..=MAX_COLUMNS => Ok(Step::Column),
            _ => Err(MANY_COLUMNS.into()),
        }
    }

    /// A column of this type.
    fn column(&mut self, kind: u8) -> Result<Step, Defect> {
        let fixed = match kind {
            // tinyint, bit, smallint, int, bigint
            0x30 | 0x32 => Some(1),
            0x34 => Some(2),
            0x38 => Some(4),
            0x7f => Some(8),
            _ => None,
        };
        if let Some(bytes) = fixed {
            self.columns.push(Form::Fixed(bytes));
            return Ok(Step::ColumnName);
        }
        Ok(match kind {
            // uniqueidentifier, integers, bit: the size
            0x24 | 0x26 | 0x68 => Step::TypeInfo(kind, 1),
            // varbinary, binary
            0xa5 | 0xad => Step::TypeInfo(kind, 2),
            // varchar, char, nvarchar, nchar: size, collation
            0xa7 | 0xaf | 0xe7 | 0xef => Step::TypeInfo(kind, 7),
            _ => return Err(UNEXPECTED_TYPE.into()),
        })
    }

    /// The next value from this column on that begins with a length.
    fn value(&mut self, from: usize) -> Step {
        for (column, form) in self.columns.iter().enumerate().skip(from) {
            let is_null = self.null_bits.get(column / 8).is_some_and(|bits| bits & (1 << (column % 8)) != 0);
            match form {
                _ if is_null => {}
                Form::Fixed(bytes) => {
                    self.skip += bytes;
                }
                Form::Byte | Form::Short | Form::Chunks => return Step::Value(column),
            }
        }
        Step::Token
    }

    fn value_length(&mut self, column: usize, field: &[u8]) -> Result<Step, Defect> {
        let is_null = field.len() > 1 && field.iter().all(|byte| *byte == 0xff);
        match self.form(column) {
            Form::Chunks if !is_null => {
                self.chunks = 0;
                return Ok(Step::Chunk(column));
            }
            Form::Fixed(_) | Form::Chunks => {}
            Form::Byte | Form::Short if is_null => {}
            Form::Byte | Form::Short => self.pass(number(field), number(field))?,
        }
        Ok(self.value(column + 1))
    }

    /// Passes over the bytes of a value with this total length.
    fn pass(&mut self, total: usize, bytes: usize) -> Result<(), Defect> {
        self.skip = bytes;
        if total > MAX_VALUE { Err(LONG_VALUE.into()) } else { self.pay(bytes) }
    }

    fn pay(&mut self, bytes: usize) -> Result<(), Defect> {
        self.memory.as_mut().map_or(Ok(()), |memory| memory.grow(bytes))
    }
}

/// A little-endian number.
fn number(field: &[u8]) -> usize {
    field.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

#[cfg(test)]
#[path = "response_tokens_tests.rs"]
mod tests;
