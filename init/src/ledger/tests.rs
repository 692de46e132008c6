//! The whole of a ledger on files in the place of disks: two heads, three copies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc;

use orthrus_hb::ledger::{BLOCK_BYTES, FLIGHT_BLOCKS, Place};
use orthrus_hb::{PoolState, ledger};
use tempfile::TempDir;

use super::region::NAMES;
use super::*;
use crate::clock;
use crate::config::Config;
use crate::log::{Level, Line, Source};

/// How long a test waits for what must come: only a broken ledger waits so long.
const LIMIT: Duration = Duration::from_secs(20);

/// Disks as files, which go with it.
struct Shelf {
    /// Held for as long as they are used.
    _directory: TempDir,
    group: VolumeGroup,
}

impl Shelf {
    /// `None`, aloud, where files cannot be opened past the page cache.
    fn new() -> Option<Shelf> {
        let directory = TempDir::new().unwrap();
        let mut group = region::tests::group();
        for disk in group.pvs.iter_mut().filter_map(|pv| pv.disk.as_mut()) {
            disk.path = directory.path().join(&disk.name);
            File::create(&disk.path)
                .unwrap()
                .set_len(disk.bytes)
                .unwrap();
        }
        let shelf = Shelf {
            _directory: directory,
            group,
        };
        let region = &shelf.regions()[0];
        if device::open_path(region, Access::Read).is_err() {
            eprintln!("SKIPPED: no O_DIRECT on the temporary directory's file system");
            return None;
        }
        Some(shelf)
    }

    fn regions(&self) -> Vec<Region> {
        locate(&self.group, region::tests::cluster()).regions
    }

    /// A head's ledger, and where its wakes go.
    fn ledger(&self, me: HeadId, boot: u8) -> (Ledger, mpsc::Receiver<()>) {
        let (woken, wakes) = mpsc::channel();
        let wake = move || {
            let _ = woken.send(());
        };
        let opener = device::open_path;
        let ledger = Ledger::with_opener("tank", keeper(me, boot), Arc::new(wake), opener);
        (ledger, wakes)
    }

    /// The bytes of a disk.
    fn disk(&self, copy: usize) -> File {
        let path = &self.regions()[copy].disk.path;
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    }

    fn block(&self, copy: usize, block: usize) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        let at = self.regions()[copy].offset_of(block).unwrap();
        self.disk(copy).read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

fn keeper(me: HeadId, boot: u8) -> Keeper {
    let config = Config::parse(crate::worker::tests::CONFIG).unwrap();
    Keeper {
        me,
        incarnation: Incarnation([boot; 8]),
        cluster: region::tests::cluster(),
        secret: config.secret,
    }
}

fn record(head: HeadId, epoch: u32, sequence: u64) -> Record {
    Record {
        head,
        incarnation: Incarnation([1; 8]),
        state: PoolState::Serving,
        epoch: Epoch(epoch),
        sequence,
        lease: None,
    }
}

/// Waits, woken by the readers, until the ledger shows this record.
fn await_record(ledger: &Ledger, wakes: &mpsc::Receiver<()>, wanted: Option<Record>) {
    await_that(|| {
        // Asked again when nobody wakes, as the heartbeat thread does: a reader may just have held the lock.
        let _ = wakes.recv_timeout(Duration::from_millis(20));
        matches!(ledger.news(), Some(News::Sight(sight)) if sight.peer == wanted)
    });
}

/// Looks again and again; a condition that never holds ends the test.
fn await_that(mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "it never held");
        std::thread::yield_now();
    }
}

/// Hands the record over again and again, as a heartbeat does, until this holds: one that waited for too long, as on a
/// busy machine, is not written.
fn beat_until(ledger: &Ledger, record: Record, mut holds: impl FnMut() -> bool) {
    await_that(|| {
        hand(ledger, record);
        holds()
    });
}

fn hand(ledger: &Ledger, record: Record) {
    // A writer may just hold the lock; the heartbeat thread asks again, too.
    let mut given = false;
    await_that(|| {
        ledger.offer(clock::now(), || {
            given = true;
            Some(record)
        });
        given
    });
}

