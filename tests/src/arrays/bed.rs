//! The machine in which the arrays are made, one after the other, on the same disks.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use orthrus_image::Workspace;
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::{Drive, Maker};

use super::fixture;
use super::{ARRAYS, Array, STATES, State};

/// Disks, and the last one, which is smaller. Their lengths are no multiples of four kilobytes, as real ones are not.
const DISKS: usize = 7;
const DISK_BYTES: u64 = (24 << 20) + 5 * 512;
const LAST_BYTES: u64 = (16 << 20) + 3 * 512;

/// Limit of one script. Emulation on a busy machine takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(240);

/// What every script begins with. What is said goes to standard error.
const PRELUDE: &str = r#"
set -e
export MDADM_NO_UDEV=1
md=/dev/md7
disk() { for d in /sys/block/vd*; do case $(cat $d/serial) in disk-$1) echo /dev/${d##*/};; esac; done; }
whole() { [ ! -e /sys/block/md7/md/sync_action ] || [ "$(cat /sys/block/md7/md/sync_action /sys/block/md7/md/degraded | tr -d '\n')" = idle0 ]; }
wait_for() { for i in $(seq 600); do ! whole || return 0; sleep 0.1; done; echo never whole >&2; exit 8; }
make() { name=$1 options=$2; shift 2; disks=
  for i in "$@"; do disks="$disks $(disk $i)"; done
  mdadm --create $md --run --quiet --homehost=any --name=$name $options $disks >&2; wait_for; }
fills=0
fill() { fills=$((fills + 1)); /run/arrays fill $md $fills >&2; }
stop() { mdadm --stop --quiet $md >&2; }
gone() { case "$(grep ^md /proc/mdstat)" in '') ;; *) cat /proc/mdstat; exit 7;; esac; }
sum() { dd if=$md bs=1M iflag=direct status=none | sha256sum | cut -d' ' -f1; }
"#;

/// The machine, its disks, and the firmware's program in it.
pub struct Bed {
    maker: Maker,
    dir: PathBuf,
}

