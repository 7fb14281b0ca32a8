//! A flipped bit anywhere in a store is an error or has no effect; it is never another answer, never
//! a panic, and never an allocation beyond the size of the store.

#![expect(clippy::print_stdout, reason = "how many flips went unnoticed is worth seeing")]

use quorate_mvcc::engine::{Engine, EngineError, Reader, Table};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use std::{
    fs::{self, OpenOptions},
    ops::Bound,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const OPTIONS: Options =
    Options { memtable_bytes: 1 << 20, memtables_max: 2, cache_bytes: 1 << 20 };

type Content = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything that a store answers: its position, each row by scan and by key, and a key that is
/// not there. Then it is made to read all tables the other way: by writing, flushing and compacting.
fn read(dir: &Path) -> Result<(EntryId, Content), EngineError> {
    let engine = DiskEngine::open(dir, OPTIONS)?;
    let rows = engine.scan(Table::Key, (Bound::Unbounded, Bound::Unbounded));
    let content: Content = rows
        .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
        .collect::<Result<_, _>>()?;
    for (key, value) in &content {
        assert_eq!(engine.get(Table::Key, key)?.as_deref(), Some(&value[..]));
    }
    assert_eq!(engine.get(Table::Key, b"key5x")?, None);
    Ok((engine.applied(), content))
}

/// A store of a few tables on more than one level, with deletions.
fn build(dir: &Path, value_bytes: usize) {
    let mut engine = DiskEngine::open(dir, OPTIONS).unwrap();
    for index in 1..=6u64 {
        for number in 0..25 {
            let key = format!("key{:03}", (number * 7 + index * 11) % 100);
            engine.put(Table::Key, key.as_bytes(), &vec![index as u8; value_bytes]).unwrap();
        }
        engine.delete(Table::Key, format!("key{index:03}").as_bytes()).unwrap();
        engine.commit(EntryId::new(2, index)).unwrap();
        engine.flush().unwrap();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_is_never_an_answer() {
    let dir = TempDir::new().unwrap();
    let pristine = dir.path().join("pristine");
    build(&pristine, 40);
    let truth = read(&pristine).expect("an undamaged store");
    assert_eq!(truth.0, EntryId::new(2, 6));

    let damaged = dir.path().join("damaged");
    copy(&pristine, &damaged);
    let (mut flips, mut errors) = (0, 0);
    for path in files(&damaged) {
        let relative = path.strip_prefix(&damaged).unwrap().to_owned();
        let original = fs::read(&path).unwrap();
        for at in 0..original.len() {
            // A different bit of each byte, so that all eight are met in every field.
            let bit = 1 << (at * 5 % 8);
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[original[at] ^ bit], at as u64).unwrap();
            flips += 1;
            match read(&damaged) {
                Ok(found) => assert!(
                    found == truth,
                    "bit {bit:#x} of byte {at} in {} changed the answer",
                    relative.display()
                ),
                Err(_) => errors += 1,
            }
            assert!(path.exists(), "byte {at} in {}: the store deleted it", relative.display());
            file.write_all_at(&original[at..=at], at as u64).unwrap();
        }
    }
    assert_eq!(read(&damaged).expect("every flip was undone"), truth);
    println!("{flips} flips, {errors} errors");
    assert!(flips > 3000, "the store is too small to mean anything: {flips} bytes");
    // The rest lies in fields that nobody reads: creation times, padding, names of checksums.
    assert!(errors * 10 > flips * 9, "only {errors} of {flips} flips were noticed");
}

/// Damages a copy of a store in one place after the other, and looks at each: a wrong answer, a panic
/// or an error that is not called damage ends the test. Returns how often the damage was noticed by
/// whoever read everything, and by the scrubber alone; and how often it was not.
fn sweep(
    pristine: &Path,
    truth: &(EntryId, Content),
    damages: impl Fn(&[u8]) -> Vec<(usize, Vec<u8>)>,
) -> [usize; 3] {
    let damaged = pristine.with_file_name("swept");
    copy(pristine, &damaged);
    let mut found = [0; 3];
    for path in files(&damaged) {
        let name = path.strip_prefix(&damaged).unwrap().display().to_string();
        let original = fs::read(&path).unwrap();
        for (at, bytes) in damages(&original) {
            let range = at..at + bytes.len();
            if original[range.clone()] == bytes[..] {
                continue;
            }
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&bytes, at as u64).unwrap();
            let scrubbed = scrub(&damaged);
            let answer = read(&damaged);
            for error in [answer.as_ref().err(), scrubbed.as_ref().err()].into_iter().flatten() {
                assert!(matches!(error, EngineError::Corrupt(_)), "{name} at {at}: {error}");
            }
            match (answer, scrubbed) {
                (Err(_), _) => found[0] += 1,
                // What is intact and in the wrong place is noticed by the whole file's checksum alone.
                (Ok(_), Err(_)) => found[1] += 1,
                (Ok(answer), Ok(())) => {
                    assert!(answer == *truth, "{name} at {at}: another answer");
                    assert!(!name.contains("tables"), "{name} at {at}: nobody noticed");
                    found[2] += 1;
                }
            }
            file.write_all_at(&original[range], at as u64).unwrap();
        }
    }
    fs::remove_dir_all(&damaged).unwrap();
    found
}

/// A whole cycle of the scrubber.
fn scrub(dir: &Path) -> Result<(), EngineError> {
    let mut engine = DiskEngine::open(dir, OPTIONS)?;
    while !engine.scrub(1000)?.expect("there is a disk").cycle_ended {}
    Ok(())
}

#[test]
fn a_lost_or_misplaced_write_of_a_sector_is_never_an_answer_to_a_scrubbed_store() {
    const SECTOR: usize = 512;
    let dir = TempDir::new().unwrap();
    let pristine = dir.path().join("pristine");
    build(&pristine, 900);
    let truth = read(&pristine).expect("an undamaged store");
    let sectors = |file: &[u8]| (0..file.len()).step_by(SECTOR);
    let end = |file: &[u8], at: usize| file.len().min(at + SECTOR);
    let zeroed = sweep(&pristine, &truth, |file| {
        sectors(file).map(|at| (at, vec![0; end(file, at) - at])).collect()
    });
    // What belongs elsewhere, and would have been right there.
    let misplaced = sweep(&pristine, &truth, |file| {
        let twice = sectors(file).filter(|at| at + 2 * SECTOR <= file.len());
        twice.map(|at| (at + SECTOR, file[at..at + SECTOR].to_vec())).collect()
    });
    println!("noticed by a read, by the scrubber alone, by nobody: {zeroed:?}, {misplaced:?}");
    assert!(zeroed[0] > 100 && misplaced[0] > 100, "the store is too small to mean anything");
}

#[test]
fn the_scrubber_finds_every_flipped_bit_of_a_table_and_a_missing_one() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    build(&store, 40);
    scrub(&store).expect("an undamaged store");
    let mut engine = DiskEngine::open(&store, OPTIONS).unwrap();
    let tables = store.join("0000000000000001.tree/tables");
    let table = &files(&tables)[0];
    let original = fs::read(table).unwrap();
    // Behind what was read when the store was opened, so that only the scrubber sees it.
    let file = OpenOptions::new().write(true).open(table).unwrap();
    file.write_all_at(&[original[70] ^ 1], 70).unwrap();
    let error = loop {
        match engine.scrub(512) {
            Ok(Some(scrubbed)) => assert!(!scrubbed.cycle_ended, "nothing was noticed"),
            Ok(None) => panic!("there is a disk"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
    assert_eq!(engine.commit(EntryId::new(2, 7)), Err(error), "the engine goes on");
    drop(engine);
    file.write_all_at(&original[70..71], 70).unwrap();
    fs::remove_file(table).unwrap();
    let error = scrub(&store).expect_err("a table is missing");
    assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
}

#[test]
fn the_scrubber_goes_on_while_tables_come_and_go() {
    let dir = TempDir::new().unwrap();
    let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
    let mut cycles = 0;
    for index in 1..300u64 {
        let key = format!("key{:03}", index * 7 % 100);
        engine.put(Table::Key, key.as_bytes(), &[index as u8; 100]).unwrap();
        engine.commit(EntryId::new(1, index)).unwrap();
        engine.flush().unwrap();
        cycles += usize::from(engine.scrub(700).unwrap().unwrap().cycle_ended);
    }
    // A snapshot takes the place of all that was there.
    engine.replace_begin().unwrap();
    engine.replace_put(Table::Key, b"a", b"1").unwrap();
    engine.replace_finish(EntryId::new(1, 400)).unwrap();
    for _ in 0..50 {
        cycles += usize::from(engine.scrub(700).unwrap().unwrap().cycle_ended);
    }
    assert!(cycles > 10, "{cycles} cycles");
}

/// A store that is written to faster than it is verified: with each piece there is one more table.
#[test]
fn the_scrubber_comes_back_to_cold_tables_however_much_is_written() {
    let dir = TempDir::new().unwrap();
    build(dir.path(), 900);
    let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
    let mut cycles = 0;
    for index in 7..500u64 {
        engine.put(Table::Key, format!("new{index}").as_bytes(), &[1; 2000]).unwrap();
        engine.commit(EntryId::new(2, index)).unwrap();
        engine.flush().unwrap();
        cycles += usize::from(engine.scrub(1000).unwrap().unwrap().cycle_ended);
    }
    assert!(cycles >= 2, "{cycles} cycles over what was there when they began");
}

#[test]
fn the_scrubber_looks_at_what_points_to_the_tables() {
    let pointers = ["generation", "0000000000000001.tree/current"];
    for (pointer, removed) in pointers.into_iter().flat_map(|path| [(path, false), (path, true)]) {
        let dir = TempDir::new().unwrap();
        build(dir.path(), 40);
        let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
        // The compaction of what was there may still write it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let path = dir.path().join(pointer);
        if removed { fs::remove_file(&path) } else { fs::write(&path, b"not this") }.unwrap();
        let error = loop {
            match engine.scrub(1 << 20) {
                Ok(scrubbed) => assert!(!scrubbed.unwrap().cycle_ended, "{pointer}: not noticed"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let dir = TempDir::new().unwrap();
    let pristine = dir.path().join("pristine");
    build(&pristine, 40);
    let truth = read(&pristine).expect("an undamaged store");
    let damaged = dir.path().join("damaged");
    for path in files(&pristine) {
        let relative = path.strip_prefix(&pristine).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        for keep in [0, 1, length / 2, length.saturating_sub(1)].into_iter().filter(|k| *k < length)
        {
            copy(&pristine, &damaged);
            let target = damaged.join(relative);
            OpenOptions::new().write(true).open(&target).unwrap().set_len(keep).unwrap();
            match read(&damaged) {
                Ok(found) => {
                    assert!(found == truth, "{} cut to {keep} bytes", relative.display());
                }
                Err(error) => assert!(matches!(error, EngineError::Corrupt(_)), "{error}"),
            }
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
}

/// A reader tells whoever asked. The engine must not go on as if nobody had.
#[test]
fn what_a_reader_finds_damaged_ends_the_engine() {
    let dir = TempDir::new().unwrap();
    build(dir.path(), 900);
    let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
    // The compaction of what was there may still read it.
    std::thread::sleep(std::time::Duration::from_millis(100));
    for table in files(&dir.path().join("0000000000000001.tree/tables")) {
        let length = fs::metadata(&table).unwrap().len();
        fs::write(&table, vec![0; length as usize]).unwrap();
    }
    let is_damage = |error: EngineError| matches!(error, EngineError::Corrupt(_));
    let row = engine.scan(Table::Key, (Bound::Unbounded, Bound::Unbounded)).next();
    assert!(row.expect("there are rows").is_err_and(is_damage));
    assert!(engine.put(Table::Key, b"key", b"value").is_err_and(is_damage));
}

#[test]
fn the_compaction_does_not_launder_damage() {
    let dir = TempDir::new().unwrap();
    // Several blocks per table, so that the damaged first one is not read when the store opens.
    build(dir.path(), 1000);
    let tables = dir.path().join("0000000000000001.tree/tables");
    for path in files(&tables) {
        let file = OpenOptions::new().write(true).read(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100).unwrap();
        file.write_all_at(&[byte[0] ^ 4], 100).unwrap();
    }
    let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
    let result = flush_until_merged(&mut engine);
    assert!(matches!(result, Err(EngineError::Corrupt(_))), "{result:?}");
}

/// Enough flushes to make a compaction due, which takes the engine with it when it fails.
fn flush_until_merged(engine: &mut DiskEngine) -> Result<(), EngineError> {
    (7..40).try_for_each(|index| {
        engine.put(Table::Key, b"key000", &[1; 10])?;
        engine.commit(EntryId::new(2, index))?;
        engine.flush()?;
        std::thread::sleep(std::time::Duration::from_millis(5));
        Ok(())
    })
}

/// Puts into the place of a file one that the system opens and can't read: it says of the first page of a
/// process, which is never there, what it says of a bad sector.
#[cfg(target_os = "linux")]
fn make_unreadable(path: &Path) {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", path).unwrap();
    assert_eq!(fs::read(path).unwrap_err().raw_os_error(), Some(5), "this is no bad sector");
}

#[test]
#[cfg(target_os = "linux")]
fn a_bad_sector_is_damage_when_the_store_is_opened() {
    let files = ["generation", "0000000000000001.tree/current", "0000000000000001.tree/v*"];
    for name in files {
        let dir = TempDir::new().unwrap();
        build(dir.path(), 40);
        let manifest = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('v'))
        };
        let path = match name.strip_suffix("v*") {
            Some(tree) => self::files(&dir.path().join(tree)).into_iter().find(manifest).unwrap(),
            None => dir.path().join(name),
        };
        make_unreadable(&path);
        let error = read(dir.path()).expect_err("it can't be read");
        assert!(matches!(error, EngineError::Corrupt(_)), "{name}: {error}");
    }
    // As a file system may have it after its own repair.
    let dir = TempDir::new().unwrap();
    build(dir.path(), 40);
    let table = &self::files(&dir.path().join("0000000000000001.tree/tables"))[0];
    fs::remove_file(table).unwrap();
    fs::create_dir(table).unwrap();
    let error = read(dir.path()).expect_err("it is no file");
    assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_bad_sector_is_damage_to_the_scrubber_and_to_a_merge() {
    let dir = TempDir::new().unwrap();
    build(dir.path(), 1000);
    let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
    files(&dir.path().join("0000000000000001.tree/tables")).iter().for_each(|t| make_unreadable(t));
    let result = (0..9).try_for_each(|_| engine.scrub(1000).map(drop));
    assert!(matches!(result, Err(EngineError::Corrupt(_))), "{result:?}");
    drop(engine);

    let dir = TempDir::new().unwrap();
    build(dir.path(), 1000);
    let mut engine = DiskEngine::open(dir.path(), OPTIONS).unwrap();
    files(&dir.path().join("0000000000000001.tree/tables")).iter().for_each(|t| make_unreadable(t));
    let result = flush_until_merged(&mut engine);
    assert!(matches!(result, Err(EngineError::Corrupt(_))), "{result:?}");
}
