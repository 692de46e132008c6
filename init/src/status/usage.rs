//! What this head itself takes of its machine: the budgets of DESIGN section 9 that it can measure.

use std::fs;

use serde::Serialize;

/// Memory and processes, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// `MemTotal` less `MemAvailable`; zero when the kernel does not say.
    pub memory_used_bytes: u64,
    /// Processes in userland: those with a command line, which kernel threads lack.
    pub processes: usize,
}

impl Usage {
    /// Reads /proc.
    pub fn measure() -> Usage {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = processes.filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty())
                && entry
                    .file_name()
                    .as_encoded_bytes()
                    .iter()
                    .all(u8::is_ascii_digit)
        });
        Usage {
            memory_used_bytes: memory_used(
                &fs::read_to_string("/proc/meminfo").unwrap_or_default(),
            ),
            processes: processes.count(),
        }
    }
}

fn memory_used(meminfo: &str) -> u64 {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    match (kib("MemTotal:"), kib("MemAvailable:")) {
        (Some(total), Some(available)) => total.saturating_sub(available) * 1024,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_what_is_not_available() {
        let meminfo = "MemTotal:         500 kB\nMemFree:    1 kB\nMemAvailable:   440 kB\n";
        assert_eq!(memory_used(meminfo), 60 * 1024);
        assert_eq!(memory_used("nonsense"), 0);
        assert!(Usage::measure().processes >= 1);
    }
}
