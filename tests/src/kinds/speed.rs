//! How long it takes to bring a group up: the firmware against `vgchange -ay`, in turns on the same disks and kernel.
//!
//! The groups are of linear volumes of an extent each. Their metadata are written as a text and restored by lvm2:
//! a thousand times `lvcreate` would take an hour. Each side is one process, measured from before it is started until it
//! has ended: reading all labels and metadata, and making the devices.

use anyhow::{Result, ensure};

use super::Bed;

/// Volumes of the groups.
const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// How often each side has its turn; the first of them warms up.
const TURNS: usize = 11;

/// The table, as it is printed.
///
/// # Errors
/// A side fails, or they do not make the same.
pub fn table(bed: &Bed) -> Result<String> {
    ensure!(
        !cfg!(debug_assertions),
        "what is shipped is optimised: cargo test --release -p orthrus-tests --test tools -- --ignored speed"
    );
    let mut table = format!(
        "{:>8} {:>12} {:>12} {:>20} {:>26}\n",
        "volumes", "lvm2", "firmware", "lvm2 / firmware", "spread of the ratio"
    );
    for volumes in SIZES {
        bed.script(&make(volumes))?;
        let turns: Result<Vec<(f64, f64)>> = (0..TURNS)
            .map(|turn| take_turns(bed, volumes, turn))
            .collect();
        bed.script("for i in 0; do dd if=/dev/zero of=$(disk $i) bs=1M count=9 oflag=direct conv=notrunc status=none; done")?;
        let turns = &turns?[1..];
        let lvm = median(turns.iter().map(|(lvm, _)| *lvm));
        let ours = median(turns.iter().map(|(_, ours)| *ours));
        let ratios = || turns.iter().map(|(lvm, ours)| lvm / ours);
        let least = ratios().fold(f64::INFINITY, f64::min);
        let most = ratios().fold(0.0, f64::max);
        table += &format!(
            "{volumes:>8} {lvm:>10.3} s {ours:>10.3} s {:>20.2} {:>26}\n",
            median(ratios()),
            format!("{least:.2} to {most:.2}")
        );
    }
    Ok(table)
}

/// Both sides once, the other one first every other time; seconds of lvm2 and of the firmware.
fn take_turns(bed: &Bed, volumes: usize, turn: usize) -> Result<(f64, f64)> {
    let lvm = "$timed lvm vgchange -ay k --config \"$config\"; count; run vgchange -an k";
    let ours = "$timed /run/volumes activate k; count; /run/volumes deactivate k";
    let (one, other) = if turn.is_multiple_of(2) {
        (lvm, ours)
    } else {
        (ours, lvm)
    };
    let said = bed.script(&format!(
        "timed='/run/volumes time'
         config='devices{{use_devicesfile=0 obtain_device_list_from_udev=0}} global{{event_activation=0 use_lvmpolld=0}} activation{{monitoring=0 udev_sync=0 udev_rules=0}}'
         count() {{ dmsetup ls | grep -c ^k-; }}
         {one}\n{other}"
    ))?;
    let numbers: Vec<u64> = said
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    let [first, made, second, made_too] = numbers[..] else {
        anyhow::bail!("no times: {said}");
    };
    ensure!(
        made == volumes as u64 && made_too == made,
        "{made} and {made_too} devices, and not {volumes}"
    );
    let (first, second) = (first as f64 / 1e6, second as f64 / 1e6);
    Ok(if turn.is_multiple_of(2) {
        (first, second)
    } else {
        (second, first)
    })
}

/// A group of so many volumes, by lvm2 from a text.
fn make(volumes: usize) -> String {
    format!(
        r#"d=$(disk 0)
run pvcreate -y -ff --metadatasize 8m $d
run vgcreate k $d
run vgcfgbackup -f /run/k.vg k
awk -v n={volumes} '
  /^\tphysical_volumes/ {{ body = 1 }}
  body && /^\t}}/ && !done {{ print; print "\tlogical_volumes {{"
    for (i = 0; i < n; i++) printf "v%d {{\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-%06d\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\ncreation_time = 1\ncreation_host = \"bench\"\nsegment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", %d]\n}}\n}}\n", i, i, i
    print "\t}}"; done = 1; next }}
  {{ print }}' /run/k.vg >/run/many.vg
run vgcfgrestore -f /run/many.vg k"#
    )
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
