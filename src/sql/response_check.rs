//! Checks the responses of the server that the driver does not check: whether a response is complete, and whether the
//! login was acknowledged (MS-TDS 2.2.7.6, 2.2.7.14). The driver passes over the status of DONE.
//!
//! ```text
//! response     packets 0x04 | status | length | payload    the last one has END_OF_MESSAGE
//!              the payload ends with DONE: type, status (2), command (2), row count (8)
//! MORE         a response that breaks off
//! ERROR        a failed statement. Its ERROR token is an error of the driver, but a server may leave the token out
//! ```
//!
//! Only the last DONE of a response is checked. A DONE between two result sets can be found only by decoding every row. A
//! severe error (SRVERROR) ends the batch, so that its DONE is the last one. docs/decisions/0017 states why that is safe.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sql::login_message::messages;
use crate::sql::prelogin::{HEADER, Header, TABULAR};
use crate::sql::response_defect::Defect;
use crate::sql::response_memory::Reserved;
use crate::sql::response_tokens::ResponseTokens;

/// The length of DONE from TDS 7.2 on.
const DONE: usize = 13;
/// DONE, DONEPROC and DONEINPROC.
const DONE_TYPES: [u8; 3] = [0xfd, 0xfe, 0xff];
const MORE: u16 = 0x0001;
const ERROR: u16 = 0x0002;
const SRVERROR: u16 = 0x0100;
/// The bytes of a login response that are searched for LOGINACK.
const LONGEST_LOGIN: usize = 1 << 14;

/// The version of TDS that the server acknowledged, e.g. `(7, 4)`.
pub type TdsVersion = (u8, u8);

/// The state of the current response, shared between the stream and the session.
#[derive(Debug, Clone)]
pub struct ResponseCheck(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    header: Vec<u8>,
    /// The unread payload of the current packet, in bytes, and whether it is the last one.
    payload: usize,
    last: bool,
    /// The end of the payload: the bytes of the last DONE.
    tail: Vec<u8>,
    tokens: ResponseTokens,
    /// The response to a batch is complete, so that no byte may follow. A login can have several messages.
    ended: bool,
    /// The start of the payload during the login; `None` afterwards.
    login: Option<Vec<u8>>,
    defect: Option<Defect>,
    started: bool,
}

impl ResponseCheck {
    /// The first response is that to the login.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new(Some(Vec::new()), ResponseTokens::of_login()))))
    }

    /// Starts the check of the response to a new batch. `memory`: of its rows.
    pub fn reset(&self, memory: Reserved) {
        let mut state = self.0.lock();
        // The driver has these bytes, and would read them as the begin of the next response.
        let left_over = !state.header.is_empty() || state.payload > 0;
        *state = State { ended: left_over, ..State::new(None, ResponseTokens::of_batch(memory)) };
    }

    /// The memory of the rows that were read.
    pub fn take_memory(&self) -> Option<Reserved> {
        self.0.lock().tokens.take_memory()
    }

    /// Whether any byte of the response has arrived.
    pub fn started(&self) -> bool {
        self.0.lock().started
    }

    /// The defect of the response so far.
    pub fn defect(&self) -> Option<Defect> {
        self.0.lock().defect
    }

    /// The version in the LOGINACK of the login response; `None` if the server did not acknowledge the login.
    pub fn login_version(&self) -> Option<TdsVersion> {
        self.0.lock().login.as_deref().and_then(login_ack)
    }

    /// The messages of the login response before LOGINACK.
    pub fn login_messages(&self) -> Vec<(u32, String)> {
        self.0.lock().login.as_deref().map(messages).unwrap_or_default()
    }

    /// Reads the next bytes of the response.
    ///
    /// # Errors
    /// `InvalidData` for a response from which the driver would wait for more, or read nonsense.
    pub fn read(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().read(bytes).map_err(|defect| io::Error::new(io::ErrorKind::InvalidData, defect))
    }
}

