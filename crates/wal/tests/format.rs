//! The bytes of a small log, as `docs/wal.md` shows them. Logs that are on disks today must stay
//! readable: who changes a byte here changes the version of the format.

mod common;

use bytes::Bytes;
use common::{SMALL, hard_state, images, reopen, write};
use quorate_raft::{Entry, EntryId, GroupId, Membership, NodeId, Payload, Record};
use quorate_wal::MemDisk;

/// The bytes, eight in a group.
fn words(bytes: &[u8]) -> Vec<String> {
    let word = |word: &[u8]| word.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.chunks(8).map(word).collect()
}

#[test]
fn a_small_log_byte_by_byte() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    write(&mut wal, &[hard_state(7, 2, Some(3))]).unwrap();
    let entry = |index, payload| Entry { id: EntryId::new(2, index), payload };
    let entries =
        vec![entry(1, Payload::Noop), entry(2, Payload::Command(Bytes::from_static(b"put a")))];
    write(&mut wal, &[(GroupId(7), Record::Append(entries))]).unwrap();
    let [(1, bytes)] = &images(&disk)[..] else { panic!("there is one segment, of number 1") };
    let (head, rest) = bytes.split_at(144);
    let (vote, rest) = rest.split_at(128);
    let (append, rest) = rest.split_at(152);
    assert_eq!(words(head), HEAD);
    assert_eq!(words(vote), VOTE);
    assert_eq!(words(append), APPEND);
    assert!(rest.iter().all(|byte| *byte == 0));
}

/// Who belongs to the group lies in the log as a membership is written everywhere.
#[test]
fn a_membership_comes_back_as_it_was_written() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    let membership = Membership {
        about: [(NodeId(2), Bytes::from_static(b"here"))].into(),
        ..Membership::of_voters([1, 2, 3].map(NodeId))
    };
    let payload = Payload::Membership(membership.clone().into());
    let entries = vec![Entry { id: EntryId::new(2, 1), payload }];
    write(&mut wal, &[(GroupId(7), Record::Append(entries.clone()))]).unwrap();
    drop(wal);
    let [(1, bytes)] = &images(&disk)[..] else { panic!("there is one segment, of number 1") };
    let body = [&[2, 0, 0, 0][..], &(membership.encoded_bytes() as u32).to_le_bytes()].concat();
    let body = [body, membership.encode()].concat();
    assert_eq!(bytes[144 + 128..][..body.len()], body);
    let (_, groups) = reopen(&disk, SMALL);
    assert_eq!(groups[&GroupId(7)].entries, entries);
}

// Computed from the page, not printed by the log.
const HEAD: [&str; 18] = [
    "5157414c03010000",
    "0000000000000000",
    "0000000000000000",
    "0100000000000000",
    "0000000000000000",
    "1000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "c4dad342ed2b3347",
    "0100000000000000",
    "0000000000000000",
];
const VOTE: [&str; 16] = [
    "5157414c03030100",
    "0700000000000000",
    "0100000000000000",
    "0100000000000000",
    "9000000000000000",
    "00000000ed2b3347",
    "0200000000000000",
    "0300000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "000000005a655de0",
];
const APPEND: [&str; 19] = [
    "5157414c03040100",
    "0700000000000000",
    "0200000000000000",
    "0100000000000000",
    "1001000010010000",
    "150000005a655de0",
    "0200000000000000",
    "0300000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0200000000000000",
    "0200000000000000",
    "0100000000000000",
    "08b2e255d830a4b8",
    "0000000000000000",
    "0100000005000000",
    "7075742061000000",
];
