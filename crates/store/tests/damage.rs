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
    // Enough flushes to make a compaction due; it must fail, and take the engine with it.
    let result = (7..40).try_for_each(|index| {
        engine.put(Table::Key, b"key000", &[1; 10])?;
        engine.commit(EntryId::new(2, index))?;
        engine.flush()?;
        std::thread::sleep(std::time::Duration::from_millis(5));
        Ok(())
    });
    assert!(matches!(result, Err(EngineError::Corrupt(_))), "{result:?}");
}
