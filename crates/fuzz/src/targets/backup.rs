//! What an etcd wrote, as it is imported.

use std::collections::BTreeMap;
use std::convert::Infallible;

use quorate_bolt::{Layout, Writer};
use quorate_mvcc::record::revision_key;
use quorate_mvcc::revision::Revision;
use quorate_server::fuzz::backup;

use super::snapshot::use_all;
use crate::Draw;
use crate::requests::KEYS;

/// The size of the pages of images whose checksums are made right, in bytes.
const PAGE: usize = 512;
/// The bytes of a meta, behind the head of its page.
const META: usize = 64;

/// What etcd has in its backend, by name.
const BUCKETS: [&[u8]; 7] =
    [b"alarm", b"auth", b"authRoles", b"authUsers", b"key", b"lease", b"meta"];

/// What stands in them under a name.
const FACTS: [&[u8]; 5] = [
    b"authEnabled",
    b"authRevision",
    b"consistent_index",
    b"finishedCompactRev",
    b"scheduledCompactRev",
];

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    match draw.byte() % 5 {
        0 => drop(backup::log(draw.rest(), 5)),
        1 => log(draw),
        2 => import(draw.rest()),
        3 => {
            let mut image = draw.rest().to_vec();
            sign(&mut image);
            import(&image);
        }
        _ => import(&built(draw)),
    }
}

fn import(image: &[u8]) {
    for bump in [0, 1000] {
        let Ok(mut store) = backup::import(image, bump) else { continue };
        // Names may be too long for a backup.
        if let Ok(saved) = backup::save(store.read_state()) {
            let again = backup::import(&saved, 0).expect("what was saved is imported");
            let hash = |store: &quorate_mvcc::Store| store.read_state().hash_kv(0);
            assert_eq!(hash(&again), hash(&store), "a backup has all that there is");
            assert_eq!(again.read_state().auth(), store.read_state().auth());
        }
        let _ = use_all(&mut store);
    }
}

/// An image whose pages are in order, and what is in them is not.
fn built(mut draw: Draw<'_>) -> Vec<u8> {
    let mut buckets: BTreeMap<&[u8], BTreeMap<Vec<u8>, Vec<u8>>> = BTreeMap::new();
    for needed in [&b"key"[..], b"meta"] {
        buckets.entry(needed).or_default();
    }
    while draw.more() {
        let name = draw.of(&BUCKETS);
        let choice = draw.byte();
        let (key, value) = match name {
            b"key" if choice & 1 == 0 => change(&mut draw),
            b"auth" | b"meta" if choice & 1 == 0 => {
                let value = if choice & 2 == 0 { vec![1] } else { draw.take(8).to_vec() };
                (draw.of(&FACTS).to_vec(), value)
            }
            _ => (draw.bytes().to_vec(), draw.bytes().to_vec()),
        };
        // bbolt has no empty keys, and no empty values here.
        if !key.is_empty() && !value.is_empty() {
            buckets.entry(name).or_default().insert(key, value);
        }
    }
    let write = |layout: Layout, sink: &mut dyn FnMut(&[u8]) -> Result<(), Infallible>| {
        let mut writer = Writer::begin(layout, sink)?;
        for (name, items) in &buckets {
            writer.bucket(name)?;
            for (key, value) in items {
                writer.put(key, value)?;
            }
        }
        writer.finish()
    };
    let Ok(layout) = write(Layout::default(), &mut |_| Ok(()));
    let mut image = Vec::new();
    let Ok(_) = write(layout, &mut |page| {
        image.extend_from_slice(page);
        Ok(())
    });
    image
}

/// A change of a key, as etcd writes it.
fn change(draw: &mut Draw<'_>) -> (Vec<u8>, Vec<u8>) {
    let flags = draw.byte();
    let (main, sub) = (i64::from(draw.byte()), i64::from(flags & 3));
    let mut key = revision_key(Revision { main, sub }).to_vec();
    let mut value = Vec::new();
    let mut field = |number: u8, content: &[u8]| {
        value.push(number << 3 | 2);
        value.push(content.len() as u8);
        value.extend_from_slice(content);
    };
    field(1, draw.of(&KEYS));
    if flags & 4 != 0 {
        key.push(b't');
        return (key, value);
    }
    field(5, draw.of(&[b"", b"x", b"y"]));
    for (number, given) in [(2, flags & 8), (3, flags & 16), (4, flags & 32), (6, flags & 64)] {
        // As it should be, or anything.
        let content = if given == 0 { main as u8 & 0x7f } else { draw.byte() & 0x7f };
        value.extend_from_slice(&[number << 3, content]);
    }
    (key, value)
}

/// Makes the checksums of the first two pages right.
fn sign(image: &mut [u8]) {
    for at in [16, PAGE + 16] {
        let Some(meta) = image.get_mut(at..at + META) else { return };
        let (covered, checksum) = meta.split_at_mut(META - 8);
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = covered.iter().fold(0xcbf2_9ce4_8422_2325, step);
        checksum.copy_from_slice(&hash.to_le_bytes());
    }
}

/// A log of records that have right lengths and checksums, each with a kind and with data.
fn log(mut draw: Draw<'_>) {
    let mut file = Vec::new();
    let mut crc = 0;
    let varint = |out: &mut Vec<u8>, mut number: u64| {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    };
    while draw.more() {
        let (kind, data) = (draw.byte() % 8, draw.bytes());
        if kind != 4 {
            crc = quorate_mvcc::hash::crc32c(crc, data);
        }
        let mut record = vec![0x08, kind, 0x10];
        varint(&mut record, crc.into());
        record.push(0x1a);
        varint(&mut record, data.len() as u64);
        record.extend_from_slice(data);
        let padding = record.len().next_multiple_of(8) - record.len();
        let mut frame = record.len() as u64;
        if padding > 0 {
            frame |= (0x80 | padding as u64) << 56;
        }
        file.extend_from_slice(&frame.to_le_bytes());
        file.extend_from_slice(&record);
        file.resize(file.len() + padding, 0);
    }
    drop(backup::log(&file, 5));
}
