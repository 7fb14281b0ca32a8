//! What goes out comes in again, what etcd wrote comes in, and what is damaged or not complete does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use quorate_bolt::Layout;
use quorate_mvcc::hash::crc32c;
use quorate_mvcc::{KeyRange, RangeRequest, ReadState, Store};
use quorate_node::Machine as _;
use quorate_raft::Membership;
use quorate_store::{DiskEngine, Options};
use sha2::{Digest as _, Sha256};

use super::image::{Image, ImageError};
use super::messages::{Entry, WalRecord, WalSnapshot};
use super::restore::{Wishes, refuse_unfinished, restore};
use super::save::SnapshotFile;
use super::status::status;
use super::tail;
use crate::identity::{Identity, STORE};

/// Saved by etcdctl 3.5.1: what it holds is told where it is tested.
fn of_etcd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bolt/fixtures/etcd-3.5.1.snapshot")
}

/// Restores, and says what was said.
fn restored(from: &Path, data_dir: &Path, wishes: &Wishes) -> Result<String, String> {
    let mut said = String::new();
    restore(from, data_dir, wishes, &mut |text| said.push_str(text)).map(|()| said)
}

fn open(data_dir: &Path) -> Store {
    let engine = DiskEngine::open(&data_dir.join(STORE), Options::default()).expect("a store");
    Store::open(Box::new(engine)).expect("a store")
}

fn image_of(state: &ReadState) -> Vec<u8> {
    let image = Image { state: state.clone(), members: Vec::new() };
    let layout = image.write(Layout::default(), &mut |_| Ok(())).expect("written");
    let mut bytes = Vec::new();
    let again = image.write(layout, &mut |page| {
        bytes.extend_from_slice(page);
        Ok::<_, ImageError>(())
    });
    assert_eq!(again.expect("written"), layout);
    let hash = Sha256::digest(&bytes);
    [&bytes, &hash[..]].concat()
}

fn all(revision: i64) -> RangeRequest {
    RangeRequest { revision, ..RangeRequest::new(KeyRange::From(Bytes::from_static(b"\0"))) }
}

#[test]
fn what_etcd_saved_is_a_member_here() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("member");
    let said = restored(&of_etcd(), &data_dir, &Wishes::default()).expect("restored");
    assert!(said.contains("8 changes of keys and 1 leases are in"), "{said}");
    assert!(said.contains("at revision 10, compacted up to 4"), "{said}");
    let identity = Identity::load(&data_dir).expect("sound").expect("there is one");
    assert!(!identity.founding && identity.rejoining.is_none());

    let store = open(&data_dir);
    let membership = Membership::decode(&store.membership().expect("there is one"));
    assert_eq!(membership.expect("sound").voters.len(), 1);
    let state = store.read_state();
    let values = |revision: i64| {
        let found = state.range(&all(revision)).expect("read").kvs.into_iter();
        found.map(|kv| (kv.key, kv.value.len(), kv.version)).collect::<Vec<_>>()
    };
    let row = |key: &'static str, length, version| (Bytes::from(key), length, version);
    assert_eq!(values(0), [row("a", 1, 1), row("b", 1, 2), row("d", 6, 1)]);
    assert_eq!(values(7), [row("a", 1, 1), row("b", 1, 1), row("c", 5000, 1)]);
    assert!(state.range(&all(3)).is_err(), "it was compacted");
    let leases = state.leases().expect("read");
    assert_eq!((leases.len(), leases[0].ttl), (1, 600));
    assert_eq!(state.lease_keys(leases[0].id).expect("read"), ["d"]);
    let auth = state.auth();
    assert!(auth.is_enabled());
    assert!(auth.users().eq(["joe", "root"]) && auth.roles().eq(["reader"]));
    let hash = &auth.user("joe").and_then(|user| user.password.as_ref()).expect("he has one").0;
    assert!(bcrypt::verify("secret", str::from_utf8(hash).expect("text")).expect("compared"));
}

/// The hash is what `etcdutl snapshot status` 3.5.1 says of that file.
#[test]
fn the_status_is_what_etcdutl_says() {
    let found = status(&of_etcd(), false).expect("sound");
    assert_eq!((found.hash, found.revision), (1_846_088_287, 10));
    assert_eq!((found.total_keys, found.total_bytes), (21, 49_152));
    assert!(found.foreign_passwords.is_empty());
}

