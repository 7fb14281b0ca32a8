//! The tests that every engine must pass. Each takes a maker of new, empty engines.
//!
//! They assert; an engine's own tests call [`all`], and test durability across a real reopening by
//! themselves, as only they know how to reopen.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use quorate_raft::EntryId;

use super::{ALL_KEYS, Engine, KeyBounds, ROW_KEY_BYTES_MAX, Reader, Table};

/// Runs every test of the suite.
pub fn all(make: &mut dyn FnMut() -> Box<dyn Engine>) {
    what_is_written_is_read(&mut *make());
    tables_are_apart(&mut *make());
    keys_may_be_long(&mut *make());
    scans_keep_their_bounds(&mut *make());
    scans_run_from_both_ends(&mut *make());
    the_writer_scans_what_it_wrote(&mut *make());
    the_row_written_last_is_the_first(&mut *make());
    a_batch_becomes_visible_as_a_whole(&mut *make());
    a_view_is_frozen(&mut *make());
    positions_follow_commit_and_flush(&mut *make());
    a_new_content_replaces_the_old(&mut *make());
    a_new_content_may_be_given_up(&mut *make());
    a_row_out_of_order_is_refused(&mut *make());
    random_batches_match_a_model(&mut *make());
}

fn rows(reader: &dyn Reader, table: Table, bounds: KeyBounds<'_>) -> Vec<(Bytes, Bytes)> {
    reader.scan(table, bounds).collect::<Result<_, _>>().expect("the engine reads")
}

fn keys(reader: &dyn Reader, bounds: KeyBounds<'_>) -> Vec<Bytes> {
    rows(reader, Table::Key, bounds).into_iter().map(|(key, _)| key).collect()
}

fn put(engine: &mut dyn Engine, key: &str, value: &str) {
    engine.put(Table::Key, key.as_bytes(), value.as_bytes()).expect("the engine writes");
}

fn get(reader: &dyn Reader, key: &str) -> Option<Bytes> {
    reader.get(Table::Key, key.as_bytes()).expect("the engine reads")
}

fn commit(engine: &mut dyn Engine, index: u64) {
    engine.commit(EntryId::new(1, index)).expect("the engine commits");
}

/// A row is read as written, replaced by a later write, and gone after a delete; a delete of what
/// is not there does nothing.
pub fn what_is_written_is_read(engine: &mut dyn Engine) {
    assert_eq!(get(engine, "a"), None);
    put(engine, "a", "1");
    assert_eq!(get(engine, "a").as_deref(), Some(&b"1"[..]), "the writer sees its own write");
    put(engine, "a", "2");
    put(engine, "", "empty key");
    put(engine, "b", "");
    commit(engine, 1);
    assert_eq!(get(engine, "a").as_deref(), Some(&b"2"[..]));
    assert_eq!(get(engine, "").as_deref(), Some(&b"empty key"[..]));
    assert_eq!(get(engine, "b").as_deref(), Some(&b""[..]), "an empty value is a value");
    engine.delete(Table::Key, b"a").expect("the engine deletes");
    engine.delete(Table::Key, b"never there").expect("the engine deletes");
    assert_eq!(get(engine, "a"), None, "the writer sees its own delete");
    commit(engine, 2);
    assert_eq!(get(engine, "a"), None);
    put(engine, "a", "3");
    commit(engine, 3);
    assert_eq!(get(engine, "a").as_deref(), Some(&b"3"[..]), "a key can come back");
}

/// The same key in two tables is two rows, and a scan of one never runs into the next.
pub fn tables_are_apart(engine: &mut dyn Engine) {
    for table in Table::ALL {
        for key in [&b""[..], b"k", b"\xff\xff\xff"] {
            engine.put(table, key, &[table as u8]).expect("the engine writes");
        }
    }
    commit(engine, 1);
    for table in Table::ALL {
        let rows = rows(engine, table, ALL_KEYS);
        assert_eq!(rows.len(), 3, "{table:?}");
        assert!(rows.iter().all(|(_, value)| **value == [table as u8]), "{table:?}: {rows:?}");
        assert_eq!(Table::try_from(table as u8), Ok(table));
    }
}