impl State {
    fn new(login: Option<Vec<u8>>, tokens: ResponseTokens) -> State {
        State {
            header: Vec::with_capacity(HEADER),
            payload: 0,
            last: false,
            tail: Vec::with_capacity(2 * DONE),
            tokens,
            ended: false,
            login,
            defect: None,
            started: false,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Defect> {
        self.started |= !bytes.is_empty();
        while !bytes.is_empty() {
            if self.ended {
                return Err(self.fail("bytes follow the end of the response"));
            }
            if self.payload == 0 {
                let (header, rest) = bytes.split_at(bytes.len().min(HEADER - self.header.len()));
                self.header.extend_from_slice(header);
                bytes = rest;
                self.read_header()?;
            }
            let (payload, rest) = bytes.split_at(bytes.len().min(self.payload));
            bytes = rest;
            self.payload -= payload.len();
            self.tokens.read(payload).map_err(|what| self.fail(what))?;
            self.keep(payload);
            if self.payload == 0 && self.header.is_empty() && self.last {
                self.last = false;
                self.ended = self.login.is_none();
                self.finish()?;
            }
        }
        Ok(())
    }

    fn read_header(&mut self) -> Result<(), Defect> {
        let Ok(header) = <[u8; HEADER]>::try_from(self.header.as_slice()) else { return Ok(()) };
        self.header.clear();
        match Header::parse(header) {
            Some(Header { kind: TABULAR, last, length }) => {
                (self.payload, self.last) = (length, last);
                Ok(())
            }
            _ => Err(self.fail("the packet is not a TDS response")),
        }
    }

    fn keep(&mut self, payload: &[u8]) {
        if let Some(login) = &mut self.login {
            let free = LONGEST_LOGIN.saturating_sub(login.len());
            login.extend_from_slice(&payload[..payload.len().min(free)]);
        }
        self.tail.extend_from_slice(&payload[payload.len().saturating_sub(DONE)..]);
        self.tail.drain(..self.tail.len().saturating_sub(DONE));
    }

    /// Checks the end of a complete message.
    fn finish(&mut self) -> Result<(), Defect> {
        // A response without DONE to a login is the driver's error, and so is a DONE of a version that is too old.
        if self.login.is_some() {
            return if self.tail.is_empty() { Err(self.fail("the response is empty")) } else { Ok(()) };
        }
        let status = match self.tail.as_slice() {
            [kind, low, high, ..] if self.tail.len() == DONE && DONE_TYPES.contains(kind) => {
                u16::from_le_bytes([*low, *high])
            }
            _ => return Err(self.fail("the response ends without DONE")),
        };
        if status & MORE != 0 {
            return Err(self.fail("the response breaks off"));
        }
        if status & (ERROR | SRVERROR) != 0 {
            // No error of the stream: the driver still has to return the ERROR token, if there is one.
            self.fail("the server marked the response as failed without an error");
        }
        Ok(())
    }

    fn fail(&mut self, defect: impl Into<Defect>) -> Defect {
        *self.defect.insert(defect.into())
    }
}

/// The TDS version in LOGINACK. Tokens with a length of two bytes are passed over.
fn login_ack(mut payload: &[u8]) -> Option<TdsVersion> {
    const LOGINACK: u8 = 0xad;
    /// ERROR, INFO, ENVCHANGE, SSPI.
    const BEFORE: [u8; 4] = [0xaa, 0xab, 0xe3, 0xed];
    while let [kind, low, high, rest @ ..] = payload {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let body = rest.get(..length)?;
        match (*kind, body) {
            (LOGINACK, [_, major, minor, ..]) => return Some(version(*major, *minor)),
            (kind, _) if BEFORE.contains(&kind) => payload = &rest[length..],
            _ => return None,
        }
    }
    None
}

/// The first bytes of a version: `0x74 0x00` is 7.4, `0x07 0x01` is 7.1 and `0x08 0x00` is 8.0 (MS-TDS 2.2.7.14).
fn version(major: u8, minor: u8) -> TdsVersion {
    if major >= 0x70 { (major >> 4, major & 0x0f) } else { (major, minor) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sql::prelogin::packets;
    use crate::sql::response_memory::ResponseMemory;

    fn memory() -> Reserved {
        ResponseMemory::default().reserve(&"lync".into())
    }

    fn done(status: u16) -> Vec<u8> {
        [&[0xfd][..], &status.to_le_bytes(), &[0; 10]].concat()
    }

    /// An INFO token of this length.
    fn info(length: u16) -> Vec<u8> {
        [&[0xab][..], &length.to_le_bytes(), &vec![7; length.into()]].concat()
    }

    /// A message with this payload, which may be empty.
    fn message(payload: &[u8]) -> Vec<u8> {
        if payload.is_empty() { vec![TABULAR, 1, 0, 8, 0, 0, 1, 0] } else { packets(TABULAR, payload) }
    }

    fn batch(payload: &[u8]) -> (io::Result<()>, Option<Defect>) {
        let check = ResponseCheck::new();
        check.reset(memory());
        let mut result = Ok(());
        for byte in message(payload) {
            result = result.and_then(|()| check.read(&[byte]));
        }
        (result, check.defect())
    }

    /// The rows of a response outlive its check, so that their memory is handed on, once.
    #[test]
    fn take_memory_of_a_batch_is_that_of_its_rows() {
        let check = ResponseCheck::new();
        assert!(check.take_memory().is_none(), "a login has no rows");
        check.reset(memory());
        assert!(check.take_memory().is_some() && check.take_memory().is_none());
    }

    /// The bytes of a response that were read before the next batch, and whether its response can be read.
    #[test]
    fn reset_in_the_middle_of_a_response_is_a_defect_of_the_next_one() {
        for (count, usable) in [(0, true), (3, false), (8, false), (10, false), (21, true)] {
            let (check, response) = (ResponseCheck::new(), message(&done(0)));
            assert_eq!(response.len(), 21);
            check.reset(memory());
            let read = check.read(&response[..count]);
            assert!(read.is_ok(), "{count}: {read:?}");
            check.reset(memory());
            assert_eq!(check.read(&response).is_ok() && check.defect().is_none(), usable, "{count}");
        }
    }

    #[test]
    fn login_ack_is_found_after_the_tokens_that_precede_it_only() {
        let ack = [0xad, 4, 0, 1, 0x74, 0, 0].to_vec();
        assert_eq!(login_ack(&ack), Some((7, 4)));
        assert_eq!(login_ack(&[info(3), ack.clone()].concat()), Some((7, 4)));
        assert_eq!(login_ack(&[vec![0x81, 1, 0, 7], ack].concat()), None);
    }

    #[test]
    fn read_of_a_complete_response_finds_no_defect() {
        for payload in [done(0), done(0x10), [info(9000), done(0)].concat()] {
            let (result, defect) = batch(&payload);
            assert!(result.is_ok() && defect.is_none(), "{result:?} {defect:?}");
        }
    }

    #[test]
    fn read_of_a_failed_response_is_a_defect_without_an_error_of_the_stream() {
        for status in [ERROR, SRVERROR, ERROR | SRVERROR, ERROR | 0x10] {
            let (result, defect) = batch(&done(status));
            assert!(result.is_ok());
            assert!(defect.unwrap().to_string().contains("marked the response as failed"));
        }
    }

    #[test]
    fn read_of_a_broken_response_is_an_error() {
        for (payload, what) in [(vec![], "without DONE"), (info(40), "without DONE"), (done(MORE), "breaks off")] {
            let (result, defect) = batch(&payload);
            assert!(result.is_err());
            assert!(defect.unwrap().to_string().contains(what), "{defect:?}");
        }
        let check = ResponseCheck::new();
        assert!(check.read(b"HTTP/1.1").is_err());
        assert!(check.started());
    }

    /// The driver keeps what follows a response, and would read it as the next one. Then the two read different packets.
    #[test]
    fn read_of_bytes_between_two_responses_is_an_error() {
        let check = ResponseCheck::new();
        check.reset(memory());
        let next = message(&done(0));
        let both = [message(&done(0)), next[..3].to_vec()].concat();
        assert!(check.read(&both).is_err());
        assert!(check.defect().unwrap().to_string().contains("follow the end"));
        for cut in [3, 12] {
            let check = ResponseCheck::new();
            check.read(&next[..cut]).unwrap();
            check.reset(memory());
            assert!(check.read(&next[cut..]).is_err(), "{cut} bytes of a second message to the login");
        }
    }

    #[test]
    fn login_version_is_that_of_loginack() {
        let ack = |version: [u8; 4]| [&[0xad, 10, 0, 1][..], &version, &[0; 5]].concat();
        let info = [0xab, 2, 0, 9, 9];
        for (bytes, expected) in [
            ([0x74, 0, 0, 4], (7, 4)),
            ([0x73, 0x0b, 0, 3], (7, 3)),
            ([0x72, 9, 0, 2], (7, 2)),
            ([0x71, 0, 0, 1], (7, 1)),
            ([0x07, 0x01, 0, 0], (7, 1)),
            ([0x08, 0, 0, 0], (8, 0)),
        ] {
            let check = ResponseCheck::new();
            check.read(&packets(TABULAR, &[&info[..], &ack(bytes), &done(0)].concat())).unwrap();
            assert_eq!(check.login_version(), Some(expected));
        }
        let check = ResponseCheck::new();
        check.read(&packets(TABULAR, &done(ERROR))).unwrap();
        assert_eq!(check.login_version(), None);
        assert!(ResponseCheck::new().read(&message(&[])).is_err());
    }

    proptest! {
        /// The result does not depend on how the network cuts the bytes, and no bytes panic.
        #[test]
        fn read_in_any_pieces_is_the_same(payload in prop::collection::vec(any::<u8>(), 0..60), status: u16, cut in 1..20_usize) {
            for payload in [payload.clone(), [payload, done(status)].concat()] {
                let bytes = packets(TABULAR, &payload);
                let (one, other) = (ResponseCheck::new(), ResponseCheck::new());
                one.reset(memory());
                other.reset(memory());
                let whole = one.read(&bytes).is_ok();
                prop_assert_eq!(whole, bytes.chunks(cut).all(|piece| other.read(piece).is_ok()));
                prop_assert_eq!(one.defect(), other.defect());
                let _ = login_ack(&payload);
            }
        }
    }
}
