//! The machine in which the arrays are made, one after the other, on the same disks.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::{Drive, Maker};

use crate::program;

use super::fixture;
use super::{ARRAYS, Array, STATES, State, Thrown};

/// Disks, and the last one, which is smaller. Their lengths are no multiples of four kilobytes, as real ones are not.
const DISKS: usize = 7;
const DISK_BYTES: u64 = (24 << 20) + 5 * 512;
const LAST_BYTES: u64 = (16 << 20) + 3 * 512;

/// What is used of each member of an array that is not a raid0, for mdadm and in sectors.
const MEMBER_SIZE: &str = "-z3M";
const SIZE_SECTORS: u64 = 3 << 11;

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
        let dir = artifacts::machine_dir("arrays")?;
        let mut drives = Vec::new();
        for index in 0..DISKS {
            File::create(disk(&dir, index))?.set_len(length(index))?;
            drives.push(Drive::new(format!("disk-{index}"), disk(&dir, index)));
        }
        drives.push(program::drive(&dir, program)?);
        let maker = artifacts::maker(&dir, &drives)?;
        let bed = Bed { maker, dir };
        bed.script(&program::unpack("/run/arrays"))?;
        bed.script("for m in md_mod raid0 raid1 raid10 raid456; do modprobe $m; done")?;
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
            let script = format!("{}; fill; stop", array.make(""));
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
        let said = self
            .script(&format!(
                "{{ {script}; }} >&2
                 for i in {}; do mdadm --examine $(disk $i) | sed 's/^ *//; s/ *$//' | grep -E \
                   '^(Version|Array UUID|Name|Raid Level|Raid Devices|Data Offset|Device UUID|State|Events|Device Role|Layout|Chunk Size|Used Dev Size|Avail Dev Size) :' \
                   | sed \"s/^/$i\\t/\"; done",
                numbers(disks)
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
        (0..DISKS).try_for_each(|index| self.wipe(index))
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

    /// Makes an array and lets the firmware assemble it: whole, without one of its disks, and with one that is stale.
    ///
    /// # Errors
    /// What differs.
    pub fn assemble(&self, array: &Array) -> Result<()> {
        self.with(array, || {
            let kernel = self.script("sum; mdadm --stop --quiet $md >&2")?;
            let name = array.name;
            self.runs(array, "start", array.disks, &kernel)?;
            // What was started and stopped in order needs nothing to be made equal.
            let said = self.script(&format!(
                "mdadm --assemble $md {} >&2; whole; sum; stop; gone",
                array.nodes()
            ))?;
            ensure!(said == kernel, "mdadm reads something else afterwards");
            if !array.is_redundant {
                return Ok(());
            }
            let Some((lost, rest)) = array.disks.split_last() else {
                return Ok(());
            };
            // Its superblock, wherever it is, and all else.
            self.wipe(*lost)?;
            let said = self.script(&format!("/run/arrays start {name} 2>&1 && exit 9; gone"))?;
            ensure!(said.contains("refused: members are missing"), "{said}");
            self.runs(array, "degraded", rest, &kernel)?;
            Ok(())
        })?;
        if !array.is_redundant {
            return Ok(());
        }
        self.with(array, || {
            let (stale, rest) = array.disks.split_first().context("no disk")?;
            let kernel = self.script(&format!(
                "mdadm $md --fail $(disk {stale}) >&2; mdadm $md --remove $(disk {stale}) >&2
                 dd if=/dev/urandom of=$md bs=1M count=2 oflag=direct status=none; sum; stop"
            ))?;
            // It was marked: nobody has to allow that it is left out.
            self.runs(array, "start", rest, &kernel)
        })
        .context("with a stale member")
    }

    /// Starts an array of these disks, twice, and stops it, twice.
    fn runs(&self, array: &Array, how: &str, disks: &[usize], kernel: &str) -> Result<()> {
        let name = array.name;
        let said = self.script(&format!(
            r#"/run/arrays {how} {name} >/run/started; md=$(head -n1 /run/started | cut -d' ' -f1)
             tail -n +2 /run/started | sort; for i in {}; do disk $i; done | sort >/run/wanted
             tail -n +2 /run/started | sort | cmp - /run/wanted >&2
             [ $(grep -c '' /run/wanted) = {} ]
             # write-pending: it runs, and its superblocks are on their way.
             head -n1 /run/started | grep -q ' Changed \(clean\|active\|active-idle\|write-pending\)$'
             [ $(grep -c ^md_ /proc/mdstat) = 1 ]
             sum >/run/sum
             /run/arrays {how} {name} | head -n1 | grep -q ' Already ' || {{ echo not already; exit 9; }}
             /run/arrays stop {name} >&2; gone
             [ "$(/run/arrays stop {name})" = "Already" ]
             [ -z "$(ls /dev/md_* 2>/dev/null)" ]
             echo ===; cat /run/sum"#,
            numbers(disks),
            disks.len(),
        ))?;
        let (members, sum) = said.split_once("===\n").context("no sum")?;
        ensure!(sum == kernel, "{how}, of {members}: {sum} and not {kernel}");
        Ok(())
    }

    /// A takeover from a living owner, whose kernel threw members out before all disks were fenced, and wrote on without them: they are
    /// taken back and filled, through a stop and a start on the way where that takes long, and all is right afterwards.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn take_back(&self, thrown: &Thrown) -> Result<()> {
        let Thrown {
            array,
            which,
            is_dirty,
        } = *thrown;
        let name = array.name;
        let has_bitmap = !array.options.contains("-b none");
        let (all, out) = (numbers(array.disks), numbers(which));
        let rest = array.disks.iter().copied();
        let rest: Vec<usize> = rest.filter(|disk| !which.contains(disk)).collect();
        self.with(&array, || {
            // The last superblocks of an owner that dies instead of stopping. Data begin behind the first megabyte.
            let (busy, keep, put) = match is_dirty {
                false => ("true", String::new(), String::new()),
                true => (
                    "echo 600 >/sys/block/md7/md/safe_mode_delay",
                    format!("for i in {}; do dd if=$(disk $i) of=/run/head$i bs=1M count=1 iflag=direct status=none; done", numbers(&rest)),
                    format!("for i in {}; do dd if=/run/head$i of=$(disk $i) bs=1M oflag=direct status=none; done", numbers(&rest)),
                ),
            };
            // Until nothing is written there any more, which takes the kernel some seconds, a bitmap has what is filled anyway.
            let quiet = match (has_bitmap, rest.first()) {
                (true, Some(other)) => format!("for i in $(seq 60); do ! mdadm -X $(disk {other}) | grep -q ' 0 dirty' || break; sleep 1; done"),
                _ => "true".to_owned(),
            };
            let kernel = self.script(&format!(
                "{quiet}; {busy}
                 for i in {out}; do mdadm $md --fail $(disk $i) >&2; done; sleep 0.5
                 dd if=/dev/urandom of=$md bs=64K count=2 seek=3 oflag=direct conv=notrunc status=none
                 dd if=/dev/urandom of=$md bs=4K count=1 seek=501 oflag=direct conv=notrunc status=none
                 sum; {keep}
                 stop; {put}"
            ))?;
            let how = match is_dirty && array.options.contains("-l5") {
                false => "takeover",
                true => {
                    let said = self.script(&format!("/run/arrays takeover {name} 2>&1 && exit 9; gone"))?;
                    ensure!(said.contains("it was not stopped in order"), "{said}");
                    "takeover-dirty"
                }
            };
            // Without a bitmap it takes long enough to be seen under way, and to be stopped there.
            let slow = match has_bitmap {
                true => "false",
                false => "true",
            };
            let said = self.script(&format!(
                r#"limits() {{ echo $1 >/proc/sys/dev/raid/speed_limit_max; echo $1 >/proc/sys/dev/raid/speed_limit_min; }}
                 written() {{ n=0; for i in {out}; do d=$(disk $i); set -- $(cat /sys/block/${{d##*/}}/stat); n=$((n + $7)); done; echo $n; }}
                 state() {{ cat /sys/block/$node/md/sync_action /sys/block/$node/md/degraded | tr -d '\n'; }}
                 filled() {{ for i in $(seq 600); do [ "$(state)" != idle0 ] || return 0; sleep 0.1; done; state; echo never filled; exit 8; }}
                 node_of() {{ md=$(grep -o '/dev/md_[0-9a-f]*' /run/started | head -n1); node=${{md##*/}}; }}
                 before=$(written)
                 {slow} && limits 1
                 /run/arrays {how} {name} >/run/started || {{ cat /run/started; exit 9; }}
                 node_of
                 for i in {out}; do grep -q "^back Changed $(disk $i)$" /run/started || {{ cat /run/started; echo $i is not back; exit 9; }}; done
                 # The data are there at once.
                 sum >/run/sum
                 if {slow}; then
                   [ "$(cat /sys/block/$node/md/sync_action)" = recover ] || {{ state; echo not under way; exit 9; }}
                   /run/arrays stop {name} >&2; gone
                   /run/arrays start {name} >/run/started || {{ cat /run/started; exit 9; }}
                   node_of; limits 200000
                   [ $(grep -c '^/dev/vd' /run/started) = {count} ] || {{ cat /run/started; exit 9; }}
                 fi
                 filled
                 after=$(written)
                 mdadm --detail $md >/run/detail
                 grep -qE 'State : (clean|active) *$' /run/detail || {{ cat /run/detail; exit 9; }}
                 grep -qE 'Failed Devices : 0$' /run/detail || {{ cat /run/detail; exit 9; }}
                 echo check >/sys/block/$node/md/sync_action; filled
                 mismatches=$(cat /sys/block/$node/md/mismatch_cnt)
                 [ $mismatches = 0 ] || {{ echo $mismatches mismatches; exit 9; }}
                 sum | cmp - /run/sum >&2
                 /run/arrays stop {name} >&2; gone
                 echo ===; echo $((after - before)); cat /run/sum"#,
                count = array.disks.len(),
            ))?;
            let (_, said) = said.split_once("===\n").context("no sum")?;
            let (sectors, sum) = said.split_once('\n').context("no count")?;
            ensure!(sum == kernel, "{sum} and not {kernel}");
            let sectors: u64 = sectors.trim().parse()?;
            let whole = SIZE_SECTORS * which.len() as u64;
            ensure!((sectors < whole / 2) == has_bitmap, "{sectors} sectors of {whole} were written to members that came back");
            // What came back is worth what it says: without one of the others all is there.
            let (lost, _) = rest.split_last().context("no other member")?;
            self.wipe(*lost)?;
            let left: Vec<usize> = array.disks.iter().copied().filter(|disk| disk != lost).collect();
            self.runs(&array, "degraded", &left, &kernel)
                .with_context(|| format!("without {lost}, of {all}"))
        })
    }

    /// Parity that may be wrong: a raid5 as a crash leaves it, with a disk less.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn dirty(&self) -> Result<()> {
        let array = Array {
            name: "dirty",
            disks: &[0, 1, 2],
            options: "-l5 -c4 -b none",
            is_redundant: true,
        };
        self.with(&array, || {
            // The superblocks of an array that runs and is being written.
            let said = self.script(
                "echo 600 >/sys/block/md7/md/safe_mode_delay
                 dd if=/dev/urandom of=$md bs=1M count=1 oflag=direct status=none
                 for i in 0 1; do dd if=$(disk $i) of=/run/super$i bs=4096 skip=1 count=1 iflag=direct status=none; done
                 sum; stop
                 for i in 0 1; do dd if=/run/super$i of=$(disk $i) bs=4096 seek=1 count=1 oflag=direct status=none; done",
            )?;
            self.wipe(2)?;
            let refused = self.script("/run/arrays degraded dirty 2>&1 && exit 9; gone")?;
            ensure!(refused.contains("refused: a member is missing and it was not stopped in order"), "{refused}");
            self.runs(&array, "dirty", &[0, 1], &said)?;
            let switch = self.script("cat /sys/module/md_mod/parameters/start_dirty_degraded")?;
            ensure!(switch.trim() == "0", "left on: {switch}");
            Ok(())
        })
    }

    /// Mirrors that went on without one another: refused, and neither is written.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn diverged(&self) -> Result<()> {
        let array = Array {
            name: "diverged",
            disks: &[0, 1],
            options: "-l1 -b none",
            is_redundant: true,
        };
        self.with(&array, || {
            let said = self.script(
                "stop
                 for i in 0 1; do mdadm --assemble --run $md $(disk $i) >&2
                   dd if=/dev/urandom of=$md bs=1M count=1 oflag=direct status=none; stop; done
                 sums() { for i in 0 1; do sha256sum <$(disk $i); done; }
                 sums >/run/before
                 /run/arrays degraded diverged 2>&1 && exit 9
                 sums | cmp - /run/before; gone",
            )?;
            ensure!(said.contains("went on without one another"), "{said}");
            Ok(())
        })
    }

    /// Makes a disk as good as none.
    fn wipe(&self, index: usize) -> Result<()> {
        let file = File::options().write(true).open(disk(&self.dir, index))?;
        file.set_len(0)?;
        file.set_len(length(index))?;
        self.script(&format!("blockdev --flushbufs $(disk {index})"))?;
        Ok(())
    }

    fn with(&self, array: &Array, run: impl FnOnce() -> Result<()>) -> Result<()> {
        // The firmware's program is not optimised, and the machine emulated.
        let size = if array.options.contains("-l0") {
            ""
        } else {
            MEMBER_SIZE
        };
        self.script(&format!(
            "{}; dd if=/dev/urandom of=$md bs=1M oflag=direct status=none 2>/dev/null || true; sync",
            array.make(size)
        ))
        .context("mdadm makes it")?;
        let outcome = run();
        let cleared = self.clear().context("taking it down");
        // What came first says more: what it left behind cannot be taken down either.
        outcome.and(cleared)
    }
}

impl Array {
    /// Makes it, for a script, with these options more.
    fn make(&self, more: &str) -> String {
        format!(
            "make {} '-n{} {} {more}' {}",
            self.name,
            self.disks.len(),
            self.options,
            numbers(self.disks)
        )
    }

    /// Its disks' nodes, for a script.
    fn nodes(&self) -> String {
        let nodes = self.disks.iter().map(|disk| format!("$(disk {disk})"));
        nodes.collect::<Vec<_>>().join(" ")
    }
}

fn numbers(disks: &[usize]) -> String {
    let numbers: Vec<String> = disks.iter().map(usize::to_string).collect();
    numbers.join(" ")
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