/// The longest key is kept, and longer ones can be asked for.
pub fn keys_may_be_long(engine: &mut dyn Engine) {
    let longest = [b'k'; ROW_KEY_BYTES_MAX];
    let longer = [b'k'; ROW_KEY_BYTES_MAX + 1];
    engine.put(Table::Key, &longest, b"long").expect("the engine writes");
    engine.put(Table::Key, b"l", b"short").expect("the engine writes");
    commit(engine, 1);
    engine.flush().expect("the engine flushes");
    let found = |key: &[u8]| engine.get(Table::Key, key).expect("the engine reads");
    assert_eq!(found(&longest).as_deref(), Some(&b"long"[..]));
    assert_eq!(found(&longer), None);
    assert_eq!(keys(engine, (Included(&longer), Unbounded)), [&b"l"[..]]);
    assert_eq!(keys(engine, (Excluded(&longer), Unbounded)), [&b"l"[..]]);
    for up_to in [Included(&longer[..]), Excluded(&longer)] {
        assert_eq!(keys(engine, (Unbounded, up_to)), [&longest[..]]);
    }
}

/// Included, excluded, open and crossed bounds, bytewise order.
pub fn scans_keep_their_bounds(engine: &mut dyn Engine) {
    for key in ["a", "a\0", "b", "c", "d\u{7f}"] {
        put(engine, key, "");
    }
    engine.put(Table::Key, b"\xff", b"").expect("the engine writes");
    commit(engine, 1);
    let view = engine.view();
    for reader in [engine as &dyn Reader, &*view] {
        let all: [&[u8]; 6] = [b"a", b"a\0", b"b", b"c", b"d\x7f", b"\xff"];
        assert_eq!(keys(reader, ALL_KEYS), all);
        assert_eq!(keys(reader, (Included(b"a"), Excluded(b"b"))), all[0..2]);
        assert_eq!(keys(reader, (Excluded(b"a"), Included(b"b"))), all[1..3]);
        assert_eq!(keys(reader, (Included(b"bb"), Unbounded)), all[3..]);
        assert_eq!(keys(reader, (Unbounded, Excluded(b"a\0"))), all[..1]);
        assert_eq!(keys(reader, (Included(b"c"), Included(b"c"))), all[3..4]);
        for crossed in [
            (Included(&b"c"[..]), Excluded(&b"c"[..])),
            (Excluded(b"c"), Excluded(b"c")),
            (Excluded(b"c"), Included(b"c")),
            (Included(b"d"), Included(b"a")),
            (Excluded(b"d"), Excluded(b"a")),
        ] {
            assert!(keys(reader, crossed).is_empty(), "{crossed:?}");
        }
    }
}

/// Forwards, backwards, and from both ends until they meet.
pub fn scans_run_from_both_ends(engine: &mut dyn Engine) {
    for number in 0..100 {
        put(engine, &format!("{number:02}"), "");
        if number == 50 {
            commit(engine, 1);
        }
    }
    engine.delete(Table::Key, b"07").expect("the engine deletes");
    for committed in [false, true] {
        if committed {
            commit(engine, 2);
        }
        let forwards = keys(engine, ALL_KEYS);
        assert_eq!(forwards.len(), 99);
        assert!(forwards.is_sorted());
        let backwards = engine.scan(Table::Key, ALL_KEYS).rev();
        let mut backwards: Vec<Bytes> =
            backwards.map(|row| row.expect("the engine reads").0).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);

        let mut scan = engine.scan(Table::Key, (Included(b"05"), Excluded(b"10")));
        let mut met = Vec::new();
        while let Some(row) = scan.next() {
            met.push(row.expect("the engine reads").0);
            met.extend(scan.next_back().map(|row| row.expect("the engine reads").0));
        }
        assert_eq!(met, [&b"05"[..], b"09", b"06", b"08"]);
    }
}

/// A scan through the writer merges what is committed with what is not.
pub fn the_writer_scans_what_it_wrote(engine: &mut dyn Engine) {
    for key in ["a", "c", "e"] {
        put(engine, key, "old");
    }
    commit(engine, 1);
    put(engine, "b", "new");
    put(engine, "c", "new");
    engine.delete(Table::Key, b"e").expect("the engine deletes");
    let seen = rows(engine, Table::Key, ALL_KEYS);
    let expected: [(&[u8], &[u8]); 3] = [(b"a", b"old"), (b"b", b"new"), (b"c", b"new")];
    assert!(seen.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected), "{seen:?}");
}

