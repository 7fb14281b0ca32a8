//! What is written is read again, and what is damaged is refused.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use proptest::prelude::*;

use crate::format::{META_BYTES, Meta, fnv_1a};
use crate::{Bolt, Error, Layout, PAGE_SIZE, Writer};

type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// One pass over a content.
fn pass(content: &Content, layout: Layout, out: &mut Vec<u8>) -> Layout {
    let mut sink = |page: &[u8]| -> Result<(), Infallible> {
        out.extend_from_slice(page);
        Ok(())
    };
    let Ok(layout) = (|| {
        let mut writer = Writer::begin(layout, &mut sink)?;
        for (name, items) in content {
            writer.bucket(name)?;
            for (key, value) in items {
                writer.put(key, value)?;
            }
        }
        writer.finish()
    })();
    layout
}

fn written(content: &Content) -> Vec<u8> {
    let layout = pass(content, Layout::default(), &mut Vec::new());
    let mut bytes = Vec::new();
    assert_eq!(pass(content, layout, &mut bytes), layout);
    assert_eq!(layout.bytes(), bytes.len() as u64);
    bytes
}

/// All buckets of a file, those in buckets under the names of both.
fn read(bytes: &[u8]) -> Result<Content, Error> {
    let bolt = Bolt::open(bytes)?;
    assert!(bolt.used_bytes() <= bytes.len() as u64);
    let mut content = Content::new();
    let mut rest = Vec::new();
    let mut buckets = bolt.buckets()?;
    while let Some(item) = buckets.next()? {
        rest.push((item.key.clone(), item.bucket()?));
    }
    // A file that lies may have buckets in buckets for ever.
    let mut left = 1000;
    while let Some((name, bucket)) = rest.pop() {
        let mut items = bolt.items(&bucket)?;
        let mut read = BTreeMap::new();
        while let Some(item) = items.next()? {
            left -= 1;
            if item.is_bucket && left > 0 {
                rest.push(([&name[..], b"/", &item.key].concat(), item.bucket()?));
            } else {
                read.insert(item.key, item.value);
            }
        }
        content.insert(name, read);
    }
    Ok(content)
}

fn small() -> Content {
    let items = |count: u32, length: usize| {
        (0..count).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; length])).collect()
    };
    Content::from([
        (b"empty".to_vec(), BTreeMap::new()),
        (b"large".to_vec(), items(3, 3 * PAGE_SIZE)),
        (b"long".to_vec(), items(2000, 40)),
        (b"one".to_vec(), items(1, 0)),
    ])
}

#[test]
fn what_is_written_is_read() {
    let bytes = written(&small());
    assert_eq!(bytes.len() % PAGE_SIZE, 0);
    assert_eq!(read(&bytes), Ok(small()));
    let bolt = Bolt::open(&bytes[..]).expect("sound");
    assert!(bolt.bucket(b"none").expect("read").is_none());
    assert!(bolt.bucket(b"long").expect("read").is_some());
    assert_eq!(read(&written(&Content::new())), Ok(Content::new()));
}

/// Every page is in a tree, once: what `bbolt check` demands.
#[test]
fn no_page_is_left_over_and_branches_lead_to_two_at_least() {
    for key_bytes in [4, 1500, 4200] {
        let items = |count: u32| {
            let key = |n: u32| [&n.to_be_bytes()[..], &vec![0; key_bytes]].concat();
            (0..count).map(|n| (key(n), vec![7; 100])).collect::<BTreeMap<_, _>>()
        };
        for count in [1, 2, 3, 4, 5, 7, 9, 30, 500] {
            let content = Content::from([(b"b".to_vec(), items(count))]);
            let bytes = written(&content);
            assert_eq!(read(&bytes), Ok(content));
            let pages = bytes.chunks(PAGE_SIZE);
            let mut children = 0;
            let (mut in_trees, mut at) = (0, 3);
            while at < pages.len() {
                let header = crate::format::Header::parse(&bytes[at * PAGE_SIZE..]).expect("long");
                assert_eq!(header.id, at as u64);
                if header.kind == crate::format::BRANCH {
                    assert!(header.count >= 2, "{count} keys of {key_bytes} bytes");
                    children += usize::from(header.count);
                }
                in_trees += 1;
                at += 1 + header.overflow as usize;
            }
            // Two trees begin without somebody who leads there: the bucket's, and that of the buckets.
            assert_eq!(children + 2, in_trees, "{count} keys of {key_bytes} bytes");
        }
    }
}

