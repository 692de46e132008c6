//! Throughput of a LUN of the pool, against the same on plain Linux: a server beside the heads, of the same kernel, memory and
//! cards, on a disk of the same shelf, whose target Debian's `targetcli` sets up as it comes. One client drives them by turns,
//! never both. A table, and no verdict: what an emulated machine does in a second is no promise. Minutes; by
//! `--ignored throughput_against_plain_lio`.
//!
//! What is equal: kernel, memory, processor, network card, SCSI card; the path to the shelf, relay and all, and the shelf's machine;
//! a linear logical volume, and LIO's `iblock` on it; the client and its initiator's settings. What both sessions agreed on and
//! what both disks say of caches and limits is held against each other. What is not equal: the disk, one of the same kind, since
//! a pool's takes writes of its owner alone. And the heads go on beating and ticking while the neighbour has its turn, as they
//! do in their own: under emulation that takes processor time from both. What the neighbour does with the heads off stands
//! below the table.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use orthrus_qemu::config;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::{Disks, Options, Ready};
use orthrus_qemu::{Lab, client, guest};
use orthrus_tests::steps::{ADDRESS, LIMIT, bare_disks, make_tank, said, tank};
use orthrus_tests::{Bench, DEAD_MS, lab_options};
use serde_json::Value;

const OUR_IQN: &str = "iqn.2026-01.org.orthrus:tank";
const PLAIN_IQN: &str = "iqn.2026-01.org.example:plain";
const PLAIN_ADDRESS: &str = "10.77.0.99";

/// How often each side has its turn, and for how long after a quarter of one of warming up.
const ALTERNATIONS: usize = 20;
const TURN_S: usize = 1;
/// Turns of the neighbour's alone, when the heads are off.
const ALONE: usize = 5;

