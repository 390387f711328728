//! Malformed messages: truncated, changed or random. Every parser returns an error and none panics.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

use mirror_sim::wire::login7::Login7;
use mirror_sim::wire::packet::{kind, read_message, split};
use mirror_sim::wire::prelogin::Prelogin;
use mirror_sim::wire::{WireError, request, rpc};

/// An xorshift generator with a fixed seed, so that a failure is reproducible.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

async fn every_parser(bytes: &[u8]) {
    let _ = Prelogin::parse(bytes);
    let _ = Login7::parse(bytes);
    let _ = request::batch(bytes);
    let _ = request::transaction(bytes);
    let _ = rpc::parse(bytes);
    let _ = read_message(&mut &bytes[..]).await;
}

/// A valid LOGIN7 message with strings and features.
fn login() -> Vec<u8> {
    let mut bytes = vec![0; 94];
    let place = |bytes: &mut Vec<u8>, at: usize, text: &str| {
        let offset = bytes.len() as u16;
        bytes[at..at + 2].copy_from_slice(&offset.to_le_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&(text.encode_utf16().count() as u16).to_le_bytes());
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    };
    for (at, text) in [(36, "host"), (40, "lync-mirror"), (44, "secret"), (48, "app"), (68, "master")] {
        place(&mut bytes, at, text);
    }
    bytes[27] = 0x10;
    let pointer = bytes.len() as u16;
    bytes[56..58].copy_from_slice(&pointer.to_le_bytes());
    bytes[58] = 4;
    bytes.extend(u32::from(pointer + 4).to_le_bytes());
    bytes.extend([1, 2, 0, 0, 0, 9, 9, 0xFF]);
    bytes[4..8].copy_from_slice(&0x7400_0004u32.to_le_bytes());
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// A call of sp_executesql with a text in chunks, a number and a uniqueidentifier.
fn call() -> Vec<u8> {
    let mut bytes = vec![4, 0, 0, 0, 0xFF, 0xFF, 10, 0, 0, 0];
    bytes.extend([0, 0, 0xE7, 0xFF, 0xFF, 9, 4, 0xD0, 0, 0x34]);
    bytes.extend(4u64.to_le_bytes());
    bytes.extend([4, 0, 0, 0, b'g', 0, b'o', 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, 0x6C, 5, 9, 0, 5, 1, 7, 0, 0, 0]);
    bytes.extend([0, 0, 0x24, 16, 16]);
    bytes.extend([7; 16]);
    bytes
}

const PRELOGIN: [u8; 12] = [1, 0, 11, 0, 1, 2, 0, 11, 0, 1, 0xFF, 0];

fn valid_messages() -> [Vec<u8>; 4] {
    [PRELOGIN.to_vec(), login(), call(), split(kind::BATCH, 0, 512, &[0; 2000])]
}

#[tokio::test]
async fn parsers_valid_messages_return_fields() {
    assert!(Prelogin::parse(&PRELOGIN).is_ok());
    assert_eq!(Login7::parse(&login()).unwrap().features, Some(vec![1]));
    assert_eq!(rpc::parse(&call()).unwrap()[0].parameters.len(), 3);
}

#[tokio::test]
async fn parsers_truncated_messages_do_not_panic() {
    for bytes in valid_messages() {
        for end in 0..bytes.len() {
            every_parser(&bytes[..end]).await;
        }
    }
    let login = login();
    for end in 0..login.len() {
        assert!(Login7::parse(&login[..end]).is_err(), "truncated at {end}");
    }
}

#[tokio::test]
async fn parsers_changed_bytes_do_not_panic() {
    for bytes in valid_messages() {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFE, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] = value;
                every_parser(&changed).await;
            }
        }
    }
}

#[tokio::test]
async fn parsers_random_bytes_do_not_panic() {
    let mut random = Random(0x5EED);
    for _ in 0..20_000 {
        let length = random.below(300);
        every_parser(&random.bytes(length)).await;
    }
}

#[tokio::test]
async fn parsers_random_bytes_after_valid_start_do_not_panic() {
    let mut random = Random(0xBEEF);
    for _ in 0..5_000 {
        for mut bytes in valid_messages() {
            let (at, length) = (random.below(bytes.len()), random.below(64));
            bytes.truncate(at);
            bytes.extend(random.bytes(length));
            every_parser(&bytes).await;
        }
    }
}

#[tokio::test]
async fn read_message_above_size_limit_returns_error() {
    let long = split(kind::LOGIN7, 0, 32767, &vec![0; 129 << 10]);
    let refused = read_message(&mut long.as_slice()).await;
    assert!(matches!(refused, Err(WireError::TooLarge { kind: kind::LOGIN7, .. })), "{refused:?}");
    let unknown = read_message(&mut [0x55, 1, 0, 8, 0, 0, 0, 0].as_slice()).await;
    assert!(matches!(unknown, Err(WireError::Unexpected(0x55))), "{unknown:?}");
}

#[tokio::test]
async fn read_message_attention_inside_message_returns_attention() {
    let mut bytes = split(kind::BATCH, 0, 512, &[0; 2000]);
    bytes.truncate(512);
    bytes.extend([kind::ATTENTION, 1, 0, 8, 0, 0, 1, 0]);
    let message = read_message(&mut bytes.as_slice()).await.unwrap().unwrap();
    assert_eq!((message.kind, message.payload.len()), (kind::ATTENTION, 0));
}
