//! Tests: each way in which an import or a release fails has its line in `status`: what failed, on what, and what ends it. Those of a
//! survey and a claim are in [`super::lines`].

use std::io;

use orthrus_hb::{Epoch, PoolState};
use rustix::io::Errno;

use super::lines::{LOOK_AFTER_IT, assert_lines_of, cases, disk, said};
use super::shares::SharesError;
use super::tests::worker;
use super::*;
use crate::array::geometry::GeometryError;
use crate::array::{self, AssembleError, MemberError, ReadError, SuperblockError};
use crate::disk::{DiskError, DiskId, WriteCache};
use crate::export::{Cause, ExportError, PlanError as TargetsError};
use crate::fence::release::{ReleaseError, StillRegistered};
use crate::filesystem::{Found, MakeError, MountError};
use crate::helper::HelperError;
use crate::ledger::WriteStuck;
use crate::modules::ModuleError;
use crate::multipath::device::PathsError;
use crate::net::{Mac, NetError, Taken};
use crate::state::StateError;
use crate::status;
use crate::volume::area::AreaError;
use crate::volume::edit::EditError;
use crate::volume::edit::apply::ApplyError;
use crate::volume::group::GroupError;
use crate::volume::label::LabelError;
use crate::volume::plan::{PlanError, Work as Change};
use crate::volume::write::ring::TooLarge;
use crate::volume::write::{Failure as Failed, Phase, WriteError};
use crate::volume::{Conflict, Problem, ReadTrouble, Refusal, Uuid, VolumeError};

/// Of an import, as the core asks for it.
fn assert_lines<E: Into<JobError>>(cases: Vec<(E, Vec<String>)>) {
    assert_lines_of(Work::Import, cases);
}

