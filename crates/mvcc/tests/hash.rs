//! The hash of a history, over bytes written here by hand as etcd's backend holds them.

use bytes::Bytes;
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{Command, DeleteRangeRequest, KeyRange, PutRequest, Store};
use quorate_node::Machine;
use quorate_raft::EntryId;

/// CRC-32C bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

fn store(commands: &[Command]) -> Store {
    let mut store = Store::open(Box::new(MemEngine::new())).unwrap();
    for (index, command) in (1..).zip(commands) {
        let entry = EntryId::new(1, index);
        store.apply(entry, &command.encode()).unwrap().result.expect("the command is valid");
        store.commit(entry).unwrap();
    }
    store
}

fn put(key: &'static str, value: &'static str, lease: i64) -> Command {
    let (key, value) = (Bytes::from(key), Bytes::from(value));
    Command::Put(PutRequest { key, value, lease, ..PutRequest::default() })
}

fn delete(range: KeyRange) -> Command {
    Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

const FIRST: &[u8] =
    b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0\x0a\x03foo\x10\x02\x18\x02\x20\x01\x2a\x03bar";
const SECOND: &[u8] =
    b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0\x0a\x03foo\x10\x02\x18\x03\x20\x02\x2a\x04bar2";
/// With a lease, -1: ten bytes of a varint.
const LEASED: &[u8] = b"\0\0\0\0\0\0\0\x04_\0\0\0\0\0\0\0\0\x0a\x01l\x10\x04\x18\x04\x20\x01\
    \x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
const DELETED_FOO: &[u8] = b"\0\0\0\0\0\0\0\x05_\0\0\0\0\0\0\0\0t\x0a\x03foo";
const DELETED_L: &[u8] = b"\0\0\0\0\0\0\0\x05_\0\0\0\0\0\0\0\x01t\x0a\x01l";

fn history() -> Vec<Command> {
    vec![
        Command::LeaseGrant { id: -1, ttl: 60 },
        put("foo", "bar", 0),
        put("foo", "bar2", 0),
        put("l", "", -1),
        delete(KeyRange::prefix(Bytes::new())),
    ]
}

#[test]
fn the_hash_is_over_the_bytes_of_etcds_backend() {
    let state = store(&history()).read_state();
    let hash = |revision| state.hash_kv(revision).unwrap().hash;
    assert_eq!(hash(1), crc32c(b"key"));
    assert_eq!(hash(2), crc32c(&[b"key", FIRST].concat()));
    assert_eq!(hash(3), crc32c(&[b"key", FIRST, SECOND].concat()));
    assert_eq!(hash(4), crc32c(&[b"key", FIRST, SECOND, LEASED].concat()));
    let all = [b"key", FIRST, SECOND, LEASED, DELETED_FOO, DELETED_L].concat();
    assert_eq!(hash(5), crc32c(&all));
    assert_eq!(hash(0), hash(5), "0 is the newest");
}

#[test]
fn a_compaction_leaves_out_what_it_lets_go() {
    let compacted = |revision| {
        let mut commands = history();
        commands.push(Command::Compact { revision });
        store(&commands).read_state().hash_kv(0).unwrap().hash
    };
    let rest = [LEASED, DELETED_FOO, DELETED_L].concat();
    assert_eq!(compacted(2), crc32c(&[b"key", FIRST, SECOND, &rest].concat()));
    assert_eq!(compacted(3), crc32c(&[b"key", SECOND, &rest].concat()));
    assert_eq!(compacted(4), crc32c(&[b"key", SECOND, &rest].concat()));
    // Deletions exactly at the compacted revision are left out, though their rows stay.
    assert_eq!(compacted(5), crc32c(b"key"));
}

/// The numbers are those of etcd 3.5.1 after the same commands.
#[test]
fn what_is_compacted_counts_only_if_it_is_still_the_state() {
    let mut commands = vec![put("foo", "bar", 0), put("foo", "bar2", 0), put("foo", "bar3", 0)];
    commands.push(Command::Compact { revision: 3 });
    let hash = |commands: &[Command]| store(commands).read_state().hash_kv(0).unwrap().hash;
    // `bar2` is there, and can be read at revision 3, but is not what foo is at 4.
    assert_eq!(hash(&commands), 1_263_540_149);
    // Where nothing is left at all, everything counts.
    commands.push(delete(KeyRange::prefix(Bytes::new())));
    assert_eq!(hash(&commands), 612_014_665);
}
