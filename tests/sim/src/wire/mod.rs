//! The TDS protocol: packets, request messages, response tokens, TLS inside packets.

pub mod answer;
pub mod bytes;
mod code_page;
pub mod login7;
pub mod packet;
pub mod param;
pub mod prelogin;
pub mod request;
pub mod rpc;
pub mod stream;
pub mod tls;
pub mod tokens;
pub mod types;

use thiserror::Error;

/// A protocol error, which ends the connection.
#[derive(Debug, Error)]
pub enum WireError {
    #[error("malformed {0}")]
    Malformed(&'static str),
    #[error("message of type {kind:#04x} is larger than {limit} bytes")]
    TooLarge { kind: u8, limit: usize },
    #[error("message of type {0:#04x} is not expected here")]
    Unexpected(u8),
    #[error("TDS version {0:#010x} is older than 7.2")]
    Version(u32),
    #[error("parameter of type {0:#04x} is not supported")]
    ParameterType(u8),
    #[error("value {value} does not fit column {column:?}")]
    Misfit { value: String, column: String },
    #[error("TLS: {0}")]
    Tls(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The TDS version of a session. It decides about NBCROW and FEATUREEXTACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TdsVersion {
    V7_2,
    V7_3A,
    V7_3B,
    V7_4,
}

impl TdsVersion {
    /// The version of a session between a server of this major version and a client that requests `wanted`.
    ///
    /// # Errors
    /// A client version before 7.2.
    pub fn agree(server_major: u8, wanted: u32) -> Result<Self, WireError> {
        let client = match wanted {
            0x7400_0000.. => Self::V7_4,
            0x730B_0000.. => Self::V7_3B,
            0x730A_0000.. => Self::V7_3A,
            0x7200_0000.. => Self::V7_2,
            older => return Err(WireError::Version(older)),
        };
        let server = match server_major {
            ..=9 => Self::V7_2,
            10 => Self::V7_3B,
            _ => Self::V7_4,
        };
        Ok(client.min(server))
    }

    /// The version number in LOGINACK.
    pub fn code(self) -> u32 {
        match self {
            Self::V7_2 => 0x7209_0002,
            Self::V7_3A => 0x730A_0003,
            Self::V7_3B => 0x730B_0003,
            Self::V7_4 => 0x7400_0004,
        }
    }
}
