//! Every input that was worth keeping, given to its target again.

use std::alloc::System;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use cap::Cap;
use quorate_fuzz::{TARGETS, within};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// The most bytes of all inputs together: a corpus is no archive.
const CORPUS_BYTES_MAX: usize = 1 << 20;

fn inputs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn nothing_that_was_found_is_found_again() {
    let mut bytes = 0;
    let mut found = Vec::new();
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let inputs = inputs(&folder).expect(target.name);
        assert!(!inputs.is_empty(), "{} has a corpus", target.name);
        for path in inputs {
            let input = fs::read(&path).expect("an input can be read");
            bytes += input.len();
            if catch_unwind(|| within(&MEMORY, || (target.run)(&input))).is_err() {
                found.push(path);
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus has {bytes} bytes: keep less of it");
}

#[test]
fn every_folder_is_that_of_a_target() {
    for path in inputs(&corpus()).expect("there is a corpus") {
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|target| target.name == name), "{name} is no target");
    }
}
