//! PRELOGIN messages (MS-TDS 2.2.6.5) and the packet header (MS-TDS 2.2.3.1) as bytes.

/// Packet types (MS-TDS 2.2.3.1.1).
pub const TABULAR: u8 = 0x04;
pub const PRELOGIN: u8 = 0x12;
pub const HEADER: usize = 8;
const END_OF_MESSAGE: u8 = 0x01;
const LARGEST: usize = 4096;

const VERSION: u8 = 0x00;
const ENCRYPTION: u8 = 0x01;
const INSTOPT: u8 = 0x02;
const THREADID: u8 = 0x03;
const MARS: u8 = 0x04;
const TERMINATOR: u8 = 0xff;

const ENCRYPT_OFF: u8 = 0;
const ENCRYPT_ON: u8 = 1;
const ENCRYPT_NOT_SUP: u8 = 2;
const ENCRYPT_REQ: u8 = 3;

/// The encryption that the server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    Full,
    LoginOnly,
    NotSupported,
}

/// The options of the server's PRELOGIN that the client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub encryption: Encryption,
    /// False if the port belongs to an instance other than the requested one.
    pub instance: bool,
}

/// The client's PRELOGIN payload, with full encryption or none. The server checks `instance`; empty means any.
pub fn request(instance: &str, encrypt: bool) -> Vec<u8> {
    let mut name: Vec<u8> = instance.bytes().filter(|byte| *byte != 0).take(255).collect();
    name.push(0);
    let encryption = if encrypt { ENCRYPT_ON } else { ENCRYPT_NOT_SUP };
    options(&[(VERSION, &[0; 6]), (ENCRYPTION, &[encryption]), (INSTOPT, &name), (THREADID, &[0; 4]), (MARS, &[0])])
}

/// A server's PRELOGIN for a client that is to add no encryption of its own. Its THREADID stays empty, as a server's
/// is.
pub fn reply_without_encryption() -> Vec<u8> {
    let version = [11, 0, 0, 0, 0, 0];
    options(&[(VERSION, &version), (ENCRYPTION, &[ENCRYPT_NOT_SUP]), (INSTOPT, &[0]), (THREADID, &[]), (MARS, &[0])])
}

fn options(options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut values = Vec::new();
    let start = options.len() * 5 + 1;
    for (token, value) in options {
        table.push(*token);
        table.extend_from_slice(&short(start + values.len()));
        table.extend_from_slice(&short(value.len()));
        values.extend_from_slice(value);
    }
    table.push(TERMINATOR);
    table.extend_from_slice(&values);
    table
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes()
}

/// Parses the payload of the server's PRELOGIN. Unknown options are skipped (MS-TDS 2.2.6.5).
///
/// # Errors
/// The defect of the payload, as part of a sentence.
pub fn parse(payload: &[u8]) -> Result<Reply, &'static str> {
    let mut encryption = None;
    let mut instance = true;
    let mut rest = payload;
    loop {
        match rest {
            [TERMINATOR, ..] => break,
            [token, o1, o2, l1, l2, tail @ ..] => {
                let offset = usize::from(u16::from_be_bytes([*o1, *o2]));
                let length = usize::from(u16::from_be_bytes([*l1, *l2]));
                let value = payload.get(offset..offset + length).ok_or("a prelogin option lies outside the message")?;
                match (*token, value) {
                    (ENCRYPTION, [ENCRYPT_ON | ENCRYPT_REQ]) => encryption = Some(Encryption::Full),
                    (ENCRYPTION, [ENCRYPT_OFF]) => encryption = Some(Encryption::LoginOnly),
                    (ENCRYPTION, [ENCRYPT_NOT_SUP]) => encryption = Some(Encryption::NotSupported),
                    (ENCRYPTION, _) => return Err("the prelogin has an unknown encryption option"),
                    (INSTOPT, [first, ..]) => instance = *first == 0,
                    _ => {}
                }
                rest = tail;
            }
            _ => return Err("the prelogin has no terminator"),
        }
    }
    let encryption = encryption.ok_or("the prelogin has no encryption option")?;
    Ok(Reply { encryption, instance })
}

/// Splits `payload` into the packets of one message of type `kind`.
pub fn packets(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + HEADER);
    let mut chunks = payload.chunks(LARGEST - HEADER).peekable();
    let mut number = 1_u8;
    while let Some(chunk) = chunks.next() {
        let status = if chunks.peek().is_none() { END_OF_MESSAGE } else { 0 };
        let [high, low] = short(chunk.len() + HEADER);
        message.extend_from_slice(&[kind, status, high, low, 0, 0, number, 0]);
        message.extend_from_slice(chunk);
        number = number.wrapping_add(1);
    }
    message
}

/// A packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub last: bool,
    /// The length of the payload, in bytes.
    pub length: usize,
}

impl Header {
    /// Returns `None` if the length is invalid for TDS.
    pub fn parse(bytes: [u8; HEADER]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]])).checked_sub(HEADER)?;
        Some(Self { kind: bytes[0], last: bytes[1] & END_OF_MESSAGE != 0, length })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn request_demands_full_encryption() {
        let bytes = request("RTC", true);
        assert_eq!(parse(&bytes), Ok(Reply { encryption: Encryption::Full, instance: false }));
        assert!(bytes.ends_with(b"RTC\0\0\0\0\0\0"), "{bytes:?}");
        assert_eq!(parse(&request("", true)), Ok(Reply { encryption: Encryption::Full, instance: true }));
    }

    #[test]
    fn reply_without_encryption_disables_encryption() {
        let reply = parse(&reply_without_encryption());
        assert_eq!(reply, Ok(Reply { encryption: Encryption::NotSupported, instance: true }));
    }

    #[test]
    fn parse_with_hostile_bytes_fails() {
        assert!(parse(&[]).is_err());
        assert!(parse(&[TERMINATOR]).is_err());
        assert!(parse(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
        assert!(parse(&[ENCRYPTION, 0xff, 0xff, 0xff, 0xff, TERMINATOR]).is_err());
        assert!(parse(&[ENCRYPTION, 0, 6, 0, 1, TERMINATOR, 9]).is_err());
        assert!(parse(&[ENCRYPTION, 0, 6, 0, 0, TERMINATOR]).is_err());
        assert!(parse(&[VERSION, 0, 0]).is_err());
        assert_eq!(Header::parse([4, 1, 0, 7, 0, 0, 0, 0]), None);
    }

    #[test]
    fn parse_skips_unknown_options() {
        let bytes = options(&[(0x07, &[0; 32]), (ENCRYPTION, &[ENCRYPT_REQ])]);
        assert_eq!(parse(&bytes), Ok(Reply { encryption: Encryption::Full, instance: true }));
    }

    #[test]
    fn packets_splits_a_long_payload() {
        let bytes = packets(PRELOGIN, &[7; 5000]);
        let header = |at: usize| Header::parse(bytes[at..at + HEADER].try_into().unwrap()).unwrap();
        assert_eq!(header(0), Header { kind: PRELOGIN, last: false, length: LARGEST - HEADER });
        assert_eq!(header(LARGEST), Header { kind: PRELOGIN, last: true, length: 5000 - (LARGEST - HEADER) });
        assert_eq!(bytes.len(), 5000 + 2 * HEADER);
    }

    proptest! {
        #[test]
        fn parse_with_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