#[test]
fn a_copy_is_not_read_while_the_disk_is_claimed() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (standby, _) = shelf.ledger(HeadId::Second, 2);
    let was_read = || {
        standby
            .readers
            .seen()
            .map(|copy| copy.unwrap().1.was_read())
    };
    let claims = crate::disk::turn::take(&shelf.regions()[0].disk.id);
    standby.follow(&shelf.group);
    await_that(|| was_read() == [false, true, true]);
    drop(claims);
    await_that(|| was_read() == [true; 3]);
}

#[test]
fn a_beat_of_the_owner_is_seen_by_the_standby_on_every_copy() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (owner, _) = shelf.ledger(HeadId::First, 1);
    let (standby, wakes) = shelf.ledger(HeadId::Second, 2);
    standby.follow(&shelf.group);
    await_record(&standby, &wakes, None);
    owner.begin(Epoch(7), &shelf.group);
    for sequence in 1..4 {
        let beat = record(HeadId::First, 7, sequence);
        beat_until(&owner, beat, || {
            // Not for long: a beat that was not written wakes nobody, and the next one is due.
            let _ = wakes.recv_timeout(Duration::from_millis(20));
            matches!(standby.news(), Some(News::Sight(sight)) if sight.peer == Some(beat))
        });
    }
    let last = record(HeadId::First, 7, 3);
    beat_until(&owner, last, || {
        let all = (0..3).all(|copy| shelf.block(copy, 1)[56] == 3);
        all && owner.report(clock::now()).written == Some(3) && owner.recorded() == Some(3)
    });
    assert!(owner.end().is_ok());
    let place = Place::of_group(region::tests::cluster(), &shelf.group.uuid.to_string());
    let secret = keeper(HeadId::First, 1).secret;
    for copy in 0..3 {
        let block = shelf.block(copy, 1);
        let beat = ledger::decode(&block, &place, secret.expose());
        assert_eq!(beat, Ok(record(HeadId::First, 7, 3)));
        assert!(block[ledger::RECORD_BYTES..].iter().all(|byte| *byte == 0));
        // The other head's slot is the other head's.
        assert_eq!(shelf.block(copy, 2), [0; BLOCK_BYTES]);
    }
    await_that(|| standby.report(clock::now()).read == 3);
}

#[test]
fn nothing_is_written_without_a_claim_or_under_another_one() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (head, _) = shelf.ledger(HeadId::First, 1);
    head.follow(&shelf.group);
    hand(&head, record(HeadId::First, 1, 1));
    head.begin(Epoch(2), &shelf.group);
    hand(&head, record(HeadId::First, 1, 2));
    a_page_is_written(&shelf, &head);
    let (empty, written) = ([0; BLOCK_BYTES], |copy| shelf.block(copy, 1)[0] != 0);
    beat_until(&head, record(HeadId::First, 2, 3), || (0..3).all(written));
    assert!(head.end().is_ok());
    hand(&head, record(HeadId::First, 2, 4));
    // Even sequence numbers were never to be written.
    assert!((0..3).all(|copy| shelf.block(copy, 0) == empty));
    assert_eq!(head.report(clock::now()).written, None);
}

#[test]
fn a_record_that_waited_for_long_is_not_written() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (head, _) = shelf.ledger(HeadId::First, 1);
    head.begin(Epoch(2), &shelf.group);
    let long_ago = clock::now() - embassy_time::Duration::from_secs(2);
    let mut given = false;
    await_that(|| {
        head.offer(long_ago, || {
            given = true;
            Some(record(HeadId::First, 2, 1))
        });
        given
    });
    a_page_is_written(&shelf, &head);
    assert!((0..3).all(|copy| shelf.block(copy, 1) == [0; BLOCK_BYTES]));
    assert!(head.end().is_ok());
}

/// Pages come after beats: when this has passed, a record that was handed over before has had its turn.
fn a_page_is_written(shelf: &Shelf, head: &Ledger) {
    let place = FLIGHT_BLOCKS - 1;
    let page = Box::new([7; BLOCK_BYTES]);
    head.writers.put_page(Epoch(2), place, page);
    let at = ledger::flight_block_of(HeadId::First) + place;
    await_that(|| (0..3).all(|copy| shelf.block(copy, at)[0] == 7));
}