#[test]
fn the_checksum_is_that_of_the_format() {
    assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn one_meta_is_enough_and_the_newer_one_counts() {
    let sound = written(&small());
    for at in [0, PAGE_SIZE] {
        let mut bytes = sound.clone();
        bytes[at + 40] ^= 1;
        assert_eq!(read(&bytes), Ok(small()), "the meta at {at} is damaged");
        bytes[PAGE_SIZE - at + 40] ^= 1;
        assert!(matches!(read(&bytes), Err(Error::Damaged(_))), "both are");
    }
    // An older one that leads elsewhere.
    let mut bytes = sound;
    let mut meta = Meta::parse(&bytes).expect("sound");
    meta.root = 77;
    let mut out = Vec::new();
    meta.write(&mut out);
    bytes[16..16 + META_BYTES].copy_from_slice(&out);
    assert_eq!(read(&bytes), Ok(small()));
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let bytes = written(&small());
    for length in [0, 1, 79, 80, PAGE_SIZE, 5 * PAGE_SIZE, bytes.len() - 1] {
        assert!(matches!(read(&bytes[..length]), Err(Error::Damaged(_))), "{length} bytes");
    }
}

/// A bucket of a few keys, whose tree is made to lead into itself.
#[test]
fn a_tree_that_leads_into_itself_ends() {
    let mut bytes = written(&small());
    let count = bytes.len() / PAGE_SIZE;
    let is_branch = |page: &usize| {
        let header = crate::format::Header::parse(&bytes[page * PAGE_SIZE..]).expect("long");
        header.id == *page as u64 && header.kind == crate::format::BRANCH
    };
    let branch = (3..count).find(is_branch).expect("there is one");
    let element = branch * PAGE_SIZE + 16 + 8;
    bytes[element..element + 8].copy_from_slice(&(branch as u64).to_le_bytes());
    assert!(matches!(read(&bytes), Err(Error::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_written_is_read(
        content in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..40),
            prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 1..60),
                prop_oneof![
                    8 => prop::collection::vec(any::<u8>(), 0..200),
                    1 => prop::collection::vec(any::<u8>(), 4000..20_000),
                ],
                0..60,
            ),
            0..8,
        )
    ) {
        prop_assert_eq!(read(&written(&content)), Ok(content));
    }

    #[test]
    fn damage_is_told_or_does_not_show(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        near in any::<bool>(),
    ) {
        let mut bytes = written(&small());
        for (at, value) in flips {
            // Most of what counts lies at the beginning of a page.
            let at = if near {
                let at = at.index(bytes.len() / PAGE_SIZE * 64);
                at / 64 * PAGE_SIZE + at % 64
            } else {
                at.index(bytes.len())
            };
            bytes[at] = value;
        }
        // What it says does not matter: it ends, and says something.
        let _ = read(&bytes);
    }
}

/// Saved by etcdctl 3.5.1: seven changes of four keys, one compaction, a lease, two users, a role.
const OF_ETCD: &[u8] = include_bytes!("../fixtures/etcd-3.5.1.snapshot");

#[test]
fn a_file_of_etcd_is_read() {
    // Behind it stands its hash.
    let content = read(&OF_ETCD[..OF_ETCD.len() - 32]).expect("sound");
    let names = content.keys().map(Vec::as_slice);
    assert!(names.eq([
        &b"alarm"[..],
        b"auth",
        b"authRoles",
        b"authUsers",
        b"cluster",
        b"key",
        b"lease",
        b"members",
        b"members_removed",
        b"meta",
    ]));
    assert_eq!(content[&b"lease"[..]].len(), 1);
    let users = content[&b"authUsers"[..]].keys().map(Vec::as_slice);
    assert!(users.eq([&b"joe"[..], b"root"]));
    assert!(content[&b"key"[..]].values().any(|value| value.len() > PAGE_SIZE));
}
