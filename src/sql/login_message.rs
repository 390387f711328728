//! The messages at the start of a response that ends before its login: a server that closes the connection sends the cause in an
//! ERROR or INFO token, also instead of its response to PRELOGIN (MS-TDS 2.2.7.10, 2.2.7.13).
//!
//! ```text
//! token    type (1), length (2), number (4), state (1), class (1), length of the text in characters (2), text in UTF-16, ...
//! ```

const ERROR: u8 = 0xaa;
const INFO: u8 = 0xab;
/// ENVCHANGE and SSPI have the same length field.
const OTHERS: [u8; 2] = [0xe3, 0xed];

/// The numbers and texts of the messages, up to the first token of another kind.
pub fn messages(mut payload: &[u8]) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    while let [kind, low, high, rest @ ..] = payload {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let Some(body) = rest.get(..length) else { break };
        match *kind {
            ERROR | INFO => found.extend(message(body)),
            other if OTHERS.contains(&other) => {}
            _ => break,
        }
        payload = &rest[length..];
    }
    found
}

fn message(body: &[u8]) -> Option<(u32, String)> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let [_state, _class, low, high, text @ ..] = rest else { return None };
    let bytes = 2 * usize::from(u16::from_le_bytes([*low, *high]));
    let units = text.get(..bytes)?.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Some((u32::from_le_bytes(*number), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fake_server::{ack, error};

    #[test]
    fn messages_end_at_the_first_other_token() {
        let payload = [error(6005, "Stop."), error(18_451, ""), ack([0x74, 0, 0, 4]), error(1, "after")].concat();
        assert_eq!(messages(&payload), [(6005, "Stop.".to_owned()), (18_451, String::new())]);
    }

    #[test]
    fn messages_after_a_change_of_the_environment_are_found() {
        let payload = [[OTHERS[0], 1, 0, 1].to_vec(), error(6005, "Stop.")].concat();
        assert_eq!(messages(&payload), [(6005, "Stop.".to_owned())]);
    }

    #[test]
    fn messages_of_any_truncated_token_are_none() {
        let whole = error(17_809, "The limit is reached.");
        for length in 0..whole.len() {
            assert_eq!(messages(&whole[..length]), [], "{length} bytes");
        }
        // A text that is longer than its token.
        let mut long = whole.clone();
        long[9] = 0xff;
        assert_eq!(messages(&long), []);
        assert_eq!(messages(&[1, 0, 6, 0, 1, 0xff, 2]), [], "a response to PRELOGIN");
    }
}
