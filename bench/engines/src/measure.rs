//! What the kernel knows about this process: processor time, memory, bytes written.

use std::{fs, path::Path};

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
}

/// Processor microseconds of all threads, user and system; 10 ms is the resolution.
pub fn processor_us() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let after = text.rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10_000
}

pub fn anonymous_mib() -> u64 {
    field("/proc/self/status", "RssAnon:") / 1024
}

pub fn written_mib() -> u64 {
    field("/proc/self/io", "write_bytes:") >> 20
}

/// Space taken on disk, in MiB (allocated blocks, so holes do not count).
pub fn disk_mib(dir: &Path) -> u64 {
    fn blocks(dir: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() { blocks(&entry.path()) } else { metadata.blocks() }
            })
            .sum()
    }
    blocks(dir) * 512 >> 20
}