#[test]
fn the_greatest_epoch_of_either_head_on_any_copy_counts() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (head, _) = shelf.ledger(HeadId::First, 1);
    assert_eq!(head.greatest_epoch(&shelf.group), Epoch::NONE);
    let write = |copy: usize, record: Record| {
        let region = &shelf.regions()[copy];
        let secret = keeper(HeadId::First, 1).secret;
        let bytes = ledger::encode(&record, &region.place, secret.expose());
        let at = region
            .offset_of(ledger::block_of(record.head, record.sequence))
            .unwrap();
        shelf.disk(copy).write_all_at(&bytes, at).unwrap();
        shelf.disk(copy).sync_all().unwrap();
    };
    write(0, record(HeadId::Second, 5, 1));
    assert_eq!(head.greatest_epoch(&shelf.group), Epoch(5));
    write(2, record(HeadId::First, 9, 2));
    assert_eq!(head.greatest_epoch(&shelf.group), Epoch(9));
    // Torn: it counts for nothing.
    let at = shelf.regions()[2].offset_of(0).unwrap();
    shelf.disk(2).write_all_at(&[1], at + 44).unwrap();
    shelf.disk(2).sync_all().unwrap();
    assert_eq!(head.greatest_epoch(&shelf.group), Epoch(5));
}

#[test]
fn a_copy_that_is_gone_is_named_and_the_others_go_on() {
    let Some(mut shelf) = Shelf::new() else {
        return;
    };
    std::fs::remove_file(&shelf.regions()[1].disk.path).unwrap();
    let (head, wakes) = shelf.ledger(HeadId::First, 1);
    head.follow(&shelf.group);
    await_record(&head, &wakes, None);
    await_that(|| head.report(clock::now()).read == 2);
    await_that(|| {
        let report = head.report(clock::now());
        report.copies == 3 && report.problems.iter().any(|p| p.contains("on sd2"))
    });
    // The metadata change: there is none any more.
    shelf
        .group
        .lvs
        .retain(|lv| !NAMES.contains(&lv.name.as_str()));
    head.follow(&shelf.group);
    await_that(|| head.news() == Some(News::NoLedger));
    let report = head.report(clock::now());
    assert_eq!(
        (report.copies, report.read, report.commands.len()),
        (0, 0, 3)
    );
}

#[test]
fn a_pool_whose_only_copy_is_on_a_disk_marked_as_missing_has_no_ledger_and_no_lease() {
    let Some(mut shelf) = Shelf::new() else {
        return;
    };
    shelf.group.lvs.truncate(1);
    let (standby, wakes) = shelf.ledger(HeadId::Second, 2);
    standby.follow(&shelf.group);
    await_record(&standby, &wakes, None);
    // The disk is not here: the peer may tick there.
    shelf.group.pvs[1].disk = None;
    standby.follow(&shelf.group);
    while let Some(news) = standby.news() {
        assert_ne!(news, News::NoLedger);
    }
    // Its owner writes on the others that it counts no more.
    shelf.group.pvs[1].is_missing = true;
    standby.follow(&shelf.group);
    await_that(|| standby.news() == Some(News::NoLedger));
    let report = standby.report(clock::now());
    assert!(
        report.problems[0].contains("marked as missing"),
        "{report:?}"
    );
    let slots = standby.slots(&shelf.group);
    assert_eq!(slots.err(), Some(SlotError::Absent));
}

#[test]
fn a_record_counts_once_more_than_half_of_the_copies_have_it() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let disks: Vec<PathBuf> = shelf.regions().into_iter().map(|r| r.disk.path).collect();
    let (head, _) = shelf.ledger(HeadId::First, 1);
    std::fs::remove_file(&disks[2]).unwrap();
    head.begin(Epoch(1), &shelf.group);
    assert_eq!(head.recorded(), None);
    let first = record(HeadId::First, 1, 1);
    beat_until(&head, first, || head.recorded() == Some(1));
    assert!(head.end().is_ok());
    std::fs::remove_file(&disks[1]).unwrap();
    head.begin(Epoch(2), &shelf.group);
    beat_until(&head, record(HeadId::First, 2, 2), || {
        let report = head.report(clock::now());
        report.written == Some(1) && report.problems.iter().any(|p| p.contains("be written"))
    });
    assert_eq!(head.recorded(), None);
}

