//! What the system says about this process, by the names that all programs have for it.

use std::fs;

/// Numbers of the process. Where the system does not tell them, they are missing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    /// Since 1970.
    pub(super) start_seconds: Option<f64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) files_max: Option<u64>,
}

impl Process {
    /// Of now.
    pub(super) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let ticks = rustix::param::clock_ticks_per_second();
        let page_bytes = rustix::param::page_size() as u64;
        let mut process =
            Self::parse(&read("/proc/self/stat"), &read("/proc/stat"), ticks, page_bytes);
        process.files_max = files_max(&read("/proc/self/limits"));
        // The one that is opened to count them is none of them.
        let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
        process.open_files = files.map(|count| count.saturating_sub(1));
        process
    }

    /// What `/proc/self/stat` and `/proc/stat` say.
    fn parse(stat: &str, system: &str, ticks_per_second: u64, page_bytes: u64) -> Self {
        // The name of the program stands in parentheses and may hold anything. Behind it is field 3.
        let fields: Vec<u64> = match stat.rsplit_once(')') {
            None => return Self::default(),
            Some((_, fields)) => fields
                .split_ascii_whitespace()
                .map(|field| field.parse().unwrap_or_default())
                .collect(),
        };
        let field = |number: usize| fields.get(number - 3).copied();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        let booted = system.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok());
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, kernel)| seconds(user + kernel)),
            start_seconds: booted
                .zip(field(22))
                .map(|(booted, after): (f64, u64)| booted + seconds(after)),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * page_bytes),
            open_files: None,
            files_max: None,
        }
    }
}

/// The limit that counts, of the two in `/proc/self/limits`.
fn files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 150 13 14 15 16 17 18 3000 4096 5 18446744073709551615";
        let process = Process::parse(stat, "cpu 1\nbtime 1000\n", 100, 4096);
        let expected = Process {
            cpu_seconds: Some(4.0),
            start_seconds: Some(1030.0),
            virtual_bytes: Some(4096),
            resident_bytes: Some(5 * 4096),
            ..Process::default()
        };
        assert_eq!(process, expected);
        assert_eq!(Process::parse("", "", 100, 4096), Process::default());
        assert_eq!(Process::parse("7 (a) S 1", "", 100, 4096), Process::default());
        let limits =
            "Max processes  1 2 processes\nMax open files            1024      4096      files\n";
        assert_eq!(files_max(limits), Some(1024));
        assert_eq!(files_max("Max open files unlimited"), None);
    }
}
