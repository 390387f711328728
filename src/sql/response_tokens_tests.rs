//! Responses that are right, and responses that cost more than they may.

use proptest::prelude::*;

use super::*;
use crate::sql::response_defect::Defect;
use crate::sql::response_memory::{MAX_RESPONSE, ResponseMemory, TOO_LARGE};

const DONE: [u8; 13] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A column without a name: user type, flags, type with its parameters, and the length of the name.
fn column(kind: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 1, 0], kind, &[0]].concat()
}

fn metadata(columns: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(columns.len()).unwrap().to_le_bytes();
    [&[0x81], &count[..], &columns.concat()].concat()
}

fn tinyint() -> Vec<u8> {
    column(&[0x26, 1])
}

/// An nvarchar of this size in bytes; 0xFFFF is nvarchar(max).
fn nvarchar(size: u16) -> Vec<u8> {
    column(&[&[0xe7][..], &size.to_le_bytes(), &[9, 4, 0xd0, 0, 0x34]].concat())
}

fn batch() -> ResponseTokens {
    ResponseTokens::of_batch(ResponseMemory::default().reserve(&"lync".into()))
}

fn outcome(payload: &[u8]) -> Result<(), Defect> {
    batch().read(payload)
}

/// The outcome, if the payload ends at the end of a token.
fn whole(mut tokens: ResponseTokens, payload: &[u8]) -> Result<(), Defect> {
    tokens.read(payload)?;
    assert!(matches!(tokens.step, Step::Token) && tokens.skip == 0 && tokens.field.is_empty(), "{tokens:?}");
    Ok(())
}