impl Bed {
    /// Boots it, with this build of `src/bin/arrays.rs`.
    ///
    /// # Errors
    /// What is missing, or does not build.
    pub fn up(program: &Path) -> Result<Bed> {
        let workspace = Workspace::here()?;
        let dir = workspace
            .target()
            .join("lab")
            .join(format!("arrays-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let mut drives = Vec::new();
        for index in 0..DISKS {
            File::create(disk(&dir, index))?.set_len(length(index))?;
            drives.push(Drive::new(format!("disk-{index}"), disk(&dir, index)));
        }
        // As a disk, of which the length must be a multiple of its sectors'.
        let copy = dir.join("program.raw");
        fs::copy(program, &copy)?;
        let padded = fs::metadata(&copy)?.len().next_multiple_of(4096);
        File::options().write(true).open(&copy)?.set_len(padded)?;
        drives.push(Drive {
            is_read_only: true,
            ..Drive::new("program", "program.raw")
        });
        let maker = artifacts::maker(&dir, &drives)?;
        let bed = Bed { maker, dir };
        bed.script(
            "for d in /sys/block/vd*; do case $(cat $d/serial) in program) cat /dev/${d##*/} >/run/arrays;; esac; done
             chmod +x /run/arrays
             for m in md_mod raid0 raid1 raid10 raid456; do modprobe $m; done",
        )?;
        Ok(bed)
    }

    fn script(&self, script: &str) -> Result<String> {
        self.maker.script(&format!("{PRELUDE}\n{script}"), LIMIT)
    }

    /// Makes the fixtures of all arrays and states anew, in this directory.
    ///
    /// # Errors
    /// What mdadm says, or a file that cannot be written.
    pub fn fixtures(&self, into: &Path) -> Result<()> {
        fs::create_dir_all(into)?;
        let mut report = String::new();
        for array in ARRAYS {
            let script = format!("{}; fill; stop", array.make());
            self.keep(array.name, array.disks, &script, into, &mut report)?;
        }
        for State {
            name,
            disks,
            script,
        } in STATES
        {
            self.keep(name, disks, script, into, &mut report)?;
        }
        fs::write(into.join("report.txt"), report)?;
        Ok(())
    }

    /// Runs a script, keeps the disks, and what mdadm says of each.
    fn keep(
        &self,
        name: &str,
        disks: &[usize],
        script: &str,
        into: &Path,
        report: &mut String,
    ) -> Result<()> {
        let numbers: Vec<String> = disks.iter().map(usize::to_string).collect();
        let said = self
            .script(&format!(
                "{{ {script}; }} >&2
                 for i in {}; do mdadm --examine $(disk $i) | sed 's/^ *//; s/ *$//' | grep -E \
                   '^(Version|Array UUID|Name|Raid Level|Raid Devices|Data Offset|Device UUID|State|Events|Device Role|Layout|Chunk Size|Used Dev Size|Avail Dev Size) :' \
                   | sed \"s/^/$i\\t/\"; done",
                numbers.join(" ")
            ))
            .with_context(|| format!("making {name}"))?;
        for line in said.lines() {
            writeln!(report, "{name}\t{line}")?;
        }
        let files: Vec<PathBuf> = disks.iter().map(|index| disk(&self.dir, *index)).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        fs::write(
            into.join(format!("{name}.members")),
            fixture::record(&files)?,
        )?;
        self.clear().with_context(|| format!("taking {name} down"))
    }

    /// Stops what runs and empties the disks.
    fn clear(&self) -> Result<()> {
        self.script("[ ! -e /sys/block/md7/md ] || mdadm --stop $md >&2; gone")?;
        for index in 0..DISKS {
            let file = File::options().write(true).open(disk(&self.dir, index))?;
            file.set_len(0)?;
            file.set_len(length(index))?;
        }
        self.script("for i in 0 1 2 3 4 5 6; do blockdev --flushbufs $(disk $i); done")?;
        Ok(())
    }

    /// Makes an array and lets the firmware read it without assembling it, whole and without each of its disks in turn.
    ///
    /// # Errors
    /// What differs.
    pub fn read(&self, array: &Array) -> Result<()> {
        self.with(array, || {
            let kernel = self.script("sum; mdadm --stop --quiet $md >&2")?;
            if array.options.contains("-l0") && array.name.contains("zones") {
                let said = self.script(&format!(
                    "/run/arrays read {} 2>&1 >/dev/null || true",
                    array.name
                ))?;
                ensure!(
                    said.contains("is read only when it runs"),
                    "not refused: {said}"
                );
                return Ok(());
            }
            let mut ways = vec![String::new()];
            if array.is_redundant {
                ways.extend(array.disks.iter().map(|disk| format!("$(disk {disk})")));
            }
            for without in ways {
                let ours = self.script(&format!(
                    "/run/arrays read {} {without} | sha256sum | cut -d' ' -f1; gone",
                    array.name
                ))?;
                ensure!(
                    ours == kernel,
                    "without '{without}': {ours} and not {kernel}"
                );
            }
            Ok(())
        })
    }

    fn with(&self, array: &Array, run: impl FnOnce() -> Result<()>) -> Result<()> {
        self.script(&format!(
            "{}; dd if=/dev/urandom of=$md bs=1M oflag=direct status=none 2>/dev/null || true; sync",
            array.make()
        ))
        .context("mdadm makes it")?;
        let outcome = run();
        self.clear().context("taking it down")?;
        outcome
    }
}

impl Array {
    fn make(&self) -> String {
        let numbers: Vec<String> = self.disks.iter().map(usize::to_string).collect();
        format!(
            "make {} '-n{} {}' {}",
            self.name,
            self.disks.len(),
            self.options,
            numbers.join(" ")
        )
    }
}

fn disk(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("disk{index}.raw"))
}

fn length(index: usize) -> u64 {
    if index + 1 == DISKS {
        LAST_BYTES
    } else {
        DISK_BYTES
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Sparse files of no use to anybody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