#[test]
fn what_goes_out_comes_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    restored(&of_etcd(), &first, &Wishes::default()).expect("restored");
    let store = open(&first);
    let file = directory.path().join("file");
    fs::write(&file, image_of(&store.read_state())).expect("written");
    restored(&file, &second, &Wishes::default()).expect("restored");
    let other = open(&second);
    let (one, two) = (store.read_state(), other.read_state());
    assert_eq!((one.revision(), one.compacted()), (two.revision(), two.compacted()));
    assert_eq!(one.auth().users().collect::<Vec<_>>(), two.auth().users().collect::<Vec<_>>());
    assert_eq!(one.leases(), two.leases());
    for revision in 4..=10 {
        assert_eq!(one.range(&all(revision)), two.range(&all(revision)));
        assert_eq!(one.history(revision, 100), two.history(revision, 100));
        assert_eq!(one.hash_kv(revision), two.hash_kv(revision));
    }
    // Of nothing there is a file too; and one that only knows a revision remembers it.
    let third = directory.path().join("third");
    restored(&file, &third, &Wishes { bump: 1000, ..Wishes::default() }).expect("restored");
    let third = open(&third);
    fs::write(&file, image_of(&third.read_state())).expect("written");
    let fourth = directory.path().join("fourth");
    restored(&file, &fourth, &Wishes::default()).expect("restored");
    let fourth = open(&fourth).read_state();
    assert_eq!((fourth.revision(), fourth.compacted()), (1010, 1010));
}

#[test]
fn members_of_one_file_are_one_cluster_and_others_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let of = |place: &str, name: &str, bump| {
        let wishes = Wishes {
            name: Some(name.into()),
            initial_cluster: Some("a=http://h:1,b=http://h:2".into()),
            initial_advertise_peer_urls: Some(
                if name == "a" { "http://h:1" } else { "http://h:2" }.into(),
            ),
            bump,
            ..Wishes::default()
        };
        let data_dir = directory.path().join(place);
        restored(&of_etcd(), &data_dir, &wishes).expect("restored");
        let identity = Identity::load(&data_dir).expect("sound").expect("there is one");
        (identity.cluster_id, identity.member_id, open(&data_dir).fingerprint())
    };
    let (a, b, other) = (of("1", "a", 10), of("2", "b", 10), of("3", "a", 11));
    assert_eq!((a.0, a.2), (b.0, b.2));
    assert_ne!(a.1, b.1);
    assert_ne!(a.0, other.0, "its revision moved by something else");
}

#[test]
fn what_is_not_whole_or_makes_no_sense_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("member");
    let file = directory.path().join("file");
    let sound = fs::read(of_etcd()).expect("read");
    let refused = |bytes: &[u8], wishes: &Wishes, why: &str| {
        fs::write(&file, bytes).expect("written");
        let refused = restored(&file, &data_dir, wishes).expect_err(why);
        assert!(refused.contains(why), "{refused}");
        let left = fs::read_dir(&data_dir).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{refused}");
    };
    let wishes = Wishes::default();
    let trusting = Wishes { skip_hash_check: true, ..wishes.clone() };
    let mut flipped = sound.clone();
    flipped[20_000] ^= 1;
    refused(&flipped, &wishes, "the hash behind it is another");
    refused(&sound[..sound.len() - 32], &wishes, "there is no hash behind it");
    refused(&sound[..40_960], &trusting, "and is 40960 bytes long");
    refused(&[0; 512], &trusting, "no page says where it begins");
    refused(b"", &trusting, "no page says where it begins");
    let far = Wishes { bump: i64::MAX, ..wishes.clone() };
    refused(&sound, &far, "revision 10 moves by 0 to");
    let stranger = Wishes { name: Some("b".into()), ..wishes.clone() };
    let with_cluster = Wishes { initial_cluster: Some("a=http://h:1".into()), ..stranger };
    refused(&sound, &with_cluster, "couldn't find local name \"b\"");

    fs::create_dir_all(data_dir.join("mine")).expect("created");
    let why = restored(&of_etcd(), &data_dir, &wishes).expect_err("it has something");
    assert!(why.contains("is not empty"), "{why}");
    let nothing = restored(directory.path(), &data_dir.join("m"), &wishes).expect_err("no etcd");
    assert!(nothing.contains("is no data directory of etcd"), "{nothing}");
}

#[test]
fn one_that_was_cut_off_starts_nothing_and_is_done_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path();
    restored(&of_etcd(), data_dir, &Wishes::default()).expect("restored");
    refuse_unfinished(data_dir).expect("it is finished");
    let done = Identity::load(data_dir).expect("sound");
    // All is there, but for the end.
    fs::write(data_dir.join("restore-unfinished"), "").expect("written");
    let why = Identity::load(data_dir).expect_err("it may not be complete");
    assert!(why.contains("give the command again"), "{why}");
    restored(&of_etcd(), data_dir, &Wishes::default()).expect("restored");
    assert_eq!(Identity::load(data_dir).expect("sound"), done);
}