/// Where rows descend, the newest is what a scan gives first, wherever it lies, also when some were
/// removed since and in a state of the past.
pub fn the_row_written_last_is_the_first(engine: &mut dyn Engine) {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut views = Vec::new();
    let compare = |reader: &dyn Reader| {
        let mut found = 0;
        for key in 0..12 {
            let (from, to) = (format!("{key:02}"), format!("{:02}", key + 1));
            let bounds = (Included(from.as_bytes()), Excluded(to.as_bytes()));
            let newest = reader.newest(Table::Key, bounds).expect("the engine reads");
            assert_eq!(newest, rows(reader, Table::Key, bounds).first().cloned(), "key {key}");
            found += usize::from(newest.is_some());
        }
        found
    };
    let mut found = 0;
    for index in 1..400 {
        for _ in 0..random.below(4) {
            let key = random.below(10);
            put(engine, &format!("{key:02} {:04}", 1000 - index), &format!("{index}"));
        }
        if random.below(3) == 0 {
            // What history forgets: any row, from the front in a run, or in the middle.
            let key = random.below(10);
            let prefix = format!("{key:02}");
            let there = rows(engine, Table::Key, (Included(prefix.as_bytes()), Unbounded));
            let skipped = random.below(3) as usize;
            for (row, _) in there.iter().skip(skipped).take(random.below(9) as usize) {
                engine.delete(Table::Key, row).expect("the engine deletes");
            }
        }
        found += compare(engine);
        commit(engine, index);
        match index % 20 {
            3 | 9 => engine.flush().expect("the engine flushes"),
            5 | 15 => views.push(engine.view()),
            _ => {}
        }
    }
    assert!(found > 1000, "{found} rows were found");
    for view in views {
        compare(&*view);
    }
}

