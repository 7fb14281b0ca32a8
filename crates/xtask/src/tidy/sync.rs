//! One call makes data durable.
//!
//! "Is it on disk?" has to have one answer in one place: `FileDisk` in `crates/wal/src/disk.rs`. A
//! second call somewhere else is either needless, and costs a write every time, or needed, and then
//! misses the batching, the fault injection and the reasoning of the first. The engine behind
//! `crates/store` is a dependency with files of its own; that is reviewed when the dependency is.

use super::Finding;
use crate::tree::Tree;

/// The file of the one call.
const DISK: &str = "crates/wal/src/disk.rs";

/// Makes the data of a file durable.
const DATA: [&str; 2] = ["sync_data", "fdatasync"];
/// Makes more than that durable. The disk needs it for folders, whose entries are no data of a
/// file.
const MORE: [&str; 5] = ["sync_all", "fsync", "syncfs", "sync_file_range", "msync"];

/// Where a whole file may be made durable outside of the disk, and why.
const ALLOWED: [(&str, &str); 2] = [
    (
        "crates/host/src/whole_file.rs",
        "who the member is, that its store is lost, and a state that is written whole: seldom",
    ),
    (
        "crates/xtask/src/checks/stall.rs",
        "measures how busy a disk is, with a block that nobody reads",
    ),
];

pub(super) fn one_call_syncs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut calls = Vec::new();
    for source in tree.product_sources() {
        calls.extend(
            DATA.iter()
                .flat_map(|name| source.uses_of(name))
                .map(|line| (source.path.as_str(), line)),
        );
        if source.path != DISK && ALLOWED.iter().all(|(path, _)| source.path != *path) {
            for line in MORE.iter().flat_map(|name| source.uses_of(name)) {
                let message = format!("syncs a file. Only {DISK} may: go through the trait `Disk`");
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    match calls.iter().filter(|(path, _)| *path == DISK).count() {
        1 => {}
        n => findings.push(Finding::new(
            DISK,
            0,
            format!(
                "has {n} calls of {}, and one is the rule: give them one function",
                DATA.join(" or ")
            ),
        )),
    }
    for (path, line) in calls.into_iter().filter(|(path, _)| *path != DISK) {
        let message = format!(
            "syncs data. Only {DISK} may: go through the trait `Disk`, whose own call has another \
             name than the system's, so that the two can be told apart"
        );
        findings.push(Finding::new(path, line, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "use rustix::fs::fdatasync;\nfn sync(&self) { fdatasync(&self.file) }";

    fn places(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let findings = one_call_syncs(&Tree::of(files));
        findings.into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn one_call_in_its_place_is_fine() {
        assert!(places(&[(DISK, GOOD)]).is_empty());
        let twice = "fn a(f: &File) { f.sync_data(); folder.sync_all() }";
        assert!(places(&[(DISK, twice)]).is_empty());
    }

    #[test]
    fn a_second_call_is_found() {
        let twice = "fn a(f: &File) { f.sync_data(); f.sync_data() }";
        assert_eq!(places(&[(DISK, twice)]), [(DISK.into(), 0)]);
        let other = "crates/host/src/a.rs";
        assert_eq!(
            places(&[(DISK, GOOD), (other, "fn a() {\n f.sync_data() }")]),
            [(other.into(), 2)]
        );
        assert_eq!(
            places(&[(DISK, GOOD), (other, "fn a() {\n f.sync_all() }")]),
            [(other.into(), 2)]
        );
    }

    #[test]
    fn a_whole_file_may_be_synced_where_the_list_says_so() {
        let identity = ALLOWED[0].0;
        assert!(places(&[(DISK, GOOD), (identity, "fn a() { f.sync_all() }")]).is_empty());
        assert_eq!(places(&[(DISK, GOOD), (identity, "fn a() { f.sync_data() }")]).len(), 1);
    }

    #[test]
    fn a_missing_call_is_found() {
        assert_eq!(places(&[(DISK, "fn sync() {}")]), [(DISK.into(), 0)]);
        assert_eq!(places(&[]), [(DISK.into(), 0)]);
    }
}