#[test]
fn a_file_that_is_saved_is_there_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let sound = fs::read(of_etcd()).expect("read");
    let save = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut file = SnapshotFile::create(&path).expect("created");
        pieces.for_each(|piece| file.write(piece).expect("written"));
        file.finish()
    };
    assert!(
        save(&mut sound[..sound.len() - 1].chunks(1000)).is_err_and(|why| why.contains("not all"))
    );
    let mut flipped = sound.clone();
    flipped[7] ^= 1;
    assert!(save(&mut flipped.chunks(1000)).is_err_and(|why| why.contains("damaged")));
    assert!(save(&mut std::iter::empty()).is_err());
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
    for piece in [1000, 7, 1 << 20] {
        assert_eq!(save(&mut sound.chunks(piece)), Ok(sound.len() as u64));
        assert!(fs::read(&path).expect("read") == sound);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "all that is in the store is nobody else's business");
    }
}

/// A log of etcd.
struct Log {
    bytes: Vec<u8>,
    crc: u32,
}

impl Log {
    fn new(crc: u32) -> Self {
        let mut log = Self { bytes: Vec::new(), crc };
        log.frame(&WalRecord { kind: 4, crc, data: Vec::new() });
        log
    }

    fn frame(&mut self, record: &WalRecord) {
        let record = record.encode_to_vec();
        let padding = (8 - record.len() % 8) % 8;
        let mark = if padding == 0 { 0 } else { (0x80 | padding as u64) << 56 };
        self.bytes.extend_from_slice(&(record.len() as u64 | mark).to_le_bytes());
        self.bytes.extend_from_slice(&record);
        self.bytes.resize(self.bytes.len() + padding, 0);
    }

    fn add(&mut self, kind: i64, data: Vec<u8>) {
        self.crc = crc32c(self.crc, &data);
        self.frame(&WalRecord { kind, crc: self.crc, data });
    }

    fn entry(&mut self, index: u64, data: &[u8]) {
        self.add(2, Entry { kind: 0, index, data: data.to_vec() }.encode_to_vec());
    }
}

/// A request to put something, one of a member that tells its version, and one that tells its name in the old way.
const PUT: &[u8] = b"\x1a\x00\x22\x03\x0a\x01k";
const VERSION: &[u8] = b"\xa2\x06\x02\x08\x07\xa2\x51\x07\x0a\x053.5.0";
const NAME: &[u8] = b"\x08\x07\x12\x03PUT\x1a\x02/x\x22\x01v\x28\x00";

#[test]
fn what_only_the_log_has_is_not_lost_in_silence() {
    let directory = tempfile::tempdir().expect("a directory");
    let wal = directory.path();
    let write = |first: u64, number: u64, log: &Log| {
        let mut bytes = log.bytes.clone();
        bytes.resize(bytes.len() + 4096, 0);
        fs::write(wal.join(format!("{number:016x}-{first:016x}.wal")), bytes).expect("written");
    };
    let refused = |applied: u64, why: &str| {
        let refused = tail::check(wal, applied).expect_err(why);
        assert!(refused.contains(why), "{refused}");
    };
    refused(1, "there is no log");
    let mut log = Log::new(0);
    log.add(5, WalSnapshot { index: 0 }.encode_to_vec());
    log.entry(1, NAME);
    log.entry(2, PUT);
    write(0, 0, &log);
    tail::check(wal, 2).expect("the backend has all");
    refused(1, "1 requests up to entry 2");
    refused(0, "1 requests up to entry 2");

    // It goes on in another file.
    let mut next = Log::new(log.crc);
    next.entry(3, b"");
    next.entry(4, VERSION);
    next.add(2, Entry { kind: 1, index: 5, data: PUT.to_vec() }.encode_to_vec());
    write(3, 1, &next);
    tail::check(wal, 2).expect("nothing of it matters");
    refused(1, "1 requests up to entry 5");
    next.entry(6, PUT);
    next.entry(7, PUT);
    write(3, 1, &next);
    refused(5, "2 requests up to entry 7");
    next.entry(6, b"");
    write(3, 1, &next);
    tail::check(wal, 5).expect("another leader took their place");
    next.add(5, WalSnapshot { index: 9 }.encode_to_vec());
    write(3, 1, &next);
    refused(6, "older than the last snapshot");

    let in_data = next.bytes.windows(PUT.len()).position(|bytes| bytes == PUT);
    for at in [10, 20, in_data.expect("there is one")] {
        let mut damaged = Log { bytes: next.bytes.clone(), crc: 0 };
        damaged.bytes[at] ^= 1;
        write(3, 1, &damaged);
        refused(9, "damaged");
    }
    fs::remove_file(wal.join("0000000000000000-0000000000000000.wal")).expect("removed");
    refused(1, "there is no log");
}