/// A plain server's volume and target, as its administrator would make them. On the disk that is in no group: each machine
/// has names of its own for them.
const PLAIN: &str = "
set -e
export DM_DISABLE_UDEV=1
modprobe -a target_core_mod iscsi_target_mod
for d in /sys/block/sd*; do
  dd if=/dev/${d##*/} bs=4k count=1 iflag=direct status=none | grep -q LABELONE || disk=/dev/${d##*/}
done
config='devices{use_devicesfile=0 obtain_device_list_from_udev=0} global{event_activation=0} activation{monitoring=0 udev_sync=0 udev_rules=0}'
lvm vgcreate --config \"$config\" plain $disk
lvm lvcreate --config \"$config\" -Wn -L 256M -n data plain
mkdir -p /run/dbus /var/target/pr /var/target/alua
dbus-daemon --system --fork
targetcli <<'END'
/backstores/block create name=data dev=/dev/mapper/plain-data
/iscsi create iqn.2026-01.org.example:plain
/iscsi/iqn.2026-01.org.example:plain/tpg1/luns create /backstores/block/data
/iscsi/iqn.2026-01.org.example:plain/tpg1/acls create iqn.1993-08.org.debian:01:client
ls
exit
END
";

/// One way to drive a LUN.
struct Pattern {
    name: &'static str,
    rw: &'static str,
    bytes: &'static str,
    depth: usize,
}

const PATTERNS: [Pattern; 4] = [
    Pattern {
        name: "4 KiB random read",
        rw: "randread",
        bytes: "4k",
        depth: 16,
    },
    Pattern {
        name: "4 KiB random write",
        rw: "randwrite",
        bytes: "4k",
        depth: 16,
    },
    Pattern {
        name: "1 MiB sequential read",
        rw: "read",
        bytes: "1M",
        depth: 4,
    },
    Pattern {
        name: "1 MiB sequential write",
        rw: "write",
        bytes: "1M",
        depth: 4,
    },
];

/// What the client has of each side.
struct Luns {
    ours: String,
    plain: String,
}

pub fn against_plain_lio(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.clear()?;
    let lab = Lab::up(&Options {
        shelf,
        disks: Disks::Copies(bare_disks("throughput", 4, 512 << 20)?),
        config: Some(config::generate(&[], &config::secret()?, DEAD_MS) + &tank(ADDRESS, "")),
        neighbour: true,
        ready: Ready::Answering,
        ..lab_options()
    })?;
    let outcome = measure(&lab).map_err(|error| error.context(lab.trouble()));
    lab.down()?;
    println!("{}", outcome?);
    Ok(())
}

fn measure(lab: &Lab) -> Result<String> {
    make_tank(lab, 3)?;
    lab.tell_ok(Head::A, "volume create tank/data 256M")?;
    let made = neighbour(lab, PLAIN)?;
    ensure!(made.contains("write-thru activated"), "{made}");
    lab.wait_for("client up", LIMIT)?;
    lab.login()?;
    said(lab, &client::login_script(PLAIN_ADDRESS, PLAIN_IQN))?;
    let luns = Luns {
        ours: device(lab, OUR_IQN)?,
        plain: device(lab, PLAIN_IQN)?,
    };
    same_terms(lab, &luns)?;
    for device in [&luns.ours, &luns.plain] {
        said(
            lab,
            &format!("dd if=/dev/urandom of={device} bs=1M count=256 oflag=direct 2>&1"),
        )?;
    }
    let mut table = format!(
        "operations a second, median of {ALTERNATIONS} turns each ({}):\n{:<24} {:>12} {:>12} {:>8} {:>18} {:>18}\n",
        lab.status()?.accel,
        "",
        "ours",
        "plain LIO",
        "ratio",
        "middle half",
        "spread"
    );
    for pattern in &PATTERNS {
        row(&mut table, pattern, &turns(lab, &luns, pattern)?);
    }
    // What the heads cost the neighbour by being there: they share the processors of the machine that emulates them.
    lab.crash_all(&Head::BOTH.map(Machine::from))?;
    for pattern in &PATTERNS {
        let mut rates = drive(lab, pattern, &[&luns.plain; ALONE])?;
        rates.sort_by(f64::total_cmp);
        let _ = writeln!(
            table,
            "{:<24} {:>12} {:>10.0}/s  with the heads off",
            pattern.name,
            "",
            rates[ALONE / 2]
        );
    }
    Ok(table)
}

fn neighbour(lab: &Lab, script: &str) -> Result<String> {
    let output = lab.neighbour(&["sh", "-c", script])?;
    ensure!(
        output.status == 0,
        "the plain server: {} {}",
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

fn device(lab: &Lab, iqn: &str) -> Result<String> {
    said(lab, &format!("{} device {iqn} 0", guest::SELF))
}

/// What the client knows of both is equal: what the sessions agreed on, and the disks' caches and limits.
fn same_terms(lab: &Lab, luns: &Luns) -> Result<()> {
    let agreed = said(lab, "iscsiadm -m session -P 2")?;
    let of = |iqn: &str| -> Vec<&str> {
        let from = agreed.lines().skip_while(|line| !line.contains(iqn));
        let terms = from.skip_while(|line| !line.contains("Negotiated iSCSI params"));
        let terms = terms.skip(2).map(str::trim);
        terms
            .take_while(|line| line.contains(": ") && !line.starts_with("Target"))
            .collect()
    };
    let queue = |device: &str| {
        let name = device.trim_start_matches("/dev/");
        said(
            lab,
            &format!(
                "cd /sys/block/{name}; cat queue/write_cache queue/fua queue/scheduler queue/max_sectors_kb queue/nr_requests \
                 device/queue_depth device/scsi_disk/*/cache_type size"
            ),
        )
    };
    let (ours, plain) = (of(OUR_IQN), of(PLAIN_IQN));
    ensure!(
        !ours.is_empty() && ours == plain,
        "other terms: {ours:?} and {plain:?}"
    );
    let (ours, plain) = (queue(&luns.ours)?, queue(&luns.plain)?);
    ensure!(
        ours == plain,
        "other disks:\n{ours}\nand on plain Linux:\n{plain}"
    );
    Ok(())
}

/// Pairs of ours and the plain server's, in turns A, B, B, A, and each in operations a second.
fn turns(lab: &Lab, luns: &Luns, pattern: &Pattern) -> Result<Vec<(f64, f64)>> {
    let mut order = Vec::new();
    for turn in 0..ALTERNATIONS {
        let mut sides = [&luns.ours, &luns.plain];
        if turn % 2 == 1 {
            sides.reverse();
        }
        order.extend(sides);
    }
    let rates = drive(lab, pattern, &order)?;
    let pairs = rates.chunks_exact(2).enumerate();
    Ok(pairs
        .map(|(turn, pair)| match turn % 2 {
            0 => (pair[0], pair[1]),
            _ => (pair[1], pair[0]),
        })
        .collect())
}

/// Drives these devices one after the other, by one fio; operations a second of each.
fn drive(lab: &Lab, pattern: &Pattern, devices: &[&String]) -> Result<Vec<f64>> {
    let Pattern {
        rw, bytes, depth, ..
    } = pattern;
    let mut jobs = format!(
        "[global]\nioengine=libaio\ndirect=1\nthread\nrw={rw}\nbs={bytes}\niodepth={depth}\nsize=192M\nnorandommap\n\
         time_based\nruntime={TURN_S}\nramp_time=250ms\nstonewall\n"
    );
    for (turn, device) in devices.iter().enumerate() {
        let _ = write!(jobs, "[turn{turn}]\nfilename={device}\n");
    }
    let report = said(
        lab,
        &format!("cat > /run/jobs.fio <<'END'\n{jobs}END\nfio --output-format=json /run/jobs.fio"),
    )?;
    let json = report.find('{').context("fio said nothing")?;
    let report: Value = serde_json::from_str(&report[json..])?;
    let ran = report["jobs"].as_array().context("fio ran nothing")?;
    ensure!(ran.len() == devices.len(), "fio ran {} turns", ran.len());
    ran.iter()
        .map(|job| {
            let rates = ["read", "write"].map(|way| job[way]["iops"].as_f64().unwrap_or(0.0));
            let rate = rates[0] + rates[1];
            ensure!(job["error"] == 0 && rate > 0.0, "a turn failed: {job}");
            Ok(rate)
        })
        .collect()
}

fn row(table: &mut String, pattern: &Pattern, turns: &[(f64, f64)]) {
    let sorted = |value: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let median = |values: &[f64]| {
        let middle = values.len() / 2;
        (values[middle] + values[values.len() - 1 - middle]) / 2.0
    };
    let ratios = sorted(|(ours, plain)| ours / plain);
    let quarter = ratios.len() / 4;
    let _ = writeln!(
        table,
        "{:<24} {:>10.0}/s {:>10.0}/s {:>8.3} {:>18} {:>18}",
        pattern.name,
        median(&sorted(|turn| turn.0)),
        median(&sorted(|turn| turn.1)),
        median(&ratios),
        format!(
            "{:.3} to {:.3}",
            ratios[quarter],
            ratios[ratios.len() - 1 - quarter]
        ),
        format!("{:.3} to {:.3}", ratios[0], ratios[ratios.len() - 1])
    );
}