#[test]
fn a_copy_that_comes_under_the_claim_is_written_with_the_others() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let without = |copies: &[&str]| {
        let mut group = shelf.group.clone();
        group.lvs.retain(|lv| !copies.contains(&lv.name.as_str()));
        group
    };
    let (head, _) = shelf.ledger(HeadId::First, 1);
    let on =
        |copy: usize, sequence: u8| shelf.block(copy, usize::from(sequence % 2))[56] == sequence;
    head.begin(Epoch(2), &without(&NAMES));
    for (sequence, group, copies) in [
        (1, without(&NAMES[1..]), 1),
        (2, without(&[]), 3),
        (3, without(&NAMES[..1]), 2),
    ] {
        // Of another claim: nothing comes of it.
        head.keep_up(Epoch(1), &without(&[]));
        head.keep_up(Epoch(2), &group);
        let beat = record(HeadId::First, 2, u64::from(sequence));
        beat_until(&head, beat, || {
            head.report(clock::now()).written == Some(copies)
                && head.recorded() == Some(beat.sequence)
        });
        let gone = 3 - copies;
        let those = match sequence {
            3 => gone..3,
            _ => 0..copies,
        };
        await_that(|| those.clone().all(|copy| on(copy, sequence)));
        assert!(
            (0..3)
                .filter(|copy| !those.contains(copy))
                .all(|copy| !on(copy, sequence))
        );
    }
    assert!(head.end().is_ok());
    head.keep_up(Epoch(2), &shelf.group);
    assert_eq!(head.report(clock::now()).written, None);
}

#[test]
fn what_a_head_wrote_is_read_by_the_other_after_both_died() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (owner, _) = shelf.ledger(HeadId::First, 1);
    let region = &shelf.regions()[0];
    owner.writers.grant(Epoch(1), shelf.regions());
    let text = |number: u64| Line::new(number, Level::Info, Source::Orthrus, &format!("n{number}"));
    let mut packer = packer::Packer::new(HeadId::First, Incarnation([1; 8]), Some(1), None);
    for number in 0..5 {
        assert!(packer.add(number, &text(number)).is_none());
        let (place, block) = packer.flush().unwrap();
        let page = flight::encode(&block, &region.place, owner.keeper.secret.expose());
        owner.writers.put_page(Epoch(1), place, page);
    }
    // Of another claim: refused.
    let page = Box::new([9; BLOCK_BYTES]);
    owner.writers.put_page(Epoch(2), 5, page);
    await_that(|| {
        let (reader, _) = shelf.ledger(HeadId::Second, 2);
        reader.history(&[&shelf.group]).entries.len() == 5
    });
    await_that(|| (0..3).all(|copy| shelf.block(copy, 16 + 1)[0] != 0));
    assert!(owner.end().is_ok());
    // The block that was written last is torn on every copy: the version before it is still there.
    for copy in 0..3 {
        let at = shelf.regions()[copy].offset_of(16).unwrap();
        shelf.disk(copy).write_all_at(&[0; 512], at).unwrap();
        shelf.disk(copy).sync_all().unwrap();
        assert_eq!(shelf.block(copy, 16 + 5), [0; BLOCK_BYTES]);
    }
    let (reader, _) = shelf.ledger(HeadId::Second, 2);
    let history = reader.history(&[&shelf.group]);
    let texts = history.entries.iter().map(|entry| entry.line.text.as_str());
    assert_eq!(texts.collect::<Vec<_>>(), ["n0", "n1", "n2", "n3"]);
    assert!(history.troubles.is_empty());
}

/// A disk that does not answer until it is told to.
static GATE: (Mutex<bool>, std::sync::Condvar) = (Mutex::new(false), std::sync::Condvar::new());

fn open_behind_the_gate(region: &Region, access: Access) -> std::io::Result<File> {
    let opened = GATE.1.wait_while(lock(&GATE.0), |open| !*open).unwrap();
    drop(opened);
    device::open_path(region, access)
}

#[test]
fn a_claim_does_not_end_while_a_write_is_under_way() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let writers = Writers::new("tank", keeper(HeadId::First, 1), open_behind_the_gate);
    writers.grant(Epoch(1), shelf.regions()[..1].to_vec());
    let mut given = false;
    await_that(|| {
        writers.offer(clock::now(), || {
            given = true;
            Some(record(HeadId::First, 1, 1))
        });
        given
    });
    // As soon as the thread has taken it.
    await_that(|| {
        writers.revoke(Duration::ZERO).is_err() || {
            writers.grant(Epoch(1), shelf.regions()[..1].to_vec());
            writers.offer(clock::now(), || Some(record(HeadId::First, 1, 1)));
            false
        }
    });
    let stuck = writers.revoke(Duration::ZERO).unwrap_err();
    assert!(stuck.to_string().contains("sd1"));
    *lock(&GATE.0) = true;
    GATE.1.notify_all();
    assert!(writers.revoke(LIMIT).is_ok());
    assert_eq!(writers.granted(), None);
}