#[test]
fn read_of_every_form_of_value_ends_at_the_end_of_the_token() {
    let forms: [(Vec<u8>, &[u8]); 9] = [
        (column(&[0x30]), &[1]),
        (column(&[0x38]), &[1, 2, 3, 4]),
        (column(&[0x7f]), &[1, 2, 3, 4, 5, 6, 7, 8]),
        (column(&[0x24, 16]), &[0]),
        (column(&[0xa5, 85, 0]), &[2, 0, 1, 2]),
        (nvarchar(256), &[0xff, 0xff]),
        (nvarchar(256), &[4, 0, b'a', 0, b'b', 0]),
        (nvarchar(0xffff), &[0xff; 8]),
        (nvarchar(0xffff), &[4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', 0, 2, 0, 0, 0, b'b', 0, 0, 0, 0, 0]),
    ];
    for (kind, value) in &forms {
        let set = metadata(std::slice::from_ref(kind));
        assert_eq!(whole(batch(), &[&set, &[0xd1][..], value, &[0xd1], value, &DONE].concat()), Ok(()), "{kind:?}");
        assert_eq!(whole(batch(), &[&set, &[0xd2, 1][..], &[0xd2, 0], value, &DONE].concat()), Ok(()), "{kind:?}");
    }
    let (columns, values): (Vec<Vec<u8>>, Vec<&[u8]>) = forms.into_iter().unzip();
    let row = [&[0xd1][..], &values.concat()].concat();
    let nulls = [0xd2, 0xff, 0xff];
    assert_eq!(whole(batch(), &[&metadata(&columns), &row[..], &nulls, &row, &DONE].concat()), Ok(()));
}

#[test]
fn read_of_tokens_without_rows_ends_at_the_end_of_the_token() {
    let both: [&[u8]; 3] = [&[0xaa, 2, 0, 7, 7], &[0xab, 2, 0, 7, 7], &[0xe3, 3, 0, 7, 7, 7]];
    let of_batch: [&[u8]; 4] =
        [&[0xa9, 4, 0, 1, 0, 2, 0], &[0x79, 0, 0, 0, 0], &[0x81, 0xff, 0xff], &[0x81, 0, 0, 0xd1, 0xd2]];
    let of_login: [&[u8]; 5] = [
        &[0xad, 6, 0, 1, 0x74, 0, 0, 4, 9],
        &[0xed, 0, 0],
        &[0xae, 1, 2, 0, 0, 0, 7, 7, 0xff],
        &[0xe4, 1, 0, 0, 0, 7],
        &[0xee, 1, 0, 0, 0, 7],
    ];
    for (token, in_batch, in_login) in both
        .map(|token| (token, true, true))
        .into_iter()
        .chain(of_batch.map(|token| (token, true, false)))
        .chain(of_login.map(|token| (token, false, true)))
    {
        for (tokens, accepted) in [(batch(), in_batch), (ResponseTokens::of_login(), in_login)] {
            let expected = if accepted { Ok(()) } else { Err(Defect::Invalid(UNEXPECTED_TOKEN)) };
            assert_eq!(whole(tokens, &[token, &DONE].concat()), expected, "{token:x?}");
        }
    }
    for refused in [0x88, 0xd3, 0xac, 0xa4, 0xa5, 0x00, 0x42] {
        assert_eq!(outcome(&[refused]), Err(Defect::Invalid(UNEXPECTED_TOKEN)), "{refused:x}");
    }
    for kind in [0x22, 0x23, 0x63, 0xf0, 0xf1, 0x2f, 0x1f, 0x62, 0x28, 0x3d, 0x6a] {
        assert_eq!(outcome(&metadata(&[column(&[kind])])), Err(Defect::Invalid(UNEXPECTED_TYPE)), "{kind:x}");
    }
}

/// The driver reads DONE by the version of the last LOGINACK.
#[test]
fn read_of_loginack_is_accepted_once_and_not_below_its_length() {
    let ack = |length: u8, major: u8| [&[0xad, length, 0, 1, major, 0, 0, 4][..], &[9; 5]].concat();
    let twice = [ack(10, 0x74), ack(10, 0x71), DONE.to_vec()].concat();
    assert_eq!(ResponseTokens::of_login().read(&twice), Err(Defect::Invalid(SECOND_LOGINACK)));
    assert_eq!(ResponseTokens::of_login().read(&ack(4, 0x74)), Err(Defect::Invalid(UNEXPECTED_TOKEN)));
    // Not followed: the session refuses the version.
    assert_eq!(ResponseTokens::of_login().read(&[ack(10, 0x71), vec![0; 9]].concat()), Ok(()));
}

/// 65,534 columns cost 600 KB on the network, and every row of NULLs 8 KB. The driver makes megabytes of each.
#[test]
fn read_of_many_columns_is_refused_at_their_count() {
    let count = 65_534_u16.to_le_bytes();
    assert_eq!(outcome(&[0x81, count[0], count[1]]), Err(Defect::Invalid(MANY_COLUMNS)));
    assert_eq!(outcome(&metadata(&vec![tinyint(); MAX_COLUMNS])), Ok(()));
    assert_eq!(outcome(&metadata(&vec![tinyint(); MAX_COLUMNS + 1])), Err(Defect::Invalid(MANY_COLUMNS)));
    // Also in a later result set.
    let first = [metadata(&[tinyint()]), vec![0xd1, 1, 7], DONE.to_vec()].concat();
    assert_eq!(outcome(&[&first[..], &[0x81, count[0], count[1]]].concat()), Err(Defect::Invalid(MANY_COLUMNS)));
}

#[test]
fn read_of_many_rows_of_nulls_is_refused_by_their_memory() {
    for columns in [0, 1, 14, MAX_COLUMNS] {
        let mut tokens = batch();
        tokens.read(&metadata(&vec![tinyint(); columns])).unwrap();
        let row = [&[0xd2][..], &vec![0xff; columns.div_ceil(8)]].concat();
        let mut rows = 0;
        let refused = loop {
            match tokens.read(&row) {
                Ok(()) => rows += 1,
                Err(what) => break what,
            }
        };
        assert_eq!(
            (refused, rows),
            (Defect::Invalid(TOO_LARGE), MAX_RESPONSE / (ROW + columns * VALUE)),
            "{columns} columns"
        );
    }
    let sets = [0x81, 0xff, 0xff].repeat(MAX_RESULT_SETS + 1);
    assert_eq!(outcome(&sets), Err(Defect::Invalid(MANY_RESULT_SETS)));
}

/// The limits are above what a poll of a large server contains.
#[test]
fn read_of_a_poll_of_ten_thousand_databases_is_within_the_limits() {
    let mut tokens = batch();
    for (columns, rows) in [(9, 1), (14, 10_000), (4, 1), (6, 1_000), (3, 30_000)] {
        tokens.read(&metadata(&vec![nvarchar(256); columns])).unwrap();
        // A text of 60 bytes in a third of the columns, as a name of 30 characters.
        let text =
            |column: usize| if column.is_multiple_of(3) { [&[60, 0][..], &[7; 60]].concat() } else { vec![0xff, 0xff] };
        let row = [vec![0xd1], (0..columns).flat_map(text).collect()].concat();
        (0..rows).for_each(|_| tokens.read(&row).unwrap());
        tokens.read(&DONE).unwrap();
    }
    assert_eq!(tokens.result_sets, 5);
}

/// 21 servers of one resource, each with rows of NULLs without end: 2 bytes on the network, 100 in the driver.
#[test]
fn read_of_many_responses_at_once_is_bounded_and_leaves_the_share_of_other_namespaces() {
    let memory = ResponseMemory::default();
    let read = |namespace: &str, rows: usize| {
        let mut tokens = ResponseTokens::of_batch(memory.reserve(&namespace.into()));
        tokens.read(&metadata(&[tinyint()])).unwrap();
        let outcome = (0..rows).try_for_each(|_| tokens.read(&[0xd2, 1]));
        (tokens, outcome)
    };
    let hostile: Vec<_> = (0..21).map(|_| read("evil", 262_144)).collect();
    assert!(hostile.iter().all(|(_, outcome)| outcome.is_err()));
    assert!(memory.taken() <= MAX_RESPONSE, "{}", memory.taken());
    assert_eq!(read("lync", 50_000).1, Ok(()));
    drop(hostile);
    assert_eq!(memory.taken(), 0);
}

#[test]
fn read_of_a_long_value_is_refused_before_it_arrives() {
    let million = 2_000_000_u32.to_le_bytes();
    let chunk =
        [&metadata(&[nvarchar(0xffff)])[..], &[0xd1], &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &million];
    assert_eq!(outcome(&chunk.concat()), Err(Defect::Invalid(LONG_VALUE)));
    let half = [&40_000_u32.to_le_bytes()[..], &vec![7; 40_000]].concat();
    let chunks = [&chunk[..3].concat()[..], &half, &half].concat();
    assert_eq!(outcome(&chunks), Err(Defect::Invalid(LONG_VALUE)));
}

proptest! {
    /// The result does not depend on how the network cuts the bytes, no bytes panic, and nothing is stored but one field and
    /// the columns.
    #[test]
    fn read_of_any_bytes_in_any_pieces_is_the_same(
        random in prop::collection::vec(any::<u8>(), 0..300),
        row in prop::collection::vec(any::<u8>(), 0..60),
        cut in 1..20_usize,
    ) {
        let columns = [tinyint(), nvarchar(256), nvarchar(0xffff), column(&[0x38])];
        for payload in [random, [&metadata(&columns)[..], &[0xd1], &row].concat(), [&metadata(&columns)[..], &[0xd2], &row].concat()] {
            let mut pieces = batch();
            let cut = payload.chunks(cut).try_for_each(|piece| pieces.read(piece));
            prop_assert_eq!(outcome(&payload), cut);
            prop_assert!(pieces.columns.len() <= MAX_COLUMNS && pieces.field.len() <= 16);
        }
    }
}