/// Of metadata that speak against serving the group.
impl From<Refusal> for JobError {
    fn from(refusal: Refusal) -> JobError {
        JobError::Refused {
            refusal,
            detail: String::new(),
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn uuid(digit: char) -> Uuid {
    let groups = [6, 4, 4, 4, 4, 4, 6].map(|length| digit.to_string().repeat(length));
    Uuid::from_text(&groups.join("-")).unwrap()
}

fn text(text: &str) -> String {
    text.to_owned()
}

const LOG: [&str; 2] = ["see `log`", "`reboot` this head"];

#[test]
fn each_step_of_an_import_and_a_release_has_its_line_in_status() {
    let ([see_log, reboot], [power, pull]) = (LOG, LOOK_AFTER_IT);
    let export = || ExportError::kernel("/sys/kernel/config/target", "mkdir", Errno::NOMEM);
    let failed = || Failed {
        disk: disk(),
        phase: Phase::WriteText,
        source: io::Error::from_raw_os_error(libc::EBADE),
    };
    assert_lines(cases! { JobError:
        JobError::Plan(_) => [
            TargetsError::TooMany { pool: text("tank"), found: 300 }.into() =>
                ["it cannot be served as it is", "pool tank: luns = \"all\" with 300 volumes", "[[pool.iscsi.lun]]"],
        ],
        JobError::NotClaimed(_) => [
            JobError::NotClaimed(Epoch(7)) => ["not claimed under epoch 7", "claimed anew by itself"],
        ],
        JobError::Paths(_) => [
            PathsError { disk: disk(), step: "create", source: eio() }.into() =>
                ["a step failed: sdx: paths: create: Input/output error", see_log, reboot],
        ],
        JobError::State(_) => [
            MountError::new::<io::Error>("/run/pool/tank/state".as_ref(), "unmount")(eio()).into() =>
                ["/run/pool/tank/state: unmount: Input/output error", see_log, reboot],
        ],
        JobError::Release(_) => [
            ReleaseError { disk: disk(), trouble: StillRegistered::TimedOut }.into() =>
                ["sdx: no answer in time", "resets", "the other one takes the pool"],
        ],
        JobError::Ledger(_) => [
            WriteStuck { disks: text("sdx, sdy") }.into() => ["a write to the ledger on sdx, sdy does not end", "resets"],
        ],
        JobError::Disk(_) => [
            DiskError::CacheSwitch { disk: disk(), source: eio() }.into() =>
                ["sdx: cannot turn the write cache off: Input/output error", power, pull],
        ],
        JobError::NotMarked(_) => [
            JobError::NotMarked(ApplyError::Random(eio())) =>
                ["the lost disk cannot be marked as missing: no random numbers: Input/output error", see_log],
        ],
        JobError::Taken(_) => [
            Taken { address: "192.0.2.10".parse().unwrap(), by: Mac([2, 0, 0, 0, 0, 9]) }.into() =>
                ["192.0.2.10 is in use on the clients' network by 02:00:00:00:00:09", "take it away there", "address_check = false"],
        ],
        JobError::Metadata(_) => [
            WriteError::Fenced(failed()).into() =>
                ["reservation conflict: sdx: writing the text", "the other head has taken the pool"],
        ],
        JobError::Module(_) => [
            ModuleError::Unknown { name: text("dm-vdo") }.into() => ["module dm-vdo", "this firmware cannot serve such volumes"],
        ],
        JobError::Array(_) => [
            AssembleError::Different { array: text("md_1") }.into() => ["array md_1: runs already, of other members", "`reboot`"],
        ],
        JobError::Volume(_) => [
            VolumeError::Control(eio()).into() => ["/dev/mapper/control: Input/output error", see_log, reboot],
        ],
        JobError::Export(_) => [
            export().into() => ["/sys/kernel/config/target: mkdir: Cannot allocate memory", see_log, reboot],
        ],
        JobError::Shares(_) => [
            SharesError::Export(export()).into() => ["/sys/kernel/config/target: mkdir", see_log, reboot],
        ],
        JobError::Net(_) => [
            NetError { device: text("eth1"), step: "add the service address", errno: Errno::NODEV }.into() =>
                ["eth1: add the service address: No such device", "`data` in the configuration", "its cable"],
        ];
        // What speaks against a claim, and the answer to who told a head to make a pool.
        not JobError::NoGroup { .. }
            | JobError::Destroyed { .. }
            | JobError::Refused { .. }
            | JobError::Survey { .. }
            | JobError::Stranger { .. }
            | JobError::Changed { .. }
            | JobError::Create(_)
            | JobError::Fence(_)
            | JobError::Claim(_)
            | JobError::Lease(_)
            | JobError::Slots(_)
            | JobError::CacheUnderMd { .. }
    });
}

#[test]
fn each_reason_to_leave_a_volume_group_alone_has_its_line_in_status() {
    let connect = "connect it";
    assert_lines(cases! { Refusal:
        Refusal::MissingDisk { .. } => [
            Refusal::MissingDisk { uuid: uuid('1'), hint: None } => ["a disk is missing: physical volume 111111-1111", connect],
            Refusal::MissingDisk { uuid: uuid('1'), hint: Some(text("/dev/sdq")) } => ["last seen as \"/dev/sdq\"", connect],
        ],
        Refusal::Silent { .. } => [
            Refusal::Silent { missing: text("physical volume 1"), disks: vec![text("sdx (naa.7)")] } =>
                ["physical volume 1 is not found", "sdx (naa.7) does not answer", "its power and its cables", "pull it out"],
        ],
        Refusal::MissingMember { .. } => [
            Refusal::MissingMember { array: text("data"), slots: vec![0, 2] } =>
                ["members of the MD array \"data\"", "slots 0, 2", "connect them", "mdadm --assemble --run"],
        ],
        Refusal::DirtyArray { .. } => [
            Refusal::DirtyArray { array: text("data") } => ["MD array \"data\": a member is missing", "dirty_degraded = true"],
        ],
        Refusal::DirtyVolume { .. } => [
            Refusal::DirtyVolume { lv: text("vol0") } => ["volume vol0: an image of its RAID is missing", "dirty_degraded = true"],
        ],
        Refusal::OutdatedDisk { .. } => [
            Refusal::OutdatedDisk { uuid: uuid('1'), disk: disk() } =>
                ["sdx (physical volume 111111-1111", "its data are old", "vgextend --restoremissing"],
        ],
        Refusal::ShortDisk { .. } => [
            Refusal::ShortDisk { disk: disk() } =>
                ["sdx is smaller than the physical volume on it", "connect the disk that it was made of", "give it its size again"],
        ],
        Refusal::Clustered { .. } => [
            Refusal::Clustered { manager: text("sanlock") } => ["the lock manager sanlock", "vgchange --lock-type none"],
        ],
        Refusal::Foreign { .. } => [
            Refusal::Foreign { system_id: text("backup") } => ["the system ID \"backup\"", "vgchange --systemid"],
        ],
        Refusal::Exported => [Refusal::Exported => ["the volume group is exported", "vgimport"]],
        Refusal::Lost { .. } => [
            Refusal::Lost { lv: text("vol0"), pv: uuid('1') } =>
                ["volume vol0 needs physical volume 111111-1111", "was marked as missing", "connect the disk"],
        ],
        Refusal::Volume(_) => [
            Refusal::Volume(PlanError::TooLarge { lv: text("vol0") }) => ["volume vol0 lies beyond any disk", "vgcfgrestore"],
        ],
        Refusal::Moving => [Refusal::Moving => ["being moved from disk to disk", "let pvmove finish"]],
        Refusal::Conflict(_) => [
            Refusal::Conflict(Conflict::Stray { seqno: 9 }) => ["seqno 9", "connect the others"],
        ],
    });
    let conflicts = cases! { Conflict:
        Conflict::SamePv { .. } => [
            Conflict::SamePv { one: disk(), other: text("sdy") } =>
                ["sdx and sdy carry the same physical volume", "one is a copy; disconnect it"],
        ],
        Conflict::SameName { .. } => [
            Conflict::SameName { other: uuid('2'), system_id: None } => ["another volume group, 222222-2222", "vgrename"],
        ],
        Conflict::Disagreement { .. } => [
            Conflict::Disagreement { seqno: 9 } =>
                ["different metadata of the same age (seqno 9)", "two hosts changed", "leave one of them cabled", "vgcfgrestore"],
        ],
        Conflict::Stray { .. } => [
            Conflict::Stray { seqno: 9 } => ["the newest metadata (seqno 9)", "call missing", "connect the others"],
        ],
    };
    assert_lines(of(conflicts, Refusal::Conflict));
}

/// What the cases of a part are for the whole.
fn of<E, W>(cases: Vec<(E, Vec<String>)>, whole: impl Fn(E) -> W) -> Vec<(W, Vec<String>)> {
    let cases = cases.into_iter();
    cases.map(|(error, words)| (whole(error), words)).collect()
}

#[test]
fn each_reason_not_to_plan_a_volume_has_its_line_in_status() {
    let lv = || text("vol0");
    let cases = || {
        cases! { PlanError:
            PlanError::Unsupported { .. } => [
                PlanError::Unsupported { lv: lv(), kind: text("era") } =>
                    ["volume vol0", "type \"era\"", "convert it with the lvm2 that made it"],
            ],
            PlanError::UnknownStatus { .. } => [
                PlanError::UnknownStatus { lv: lv(), word: text("NEW_WORD") } =>
                    ["volume vol0", "status \"NEW_WORD\"", "finish what it means with the lvm2"],
            ],
            PlanError::UnderWay { .. } => [
                PlanError::UnderWay { lv: lv(), work: Change::Move } => ["volume vol0: it is being moved", "let pvmove finish"],
            ],
            PlanError::Incomplete { .. } => [
                PlanError::Incomplete { lv: lv(), pv: uuid('1') } =>
                    ["volume vol0 needs physical volume 111111-1111", "not here: connect it"],
            ],
            PlanError::WrongKind { .. } => [
                PlanError::WrongKind { lv: lv(), other: text("pool_tdata"), kind: "thin pool" } =>
                    ["volume vol0: pool_tdata is no thin pool", "vgcfgrestore"],
            ],
            PlanError::TooLarge { .. } => [
                PlanError::TooLarge { lv: lv() } => ["volume vol0 lies beyond any disk", "vgcfgrestore"],
            ],
        }
    };
    assert_lines(of(cases(), Refusal::Volume));
    assert_lines(of(cases(), VolumeError::Plan));
    let under_way = cases! { Change:
        Change::Move => [Change::Move => ["being moved from disk to disk", "pvmove --abort"]],
        Change::Locked => [Change::Locked => ["locked while it is being changed", "finish the change (lvconvert)"]],
        Change::Merge => [Change::Merge => ["a snapshot is being merged", "wait until the merge is over"]],
        Change::Convert => [Change::Convert => ["a mirror is being converted", "wait until lvconvert is over"]],
        Change::Reshape => [Change::Reshape => ["its layout is being changed", "wait until the reshape is over"]],
        Change::Uncache => [Change::Uncache => ["its cache is being taken away", "lvconvert --uncache"]],
        Change::Split => [Change::Split => ["an image of it is visible", "lvconvert --repair"]],
    };
    let planned = |work| Refusal::Volume(PlanError::UnderWay { lv: lv(), work });
    assert_lines(of(under_way, planned));
}

#[test]
fn each_way_in_which_volumes_are_not_activated_has_its_line_in_status() {
    let [see_log, reboot] = LOG;
    let device = || text("tank-vol0");
    assert_lines(cases! { VolumeError:
        VolumeError::Control(_) => [VolumeError::Control(eio()) => ["/dev/mapper/control: Input/output error", see_log, reboot]],
        VolumeError::Plan(_) => [
            VolumeError::Plan(PlanError::TooLarge { lv: text("vol0") }) => ["volume vol0 lies beyond any disk", "vgcfgrestore"],
        ],
        VolumeError::Different { .. } => [
            VolumeError::Different { device: device(), found: text("0 8 zero") } =>
                ["tank-vol0: is active with another table: 0 8 zero", "`reboot` this head takes it away"],
        ],
        VolumeError::Call { .. } => [
            VolumeError::Call { device: device(), step: "load table", source: eio() } =>
                ["tank-vol0: device-mapper load table: Input/output error", "check power and cables of the disks", reboot],
        ],
        VolumeError::Transaction { .. } => [
            VolumeError::Transaction { device: device(), found: text("3"), expected: 4 } =>
                ["tank-vol0: the pool's own metadata are at change \"3\"", "thin_repair"],
        ],
        VolumeError::List(_) => [VolumeError::List(eio()) => ["/sys/block: Input/output error", see_log, reboot]],
    });
}

#[test]
fn each_way_in_which_arrays_do_not_start_has_its_line_in_status() {
    let array = || text("md_1");
    assert_lines(cases! { AssembleError:
        AssembleError::List(_) => [AssembleError::List(eio()) => ["/sys/block: Input/output error", "see `log`", "`reboot`"]],
        AssembleError::Call { .. } => [
            AssembleError::Call { array: array(), step: text("member sdx"), source: eio() } =>
                ["array md_1: member sdx: Input/output error", "check power and cables of its disks", "`reboot`"],
        ],
        AssembleError::Different { .. } => [
            AssembleError::Different { array: array() } => ["array md_1: runs already, of other members", "`reboot`"],
        ],
        AssembleError::NotAsDecided { .. } => [
            AssembleError::NotAsDecided { array: array(), what: text("sdx is not in slot 1") } =>
                ["array md_1", "sdx is not in slot 1", "stopped unwritten", "mdadm --assemble"],
        ],
    });
}

/// Of a group that is not found for it.
fn not_found(trouble: ReadTrouble) -> JobError {
    let disk = disk();
    JobError::NoGroup {
        vg: text("tank"),
        detail: format!(" ({})", Problem { disk, trouble }),
    }
}

#[test]
fn each_reason_to_leave_an_array_alone_has_its_line_in_status() {
    let (one, other) = (disk, || text("sdy"));
    let shape = || array::Refusal::Geometry(GeometryError::Overflow);
    let cases = cases! { array::Refusal:
        array::Refusal::NoMember => [array::Refusal::NoMember => ["holds any of its data", "connect its members"]],
        array::Refusal::Diverged { .. } => [
            array::Refusal::Diverged { one: one(), other: other() } =>
                ["sdx and sdy went on without one another", "mdadm --zero-superblock"],
        ],
        array::Refusal::SameMember { .. } => [
            array::Refusal::SameMember { one: one(), other: other() } => ["sdx and sdy say", "a copy of the other, take it away"],
        ],
        array::Refusal::SameSlot { .. } => [
            array::Refusal::SameSlot { one: one(), other: other(), slot: 3 } =>
                ["sdx and sdy are both in slot 3", "mdadm --zero-superblock"],
        ],
        array::Refusal::Disagreement { .. } => [
            array::Refusal::Disagreement { one: one(), other: other() } =>
                ["sdx and sdy disagree on the shape", "mdadm --zero-superblock"],
        ],
        array::Refusal::Reshape => [array::Refusal::Reshape => ["a reshape is under way", "let mdadm finish it"]],
        array::Refusal::Replacement { .. } => [
            array::Refusal::Replacement { slot: 3 } => ["the member in slot 3 is being replaced", "let mdadm finish it"],
        ],
        array::Refusal::Clustered => [array::Refusal::Clustered => ["a clustered array", "mdadm --grow --bitmap=internal"]],
        array::Refusal::Geometry(_) => [shape() => ["longer than can be", "copy what is on it", "host with mdadm"]],
        array::Refusal::Zones => [array::Refusal::Zones => ["members of different sizes", "--update=layout-original"]],
        array::Refusal::NotEnough { .. } => [
            array::Refusal::NotEnough { missing: vec![0, 2], disks: 4 } =>
                ["2 of 4 members are missing or out of date", "slots 0, 2", "connect them", "mdadm --assemble --force"],
        ],
        array::Refusal::DirtyDegraded => [
            array::Refusal::DirtyDegraded => ["was not stopped in order", "dirty_degraded = true"],
        ],
        array::Refusal::NoJournal => [
            array::Refusal::NoJournal => ["its journal is missing", "connect it", "mdadm --assemble --force"],
        ],
    };
    let left_alone = |refusal| ReadTrouble::Array {
        name: text("data"),
        refusal,
    };
    let with_its_name = |(error, mut words): (_, Vec<String>)| {
        words.push(text("sdx: MD array \"data\""));
        (not_found(left_alone(error)), words)
    };
    assert_lines(cases.into_iter().map(with_its_name).collect());
    let shapes = cases! { GeometryError:
        GeometryError::Level(_) => [GeometryError::Level(-4) => ["level -4 is not assembled here", "copy what is on it"]],
        GeometryError::Layout { .. } => [
            GeometryError::Layout { level: 5, layout: 0x99 } => ["layout 0x99 of raid5 is not known", "copy what is on it"],
        ],
        GeometryError::Chunk(_) => [GeometryError::Chunk(3) => ["a chunk of 3 sectors", "copy what is on it"]],
        GeometryError::Disks { .. } => [
            GeometryError::Disks { level: 6, disks: 3 } => ["3 members are too few for raid6", "copy what is on it"],
        ],
        GeometryError::Overflow => [GeometryError::Overflow => ["longer than can be", "copy what is on it"]],
    };
    assert_lines(of(shapes, |shape| {
        not_found(left_alone(array::Refusal::Geometry(shape)))
    }));
}

/// They are told beside what speaks against serving the group, with the disk; a group that can be served in spite of them is.
#[test]
fn each_way_in_which_a_disk_cannot_be_read_has_its_line_in_status() {
    let what = "the label";
    let cases = cases! { ReadTrouble:
        ReadTrouble::Io { .. } => [ReadTrouble::Io { what, source: eio() } => ["cannot read the label: Input/output error"]],
        ReadTrouble::Reserved { .. } => [ReadTrouble::Reserved { what } => ["another host holds an exclusive reservation"]],
        ReadTrouble::Member(_) => [
            ReadTrouble::Member(MemberError::Version("0.90")) => ["superblock 0.90", "mdadm --assemble --update=metadata"],
            ReadTrouble::Member(MemberError::Two("1.1", "1.2")) => ["two MD superblocks, 1.1 and 1.2", "mdadm --zero-superblock"],
            ReadTrouble::Member(MemberError::Io(eio())) => ["cannot read the places of MD's superblocks"],
            ReadTrouble::Member(MemberError::Superblock { version: "1.2", source: SuperblockError::Short }) =>
                ["MD superblock 1.2: cut off"],
        ],
        ReadTrouble::SetAside(_) => [
            ReadTrouble::SetAside("1.0") => ["MD superblock (1.0) where data of the physical volume", "pvresize on the array"]],
        ReadTrouble::Array { .. } => [
            ReadTrouble::Array { name: text("data"), refusal: array::Refusal::Reshape } =>
                ["MD array \"data\": a reshape is under way", "let mdadm finish it"],
        ],
        ReadTrouble::Unassembled(_) => [
            ReadTrouble::Unassembled(ReadError::Zones) => ["cannot be read on its members", "only when it runs"],
        ],
        ReadTrouble::Kernel(_) => [
            ReadTrouble::Kernel(AssembleError::List(eio())) => ["/sys/block: Input/output error", "`reboot`"],
        ],
        ReadTrouble::Nested => [ReadTrouble::Nested => ["arrays on arrays are not assembled here"]],
        ReadTrouble::TimedOut => [ReadTrouble::TimedOut => ["no answer within", "check its power and its cables"]],
        ReadTrouble::Label(_) => [
            ReadTrouble::Label(LabelError::Malformed { sector: 1, what: "no data" }) => ["label in sector 1: no data"],
        ],
        ReadTrouble::Area(_) => [
            ReadTrouble::Area(AreaError::Malformed { start: 4096, what: "no ring" }) => ["metadata area at 4096: no ring"],
        ],
        ReadTrouble::Group(_) => [
            ReadTrouble::Group(GroupError::Nonsense { section: text("vol0"), what: "no extents" }) =>
                ["metadata text, vol0: no extents"],
        ],
    };
    let with_its_disk = |(trouble, mut words): (_, Vec<String>)| {
        words.extend(["(sdx: ", "check its cables to the shelf"].map(text));
        (not_found(trouble), words)
    };
    assert_lines(cases.into_iter().map(with_its_disk).collect());
}

#[test]
fn each_way_in_which_a_disk_cannot_be_changed_has_its_line_in_status() {
    let [power, pull] = LOOK_AFTER_IT;
    let id = |id: &str| DiskId(text(id));
    assert_lines(cases! { DiskError:
        DiskError::List { .. } => [
            DiskError::List { path: "/sys/block".into(), source: eio() } => ["cannot list /sys/block", "see `log`", "`reboot`"],
        ],
        DiskError::Attribute { .. } => [
            DiskError::Attribute { disk: disk(), attribute: text("size"), source: eio() } => ["sdx: cannot read size", power, pull],
        ],
        DiskError::NoIdentity { .. } => [
            DiskError::NoIdentity { disk: disk() } => ["sdx: has neither a device identification", "give it a serial number"],
        ],
        DiskError::Another { .. } => [
            DiskError::Another { disk: disk(), is: id("naa.1"), was: id("naa.2") } =>
                ["sdx: is naa.1 now, and was naa.2", "leave them in their places"],
        ],
        DiskError::CacheSwitch { .. } => [
            DiskError::CacheSwitch { disk: disk(), source: eio() } => ["sdx: cannot turn the write cache off", power, pull],
        ],
        DiskError::CacheStays { .. } => [
            DiskError::CacheStays { disk: disk(), found: WriteCache::Unknown } =>
                ["sdx: write cache cannot be turned off, it is unknown", "turn it off at the disk"],
        ],
    });
}

/// Those of a stamp that do not mean the end of the claim are notes; those of a mark are not.
#[test]
fn each_way_in_which_metadata_are_not_written_has_its_line_in_status() {
    let failed = || Failed {
        disk: disk(),
        phase: Phase::WriteText,
        source: eio(),
    };
    let failures = || vec![failed()];
    let restore = "vgcfgrestore";
    let cases = cases! { WriteError:
        WriteError::NoMetadata { .. } => [
            WriteError::NoMetadata { failures: failures() } => ["no metadata of the volume group", "sdx: writing the text", restore],
        ],
        WriteError::OtherGroup { .. } => [
            WriteError::OtherGroup { disk: disk(), other: uuid('2') } => ["sdx", "volume group 222222-2222", "pvremove"],
        ],
        WriteError::Occupied { .. } => [WriteError::Occupied { disk: disk() } => ["sdx: has metadata already", "wipefs"]],
        WriteError::Absent { .. } => [
            WriteError::Absent { pv: uuid('1') } => ["physical volume 111111-1111", "check power and cables"],
        ],
        WriteError::NotZeroed(_) => [WriteError::NotZeroed(failed()) => ["sdx: writing the text", "check power and cables"]],
        WriteError::Disagreement { .. } => [WriteError::Disagreement { seqno: 9 } => ["seqno 9", restore]],
        WriteError::Misplaced { .. } => [
            WriteError::Misplaced { disk: disk(), start: 4096, what: "over the label" } =>
                ["sdx: metadata area at 4096: over the label", restore],
        ],
        WriteError::TooLarge { .. } => [
            WriteError::TooLarge { disk: disk(), start: 4096, source: TooLarge { bytes: 9, most: 8 } } =>
                ["sdx: metadata area at 4096: the new text has 9 bytes", "pvcreate --metadatasize"],
        ],
        WriteError::Invalid(_) => [WriteError::Invalid(text("seqno")) => ["not what they should be: seqno", "boot another one"]],
        WriteError::SequenceEnd => [WriteError::SequenceEnd => ["sequence number of the metadata", restore]],
        WriteError::TooFew { .. } => [
            WriteError::TooFew { good: 1, all: 3, failures: failures() } => ["1 of 3 disks", "sdx: writing", "check power and cables"],
        ],
        WriteError::Unsettled { .. } => [
            WriteError::Unsettled { good: 1, all: 3, failures: failures() } =>
                ["1 of 3 disks", "sdx: writing", "check power and cables"],
        ],
        WriteError::Fenced(_) => [
            WriteError::Fenced(failed()) => ["reservation conflict: sdx", "the other head has taken the pool"],
        ],
    };
    let with_the_mark = |(error, mut words): (_, Vec<String>)| {
        words.push(text("the lost disk cannot be marked as missing"));
        (JobError::NotMarked(ApplyError::Write(error)), words)
    };
    assert_lines(cases.into_iter().map(with_the_mark).collect());
    let cases = cases! { ApplyError:
        ApplyError::Edit(_) => [
            ApplyError::Edit(EditError::NoMember(text("1111"))) => ["no physical volume 1111", "vgreduce --removemissing"],
        ],
        ApplyError::Write(_) => [ApplyError::Write(WriteError::SequenceEnd) => ["sequence number", restore]],
        ApplyError::Random(_) => [ApplyError::Random(eio()) => ["no random numbers", "see `log`"]],
    };
    assert_lines(of(cases, JobError::NotMarked));
}

#[test]
fn each_way_in_which_a_module_is_not_loaded_has_its_line_in_status() {
    let (name, file) = (|| text("dm-raid"), || text("/lib/dm-raid.ko"));
    assert_lines(cases! { ModuleError:
        ModuleError::Index { .. } => [
            ModuleError::Index { file: text("/lib/modules.dep"), errno: eio() } =>
                ["modules: read /lib/modules.dep", "put a whole one into its slot"],
        ],
        ModuleError::Unknown { .. } => [
            ModuleError::Unknown { name: name() } => ["module dm-raid: neither in this image", "boot one that can"],
        ],
        ModuleError::Load { .. } => [
            ModuleError::Load { name: name(), step: "open", file: file(), errno: eio() } =>
                ["module dm-raid: open /lib/dm-raid.ko: Input/output error", "see `log`", "`reboot`"],
        ],
    });
}

#[test]
fn each_way_in_which_an_export_is_not_opened_has_its_line_in_status() {
    let cases = || {
        cases! { Cause:
            Cause::Kernel(_) => [Cause::Kernel(Errno::BUSY) => ["Device or resource busy", "see `log`", "`reboot`"]],
            Cause::Other(_) => [Cause::Other(text("/dev/dm-7")) => ["found \"/dev/dm-7\" there", "`reboot` takes it away"]],
            Cause::Said(_) => [Cause::Said(text("one runs already")) => ["one runs already", "see `log`", "`reboot`"]],
            Cause::TimedOut(_) => [Cause::TimedOut(Duration::from_secs(8)) => ["not done after 8s", "`reboot` ends that"]],
        }
    };
    let at = |cause| ExportError {
        path: "/sys/kernel/config/target/iscsi".into(),
        step: "enable",
        cause,
    };
    let with_its_place = |(cause, mut words): (_, Vec<String>)| {
        words.push(text("/sys/kernel/config/target/iscsi: enable: "));
        (at(cause), words)
    };
    assert_lines::<ExportError>(cases().into_iter().map(with_its_place).collect());
    assert_lines(of(cases(), |cause| SharesError::Export(at(cause))));
    let place = "/run/pool/tank/shares";
    assert_lines(cases! { SharesError:
        SharesError::Mount(_) => [
            SharesError::Mount(MountError::new::<io::Error>(place.as_ref(), "mount")(eio())) =>
                ["/run/pool/tank/shares: mount: Input/output error", "see `log`", "`reboot`"],
        ],
        SharesError::Export(_) => [SharesError::Export(at(Cause::Kernel(Errno::BUSY))) => ["enable: Device or resource busy"]],
    });
    assert_lines(cases! { TargetsError:
        TargetsError::TooMany { .. } => [
            TargetsError::TooMany { pool: text("tank"), found: 300 } => ["with 300 volumes; allowed: at most", "[[pool.iscsi.lun]]"],
        ],
    });
}

#[test]
fn each_way_in_which_a_release_leaves_a_key_has_its_line_in_status() {
    let cases = cases! { StillRegistered:
        StillRegistered::Read(_) => [
            StillRegistered::Read(crate::fence::reservations::ReadError::Unstable) => ["registrations keep changing"],
        ],
        StillRegistered::NoEffect(_) => [
            StillRegistered::NoEffect(crate::fence::reservations::Answer::Refused) => ["REGISTER has no effect"],
        ],
        StillRegistered::TimedOut => [StillRegistered::TimedOut => ["no answer in time"]],
    };
    let with_the_end = |(trouble, mut words): (_, Vec<String>)| {
        words.extend(["sdx: ", "resets, and the other one takes the pool"].map(text));
        let disk = disk();
        (ReleaseError { disk, trouble }, words)
    };
    assert_lines_of(Work::Release, cases.into_iter().map(with_the_end).collect());
}

/// The pool is served without it, and `status` says so all the same.
#[test]
fn each_reason_not_to_use_the_state_volume_has_its_line_in_status() {
    let node = || text("/dev/dm-3");
    let made = |error| StateError::Make(error);
    let makes = cases! { MakeError:
        MakeError::Io { .. } => [
            MakeError::Io { node: node(), step: "say that it is made", source: eio() } =>
                ["/dev/dm-3: say that it is made: Input/output error"],
        ],
        MakeError::TooSmall { .. } => [MakeError::TooSmall { node: node(), bytes: 512 } => ["/dev/dm-3: 512 bytes are too few"]],
        MakeError::Helper { .. } => [
            MakeError::Helper { node: node(), source: HelperError::TooLong { name: "mke2fs", limit: Duration::from_secs(20) } } =>
                ["/dev/dm-3: mke2fs did not end within 20 s"],
            MakeError::Helper { node: node(), source: HelperError::Run { name: "mke2fs", step: "start", source: eio() } } =>
                ["/dev/dm-3: mke2fs: start: Input/output error"],
        ],
        MakeError::Refused { .. } => [
            MakeError::Refused { node: node(), helper: "e2fsck", status: text("exit status 4"), said: text("bad blocks") } =>
                ["/dev/dm-3: e2fsck ended with exit status 4: bad blocks"],
        ],
    };
    let states = cases! { StateError:
        StateError::Probe { .. } => [
            StateError::Probe { node: node(), source: eio() } => ["/dev/dm-3: cannot be read: Input/output error"],
        ],
        StateError::Foreign { .. } => [
            StateError::Foreign { found: Found::Xfs } => ["the volume holds", "where an empty one or ext4 was expected"],
        ],
        StateError::Make(_) => [made(MakeError::TooSmall { node: node(), bytes: 512 }) => ["/dev/dm-3: 512 bytes are too few"]],
        StateError::Mount(_) => [
            StateError::Mount(MountError::new::<io::Error>("/dev/dm-3".as_ref(), "mount")(eio())) =>
                ["/dev/dm-3: mount: Input/output error"],
        ],
        StateError::File { .. } => [
            StateError::File { file: "/run/pool/tank/state/owners".into(), step: "write", source: eio() } =>
                ["/run/pool/tank/state/owners: write: Input/output error"],
        ],
    };
    for (error, words) in states.into_iter().chain(of(makes, made)) {
        let worker = worker();
        lock(&worker.report).state_volume = Some(status::State {
            is_open: false,
            problem: Some(error.to_string()),
            owners: Vec::new(),
        });
        let said = said(&worker, PoolState::Serving, None, None);
        let way_out = "a volume orthrus_state that is empty is made anew";
        for word in words
            .iter()
            .map(String::as_str)
            .chain(["its state volume is not used", way_out])
        {
            assert!(said.contains(word), "{word:?} is not in:\n{said}");
        }
    }
}