/// Another one, for the writes of one test: the disks that can be opened, by name.
static LEAVING: (Mutex<Vec<String>>, std::sync::Condvar) =
    (Mutex::new(Vec::new()), std::sync::Condvar::new());

fn open_behind_the_leaving(region: &Region, access: Access) -> std::io::Result<File> {
    let name = &region.disk.name;
    let opened = LEAVING
        .1
        .wait_while(lock(&LEAVING.0), |open| !open.contains(name))
        .unwrap();
    drop(opened);
    device::open_path(region, access)
}

#[test]
fn a_disk_leaves_only_when_nothing_is_written_to_it_and_that_counts_for_no_other() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let [old, other, ..] = &shelf.regions()[..] else {
        panic!("{} regions", shelf.regions().len());
    };
    let writers = Writers::new("tank", keeper(HeadId::First, 1), open_behind_the_leaving);
    writers.grant(Epoch(1), vec![old.clone()]);
    let offer = || writers.offer(clock::now(), || Some(record(HeadId::First, 1, 1)));
    // As soon as the thread has taken it.
    await_that(|| {
        offer();
        writers.dismiss(&old.disk.id, Duration::ZERO).is_err() || {
            writers.follow(Epoch(1), vec![old.clone()]);
            false
        }
    });
    assert!(writers.dismiss(&other.disk.id, Duration::ZERO).is_ok());
    // The copy is made again, on another disk.
    let mut again = other.clone();
    again.copy = old.copy;
    writers.follow(Epoch(1), vec![again]);
    let stuck = writers.dismiss(&old.disk.id, Duration::ZERO).unwrap_err();
    assert!(stuck.to_string().contains(&old.disk.name), "{stuck}");
    let open = |disk: &str| {
        lock(&LEAVING.0).push(disk.to_owned());
        LEAVING.1.notify_all();
    };
    open(&old.disk.name);
    assert!(writers.dismiss(&old.disk.id, LIMIT).is_ok());
    assert_eq!(writers.recorded(), None, "it is on the disk that left");
    open(&other.disk.name);
    await_that(|| {
        offer();
        writers.recorded() == Some(1)
    });
    assert!(writers.revoke(LIMIT).is_ok());
}

/// One more, for another test.
static LOST: (Mutex<bool>, std::sync::Condvar) = (Mutex::new(false), std::sync::Condvar::new());

/// The disk `sd1` does not answer; the others do.
fn open_beside_the_lost(region: &Region, access: Access) -> std::io::Result<File> {
    let is_lost = region.disk.name == "sd1";
    let opened = LOST.1.wait_while(lock(&LOST.0), |open| is_lost && !*open);
    drop(opened.unwrap());
    device::open_path(region, access)
}

#[test]
fn a_release_waits_for_no_write_to_a_disk_that_is_marked_as_lost() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let regions = shelf.regions();
    let writers = Writers::new("tank", keeper(HeadId::First, 1), open_beside_the_lost);
    writers.grant(Epoch(1), regions.clone());
    let lost = &regions[0].disk;
    // As soon as the thread has taken it.
    await_that(|| {
        writers.offer(clock::now(), || Some(record(HeadId::First, 1, 1)));
        writers.dismiss(&lost.id, Duration::ZERO).is_err() || {
            writers.follow(Epoch(1), regions.clone());
            false
        }
    });
    assert!(
        writers
            .revoke(Duration::ZERO)
            .unwrap_err()
            .to_string()
            .contains("sd1")
    );
    writers.grant(Epoch(2), regions[1..].to_vec());
    writers.give_up(std::slice::from_ref(&lost.id));
    assert!(writers.revoke(LIMIT).is_ok());
    // Who is taken back counts again.
    writers.grant(Epoch(3), regions.clone());
    assert!(writers.revoke(Duration::ZERO).is_err());
    *lock(&LOST.0) = true;
    LOST.1.notify_all();
    assert!(writers.revoke(LIMIT).is_ok());
}