/// Views see nothing of a batch before its commit, and all of it after.
pub fn a_batch_becomes_visible_as_a_whole(engine: &mut dyn Engine) {
    put(engine, "a", "1");
    engine.put(Table::Meta, b"m", b"1").expect("the engine writes");
    assert_eq!(get(&*engine.view(), "a"), None);
    commit(engine, 1);
    let view = engine.view();
    assert_eq!(get(&*view, "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(view.get(Table::Meta, b"m").expect("it reads").as_deref(), Some(&b"1"[..]));
    engine.delete(Table::Key, b"a").expect("the engine deletes");
    assert!(get(&*engine.view(), "a").is_some());
    commit(engine, 2);
    assert!(get(&*engine.view(), "a").is_none());
}

/// A view never changes, whatever is written, flushed or replaced after it was taken.
pub fn a_view_is_frozen(engine: &mut dyn Engine) {
    put(engine, "a", "1");
    put(engine, "b", "1");
    commit(engine, 1);
    let view = engine.view();
    let before = rows(&*view, Table::Key, ALL_KEYS);
    for index in 2..50 {
        put(engine, "a", &format!("{index}"));
        put(engine, &format!("new {index}"), "");
        engine.delete(Table::Key, b"b").expect("the engine deletes");
        commit(engine, index);
        if index % 10 == 0 {
            engine.flush().expect("the engine flushes");
        }
    }
    assert_eq!(rows(&*view, Table::Key, ALL_KEYS), before);
    assert_eq!(get(&*view, "a").as_deref(), Some(&b"1"[..]));
    engine.replace_begin().expect("a replacement begins");
    engine.replace_finish(EntryId::new(2, 60)).expect("a replacement ends");
    assert_eq!(rows(&*view, Table::Key, ALL_KEYS), before);
    assert!(keys(engine, ALL_KEYS).is_empty());
}

/// `durable` never passes `applied`, and reaches it with a flush.
pub fn positions_follow_commit_and_flush(engine: &mut dyn Engine) {
    assert_eq!(engine.applied(), EntryId::ZERO);
    assert_eq!(engine.durable(), EntryId::ZERO);
    let mut durable = EntryId::ZERO;
    for index in 1..20 {
        put(engine, "a", &format!("{index}"));
        let id = EntryId::new(index / 5 + 1, index);
        engine.commit(id).expect("the engine commits");
        assert_eq!(engine.applied(), id);
        assert!(engine.durable() <= id, "{} is not committed yet", engine.durable());
        assert!(engine.durable() >= durable, "what was durable stays so");
        durable = engine.durable();
    }
    engine.flush().expect("the engine flushes");
    assert_eq!(engine.durable(), EntryId::new(4, 19));
    engine.commit(EntryId::new(5, 25)).expect("a batch may be empty");
    assert_eq!(engine.applied(), EntryId::new(5, 25));
    engine.flush().expect("the engine flushes");
    assert_eq!(engine.durable(), EntryId::new(5, 25));
}

/// The old content serves until the new one is finished, and nothing of it is left then, nor of a
/// batch that was not committed.
pub fn a_new_content_replaces_the_old(engine: &mut dyn Engine) {
    put(engine, "old", "1");
    engine.put(Table::LeaseKey, b"old", b"1").expect("the engine writes");
    commit(engine, 1);
    engine.replace_begin().expect("a replacement begins");
    engine.replace_put(Table::Meta, b"m", b"1").expect("a row is taken");
    for number in 0..500 {
        let key = format!("{number:03}");
        engine.replace_put(Table::Key, key.as_bytes(), b"new").expect("a row is taken");
    }
    engine.replace_put(Table::Lease, b"0", b"l").expect("a later table begins anew");
    assert_eq!(keys(engine, ALL_KEYS), [&b"old"[..]], "the old content serves");
    put(engine, "not committed", "");
    engine.replace_finish(EntryId::new(3, 77)).expect("a replacement ends");
    assert_eq!((engine.applied(), engine.durable()), (EntryId::new(3, 77), EntryId::new(3, 77)));
    let view = engine.view();
    for reader in [engine as &dyn Reader, &*view] {
        assert_eq!(keys(reader, ALL_KEYS).len(), 500);
        assert_eq!(get(reader, "old"), None);
        assert_eq!(get(reader, "not committed"), None);
        assert!(rows(reader, Table::LeaseKey, ALL_KEYS).is_empty());
        assert_eq!(rows(reader, Table::Lease, ALL_KEYS).len(), 1);
    }
    put(engine, "after", "1");
    engine.commit(EntryId::new(3, 78)).expect("the engine commits");
    assert_eq!(keys(&*engine.view(), ALL_KEYS).len(), 501);
}

/// One that is begun anew holds nothing of the one before.
pub fn a_new_content_may_be_given_up(engine: &mut dyn Engine) {
    put(engine, "old", "1");
    commit(engine, 1);
    engine.replace_begin().expect("a replacement begins");
    engine.replace_put(Table::Key, b"given up", b"").expect("a row is taken");
    put(engine, "meanwhile", "1");
    commit(engine, 2);
    assert_eq!(keys(engine, ALL_KEYS), [&b"meanwhile"[..], b"old"]);
    engine.replace_begin().expect("a replacement begins");
    engine.replace_put(Table::Key, b"a", b"").expect("lower than what was given up");
    engine.replace_finish(EntryId::new(1, 9)).expect("a replacement ends");
    assert_eq!(keys(engine, ALL_KEYS), [&b"a"[..]]);
}

/// Rows of a new content must ascend.
pub fn a_row_out_of_order_is_refused(engine: &mut dyn Engine) {
    let rows: [[(Table, &[u8]); 2]; 3] = [
        [(Table::Key, b"b"), (Table::Key, b"a")],
        [(Table::Key, b"a"), (Table::Key, b"a")],
        [(Table::Revision, b"a"), (Table::Key, b"b")],
    ];
    for [first, second] in rows {
        engine.replace_begin().expect("a replacement begins");
        engine.replace_put(first.0, first.1, b"").expect("the first row is taken");
        engine.replace_put(second.0, second.1, b"").expect_err("the second is out of order");
    }
}

/// Many random batches against an ordered map, with frozen views compared at the end.
pub fn random_batches_match_a_model(engine: &mut dyn Engine) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut model = alloc::collections::BTreeMap::new();
    let mut frozen = Vec::new();
    for index in 1..200 {
        for _ in 0..random.below(20) {
            let key = format!("{:x}", random.below(300));
            if random.below(3) == 0 {
                engine.delete(Table::Key, key.as_bytes()).expect("the engine deletes");
                model.remove(key.as_bytes());
            } else {
                let value = Bytes::from(format!("{index} {}", random.below(1000)));
                engine.put(Table::Key, key.as_bytes(), &value).expect("the engine writes");
                model.insert(Bytes::from(key), value);
            }
        }
        let (from, to) = (format!("{:x}", random.below(300)), format!("{:x}", random.below(300)));
        let bounds = (Included(from.as_bytes()), Excluded(to.as_bytes()));
        let expected: Vec<(Bytes, Bytes)> = if from < to {
            model.range::<[u8], _>(bounds).map(|(k, v)| (k.clone(), v.clone())).collect()
        } else {
            Vec::new()
        };
        assert_eq!(rows(engine, Table::Key, bounds), expected);
        commit(engine, index);
        match index % 40 {
            5 => frozen.push((engine.view(), model.clone())),
            20 => engine.flush().expect("the engine flushes"),
            _ => {}
        }
    }
    frozen.push((engine.view(), model));
    for (view, model) in frozen {
        let model: Vec<(Bytes, Bytes)> = model.into_iter().collect();
        assert_eq!(rows(&*view, Table::Key, ALL_KEYS), model);
    }
}

/// xorshift64*; enough to shuffle keys.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}
