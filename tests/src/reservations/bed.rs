//! The machine: a target with namespaces in memory, and three hosts that are connected to it, of which two are the heads.
//!
//! Without the kernel's multipath each connection has block devices of its own, so that two heads are in one kernel, which knows nothing of
//! that: what keeps one from writing is the target.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::Maker;

use crate::program;

use super::Case;

/// Limit of one script. Emulation on a busy machine takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(240);

/// What every script begins with.
///
/// `disk HOST NUMBER` is a host's device of a namespace, `disks HOST` all that can be reserved. The hosts are `a` and `b`, a stranger
/// `c`, and `t`, which came with the identity of `a`. Reservations are taken off by `clean`, each by its host.
const PRELUDE: &str = r#"
set -e
sub=/sys/kernel/config/nvmet/subsystems/nqn.2026-01.org.example:shelf
disk() { c=$(cat /run/host.$1); echo ${c}n$2; }
disks() { for n in 1 2 3; do disk $1 $n; done; }
as() { head=$1 what=$2; shift 2; /run/reservations $what $head "$@" 2>/run/said || { cat /run/said; return 1; }; }
look() { as $1 look $(disks $1) | uniq; }
claim() { head=$1; shift; as $head claim "$@" $(disks $head); }
refused() { if as "$@" >/run/unexpected; then cat /run/unexpected; exit 9; fi; }
is() { [ "$1" = "$2" ] || { echo "expected: $2"; echo "found: $1"; exit 8; }; }
has() { case "$1" in *"$2"*) ;; *) echo "expected in: $1"; echo "this: $2"; exit 8;; esac; }
write() { if said=$(dd if=/dev/zero of=/dev/$(disk $1 ${2:-1}) bs=4096 count=1 seek=100 oflag=direct conv=notrunc 2>&1)
  then echo good; else echo "$said" | grep -o 'Invalid exchange' || echo "$said"; fi; }
clean() { for h in a b c; do for n in 1 2 3; do as a register 0 $(disk $h $n) >/dev/null || true; done; done; }
"#;

/// Sets the target up, and connects the hosts.
const SET_UP: &str = r#"
modprobe brd rd_nr=4 rd_size=16384
modprobe nvme_core multipath=N
for m in configfs nvmet nvme_loop; do modprobe $m; done
grep -q ' /sys/kernel/config ' /proc/mounts || mount -t configfs none /sys/kernel/config
mkdir $sub; echo 1 >$sub/attr_allow_any_host
for n in 1 2 3 4; do
  at=$sub/namespaces/$n; mkdir $at
  echo /dev/ram$((n - 1)) >$at/device_path; echo 0000000000000000000000000000000$n >$at/device_nguid
  # The fourth has no reservations.
  [ $n = 4 ] || echo 1 >$at/resv_enable
  echo 1 >$at/enable
done
port=/sys/kernel/config/nvmet/ports/1; mkdir $port; echo loop >$port/addr_trtype; ln -s $sub $port/subsystems/
connect() { exec 3<>/dev/nvme-fabrics
  printf 'transport=loop,nqn=%s,hostnqn=nqn.2026-01.org.example:%s,hostid=%s%s' ${sub##*/} $2 $3 "$4" >&3
  read -r said <&3; exec 3>&-; said=${said#instance=}; echo nvme${said%%,*} >/run/host.$1; }
one=11111111-1111-4111-8111-111111111111
connect a a $one
connect b b 22222222-2222-4222-8222-222222222222
connect c c 33333333-3333-4333-8333-333333333333
connect t a $one ,duplicate_connect
for i in $(seq 100); do
  all=; for h in a b c t; do [ -e /dev/$(disk $h 4) ] || all=no; done
  [ -n "$all" ] || exit 0; sleep 0.1
done
echo "no devices: $(ls /dev/nvme*)"; dmesg | tail -n 20; exit 7
"#;

/// The machine, its target and the firmware's program in it.
pub struct Bed {
    maker: Maker,
    dir: PathBuf,
}

impl Bed {
    /// Boots it, with this build of `src/bin/reservations.rs`.
    ///
    /// # Errors
    /// What is missing, or does not build.
    pub fn up(program: &Path) -> Result<Bed> {
        let dir = artifacts::machine_dir("reservations")?;
        let drives = [program::drive(&dir, program)?];
        let maker = artifacts::backported_maker(&dir, &drives)?;
        let bed = Bed { maker, dir };
        bed.script(&program::unpack("/run/reservations"))?;
        bed.script(SET_UP).context("setting the target up")?;
        Ok(bed)
    }

    fn script(&self, script: &str) -> Result<String> {
        self.maker.script(&format!("{PRELUDE}\n{script}"), LIMIT)
    }

    /// Runs a case on namespaces that nobody has reserved.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn run(&self, case: &Case) -> Result<()> {
        self.script("clean")?;
        self.script(case.script)?;
        Ok(())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Of no use to anybody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
