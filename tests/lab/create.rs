//! From bare disks to a LUN and back, by the console alone.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result, bail, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    ADDRESS, LIMIT, bare_disks, disks_seen, pool_field, tank, wait_console, with_bare_disks,
};

use crate::change::answered;

const DISKS: usize = 4;

pub fn from_bare_disks(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("bare", DISKS, 256 << 20)?;
    // The magic number of ext4's superblock: the last one has something on it.
    let last = File::options().write(true).open(&disks[DISKS - 1])?;
    last.write_all_at(&[0x53, 0xef], 1024 + 0x38)?;
    with_bare_disks(bench, shelf, disks, &tank(ADDRESS, ""), make)
}

fn make(lab: &Lab) -> Result<()> {
    lab.wait_for("a faulted tank", LIMIT)?;
    let ids = disks_seen(lab, Head::A, DISKS)?;
    let before = lab.digest(None)?;
    let wrong = [
        (
            format!("pool create tank {} --yes", ids.join(" ")),
            "wipe it if that is to be lost",
        ),
        (
            format!("pool create tank {} {} --yes", ids[0], ids[0]),
            "named twice",
        ),
        (
            format!(
                "pool create tank {} --raid raid6 --wipe --yes",
                ids.join(" ")
            ),
            "5 disks at least are wanted, and there are 4",
        ),
        ("pool create tank sdz --yes".to_owned(), "no disk \"sdz\""),
        (format!("pool create pond {} --yes", ids[0]), "no pool"),
    ];
    refused(lab, Head::A, &wrong)?;
    ensure!(lab.digest(None)? == before, "something was written");

    // The last one has something on it.
    let [first, .., last] = &ids[..] else {
        bail!("{ids:?}")
    };
    let create = format!(
        "pool create tank {} --raid raid5 --yes",
        ids[..DISKS - 1].join(" ")
    );
    lab.tell_ok(Head::A, &create)?;
    // The answer comes when it is served, and that is where it was made: nobody else had the time to.
    let owner = lab.owner(Some("tank"))?;
    ensure!(owner == Head::A, "{owner} serves what a made");
    lab.wait_for("b standby tank", LIMIT)?;
    ensure!(lab.owner(Some("tank"))? == Head::A, "it did not stay there");
    let ledgers = pool_field(lab, Head::A, "state_volume")?;
    ensure!(ledgers["problem"].is_null(), "{ledgers}");
    let again = lab.tell(Head::A, &create)?;
    ensure!(
        again.text.contains("on the disks already"),
        "{}",
        again.text
    );
    let default = pool_field(lab, Head::A, "default_raid")?;
    ensure!(
        default["level"] == "raid5" && default["images"] == 3,
        "{default}"
    );
    let said = lab.tell_ok(Head::A, "volume create tank/data 100M")?;
    ensure!(
        said.contains("raid5 on 3 disks, the pool's default"),
        "{said}"
    );
    let volumes = offered(lab, Head::A)?;
    ensure!(volumes == [("data".to_owned(), 0)], "{volumes:?}");
    members(lab, first, last)?;

    lab.wait_for("b standby", LIMIT)?;
    wait_console(lab, Head::B, 0, "the peer's ledger: ticking")?;
    lab.crash(Head::A)?;
    lab.wait_for("b serves tank", LIMIT)?;
    ensure!(
        offered(lab, Head::B)? == volumes,
        "after a crash of its maker"
    );
    lab.boot_all(&[Machine::from(Head::A)])?;
    lab.wait_for("a standby", LIMIT)?;
    unmake(lab)?;

    // Its disks are bare, on either head, and it is made where that is said.
    let create = format!("pool create tank {} --yes", ids.join(" "));
    lab.tell_ok(Head::A, &create)?;
    let owner = lab.owner(Some("tank"))?;
    ensure!(owner == Head::A, "{owner} serves what a made again");
    ensure!(offered(lab, Head::A)?.is_empty(), "there are volumes");
    lab.wait_for("b standby tank", LIMIT)?;
    Ok(())
}

/// A disk comes, goes and comes again; what has something on it stays.
fn members(lab: &Lab, used: &str, new: &str) -> Result<()> {
    refused(
        lab,
        Head::A,
        &[
            (format!("disk add tank {new} --yes"), "wipe it if that"),
            (
                format!("disk add tank {used} --wipe --yes"),
                "is a disk of the pool already",
            ),
            (
                format!("disk remove tank {new} --yes"),
                "no disk of the pool",
            ),
            (
                format!("disk remove tank {used} --yes"),
                "extents of data, orthrus_",
            ),
            (format!("disk locate {used} on"), "in no enclosure"),
            ("disk locate sdz off".to_owned(), "no disk \"sdz\""),
        ],
    )?;
    let not_here = format!("disk add tank {new} --wipe --yes");
    refused(lab, Head::B, &[(not_here, "does not serve")])?;
    lab.tell_ok(Head::A, &format!("disk add tank {new} --wipe --yes"))?;
    ensure!(disks_of(lab, Head::A)? == DISKS, "after it was added");
    lab.tell_ok(Head::A, &format!("disk remove tank {new} --yes"))?;
    ensure!(disks_of(lab, Head::A)? == DISKS - 1, "after it was removed");
    // It is bare.
    lab.tell_ok(Head::A, &format!("disk add tank {new} --yes"))?;
    ensure!(disks_of(lab, Head::A)? == DISKS, "after it was added again");
    Ok(())
}

fn disks_of(lab: &Lab, owner: Head) -> Result<usize> {
    let disks = pool_field(lab, owner, "disks")?;
    Ok(disks.as_array().context("no disks")?.len())
}

/// What the pool is goes, and its disks are bare.
fn unmake(lab: &Lab) -> Result<()> {
    let order = |words: &str| format!("pool destroy tank {words}");
    refused(
        lab,
        Head::A,
        &[(order("--volumes --yes"), "does not serve")],
    )?;
    refused(lab, Head::B, &[(order("--yes"), "has the volumes data")])?;
    lab.tell_ok(Head::B, &order("--volumes --yes"))?;
    lab.wait_for("a faulted tank", LIMIT)?;
    lab.wait_for("b faulted tank", LIMIT)?;
    refused(
        lab,
        Head::B,
        &[(order("--volumes --yes"), "does not serve")],
    )
}

fn refused(lab: &Lab, head: Head, all: &[(String, &str)]) -> Result<()> {
    all.iter()
        .try_for_each(|(command, why)| answered(lab, head, command, why))
}

fn offered(lab: &Lab, owner: Head) -> Result<Vec<(String, u64)>> {
    let volumes = pool_field(lab, owner, "volumes")?;
    let volumes = volumes.as_array().context("no volumes")?.iter();
    Ok(volumes
        .filter_map(|volume| Some((volume["name"].as_str()?.to_owned(), volume["lun"].as_u64()?)))
        .collect())
}
