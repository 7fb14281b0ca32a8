//! The two ways to lay out a put as rows, and how each is read back.

use crate::engine::{Engine, Row};

pub const META: usize = 29;

#[derive(Clone, Copy, PartialEq)]
pub enum Layout {
    /// History `revision -> key, meta, value`; index `key ++ !revision -> meta`.
    TwoTables,
    /// Index `key ++ !revision -> meta, value`; history `revision -> key`.
    ValuesByKey,
}

pub fn key(number: u64) -> Vec<u8> {
    let mut scrambled = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    scrambled = (scrambled ^ (scrambled >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    scrambled = (scrambled ^ (scrambled >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("key/{:016x}", scrambled ^ (scrambled >> 31)).into_bytes()
}

fn index_key(key: &[u8], revision: u64) -> Vec<u8> {
    let mut row = key.to_vec();
    row.extend_from_slice(&(!revision).to_be_bytes());
    row.extend_from_slice(&(!0u64).to_be_bytes());
    row
}

fn history_key(revision: u64) -> Vec<u8> {
    let mut row = revision.to_be_bytes().to_vec();
    row.extend_from_slice(&0u64.to_be_bytes());
    row
}

impl Layout {
    pub fn put(self, rows: &mut Vec<Row>, key: &[u8], revision: u64, value: &[u8]) {
        let meta = [7u8; META];
        match self {
            Self::TwoTables => {
                let whole = [key, &meta, value].concat();
                rows.push(Row { table: 0, key: history_key(revision), value: whole });
                rows.push(Row { table: 1, key: index_key(key, revision), value: meta.to_vec() });
            }
            Self::ValuesByKey => {
                let whole = [&meta, value].concat();
                rows.push(Row { table: 1, key: index_key(key, revision), value: whole });
                rows.push(Row { table: 0, key: history_key(revision), value: key.to_vec() });
            }
        }
    }

    /// The newest value of a key.
    pub fn latest(self, engine: &dyn Engine, key: &[u8]) -> Option<Vec<u8>> {
        let mut found = None;
        engine.scan(1, key, &mut |row, value| {
            if row.starts_with(key) {
                found = Some((row.to_vec(), value.to_vec()));
            }
            false
        });
        let (row, value) = found?;
        match self {
            Self::ValuesByKey => Some(value[META..].to_vec()),
            Self::TwoTables => engine.get(0, &history_key(revision_of(&row))),
        }
    }

    /// The newest version of `count` keys from `from` on; with or without their values.
    pub fn scan(self, engine: &dyn Engine, from: &[u8], count: usize, values: bool) -> usize {
        let mut current: Vec<u8> = Vec::new();
        let mut seen = 0;
        let mut bytes = 0;
        let mut wanted = Vec::new();
        engine.scan(1, from, &mut |row, value| {
            let (key, revision) = row.split_at(row.len() - 16);
            if key != current {
                if seen == count {
                    return false;
                }
                current.clear();
                current.extend_from_slice(key);
                seen += 1;
                match self {
                    Self::ValuesByKey => bytes += value.len(),
                    Self::TwoTables => wanted.push(revision.to_vec()),
                }
            }
            true
        });
        if values && self == Self::TwoTables {
            for revision in wanted {
                let row = history_key(revision_of(&revision));
                bytes += engine.get(0, &row).unwrap().len();
            }
        }
        std::hint::black_box(bytes);
        seen
    }
}

fn revision_of(row: &[u8]) -> u64 {
    let at = row.len() - 16;
    !u64::from_be_bytes(row[at..at + 8].try_into().unwrap())
}
