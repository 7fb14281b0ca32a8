//! Snapshots that somebody makes who means harm: their checksums and sums are right, and their rows are as he likes.
//!
//! For those who test that a store survives them: the tests of this crate, and the fuzzer.

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_node::{Machine as _, Piece};
use quorate_raft::EntryId;

use crate::codec::{self, Source};
use crate::engine::Table;
use crate::fingerprint::LiveRows;
use crate::store::{State, Store};

/// What stands before the rows of a piece: its format and checksum.
const HEAD_BYTES: usize = 5;

/// What stands behind the last row.
const END: u8 = 0xff;

/// A row of a snapshot: table, key, value.
pub type Row = (u8, Vec<u8>, Vec<u8>);

/// The rows of a snapshot of a store as they are in pieces of about so many bytes, without checksums.
///
/// # Panics
/// If the engine has failed.
pub fn bodies(store: &mut Store, piece_bytes: usize) -> Vec<Vec<u8>> {
    let mut snapshot = store.snapshot().expect("a state freezes");
    let (mut cursor, mut bodies) = (Bytes::new(), Vec::new());
    loop {
        let read = snapshot.read(&cursor, piece_bytes).expect("the cursor is good");
        bodies.push(read.data[HEAD_BYTES..].to_vec());
        let Some(next) = read.next else { return bodies };
        cursor = next;
    }
}

/// Takes the rows of bodies apart.
///
/// # Panics
/// If they are not those of a snapshot.
#[must_use]
pub fn rows(bodies: &[Vec<u8>]) -> Vec<Row> {
    let mut source = Source::new(bodies.concat().into());
    let mut rows = Vec::new();
    loop {
        let table = source.u8().expect("a row or the end");
        if table == END {
            return rows;
        }
        let [key, value] = [(); 2].map(|()| source.bytes().expect("a row").to_vec());
        rows.push((table, key, value));
    }
}

/// Makes the sums in the state's row those of the rows, as a liar would; rows that make no sense at all
/// have none.
fn sum_up(rows: &mut [Row]) {
    let mut live = LiveRows::default();
    for (table, key, value) in &*rows {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let Ok(table) = Table::try_from(*table) else { return };
        if live.add(table, &key, &value).is_err() {
            return;
        }
    }
    let bytes = |(_, key, value): &Row| (key.len() + value.len()) as u64;
    let is_counted = |row: &&Row| row.0 != Table::Meta as u8;
    let bytes: u64 = rows.iter().filter(is_counted).map(bytes).sum();
    let is_state = |row: &&mut Row| row.0 == Table::Meta as u8 && row.1 == State::ROW;
    if let Some((_, _, state)) = rows.iter_mut().find(is_state)
        && let Some(at) = state.len().checked_sub(40)
    {
        state[at..at + 8].copy_from_slice(&bytes.to_be_bytes());
        state[at + 8..at + 24].copy_from_slice(&live.sum().to_be_bytes());
    }
}

/// Rows as the body of a single piece, in order, with their number and their sum.
#[must_use]
pub fn body(rows: &[Row]) -> Vec<u8> {
    let mut sorted = rows.to_vec();
    sorted.sort();
    sorted.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
    sum_up(&mut sorted);
    let mut body = Vec::new();
    for (table, key, value) in &sorted {
        body.push(*table);
        codec::put_bytes(&mut body, key);
        codec::put_bytes(&mut body, value);
    }
    body.push(END);
    codec::put_u64(&mut body, sorted.len() as u64);
    body
}

/// CRC-32C, bit by bit: as somebody else computes it.
fn checksum(before: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(!before, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The pieces around bodies, with right checksums.
#[must_use]
pub fn pieces(bodies: &[Vec<u8>], last: EntryId) -> Vec<Piece> {
    let mut crc = 0;
    let framed = |(position, body): (usize, &Vec<u8>)| {
        crc = checksum(crc, body);
        let data = [&[1][..], &crc.to_be_bytes(), body].concat();
        let end = position + 1 == bodies.len();
        let membership = Bytes::from_static(b"members");
        Piece { last, membership, first: position == 0, data: data.into(), end }
    };
    bodies.iter().enumerate().map(framed).collect()
}
