//! Tests only: what is still held at each step of an import and of a release.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use orthrus_hb::{Done, Epoch};
use rustix::io::Errno;

use super::error::JobError;
use super::host::{ChangeOf, Copying, Host};
use super::tests::claimant;
use super::{Worker, lock};
use crate::Step;
use crate::array::tests::some_of;
use crate::array::{Array, AssembleError, Condition, Judged};
use crate::clock;
use crate::config::ServiceAddress;
use crate::disk::Disk;
use crate::export::iscsi::reservations::Unrestored;
use crate::export::nfs::{Mounted, NfsPlan, Records, Sharing, StartError, Tracked, Unchecked};
use crate::export::nvme::{NamespacePlan, NvmePlan};
use crate::export::{ExportError, ExportPlan, LunPlan};
use crate::fence::WatchSlot;
use crate::fence::shelf::{Command, Shelf};
use crate::filesystem::{self, Budget, Found, MakeError, MountError};
use crate::ledger::{Ledger, Stretch};
use crate::modules::ModuleError;
use crate::net::{Connection, DataPort, Interface, Mac, NetError, Probe, Taken};
use crate::state::{Owner, StateError};
use crate::volume::edit::Edit;
use crate::volume::edit::apply::ApplyError;
use crate::volume::tests::made::Made;
use crate::volume::write::stamp::{Stamp, Stamped};
use crate::volume::write::{Author, Failure, Metadata, Phase, WriteError, Written};
use crate::volume::{
    Activated, Active, Merge, MergeState, PoolUsage, Progress, StoreUsage, Uuid, VolumeError,
    VolumeGroup,
};

/// Behind the name of a step: it fails the next time, and no more.
const ONCE: &str = " once";

/// A volume whose images differ, by what its superblocks say.
pub(super) const UNEQUAL: &str = "unequal";

/// What is done, in order.
pub(super) type Log = Arc<Mutex<Vec<String>>>;

/// A host that notes what it is asked for, and what of the claim stands at that moment.
struct Witness {
    log: Log,
    shelf: Shelf,
    watch: WatchSlot,
    ledger: Arc<Ledger>,
    /// The step that fails.
    fails: &'static str,
    /// The same, from some moment on; or then and not again ([`ONCE`]).
    fails_later: Arc<Mutex<&'static str>>,
    /// The list of clients in the state volume.
    admitted: Arc<Mutex<String>>,
    /// The metadata, for edits that are only tried; without them nothing comes of one.
    text: Option<String>,
}

impl Witness {
    fn note(&self, step: &'static str) -> Result<(), Errno> {
        let claimed = self.shelf.all().all(|disk| !disk.keys().is_empty());
        let watched = lock(&self.watch).is_some();
        let written = self.ledger.report(clock::now()).written.is_some();
        let mut line = step.to_owned();
        for (stands, what) in [(claimed, "keys"), (watched, "watch"), (written, "ledger")] {
            if !stands {
                line.push_str(" without ");
                line.push_str(what);
            }
        }
        self.log.lock().unwrap().push(line);
        let mut later = self.fails_later.lock().unwrap();
        let once = later.strip_suffix(ONCE) == Some(step);
        let fails = once || step == self.fails || step == *later;
        if once {
            *later = "";
        }
        match fails {
            true => Err(Errno::IO),
            false => Ok(()),
        }
    }

    fn net(&self, step: &'static str) -> Result<(), NetError> {
        let noted = self.note(step);
        noted.map_err(|errno| NetError::new("port", "do it", errno))
    }
}

impl Host for Witness {
    fn own_network(&self) -> Result<(), NetError> {
        Ok(())
    }

    fn port(&self, data: &DataPort) -> Result<Interface, NetError> {
        Ok(Interface {
            name: "data".to_owned(),
            index: u32::MAX,
            mac: data.cards[0],
            card: None,
            master: None,
            is_up: true,
            carrier: true,
        })
    }

    fn stamp(&self, _group: &VolumeGroup, stamp: &Stamp) -> Result<Option<Stamped>, WriteError> {
        assert_eq!(stamp.system_id, "orthrus-lab");
        let fenced = |_| {
            WriteError::Fenced(Failure {
                disk: "disk0".to_owned(),
                phase: Phase::WriteText,
                source: io::Error::from_raw_os_error(libc::EBADE),
            })
        };
        let what = match stamp.parity_in_use {
            true => "stamp with parity in use",
            false => "stamp",
        };
        self.note(what).map_err(fenced)?;
        Ok(None)
    }

    fn prepare(&self, _group: &VolumeGroup) -> Result<(), ModuleError> {
        Ok(())
    }

    fn start_arrays(
        &self,
        group: &VolumeGroup,
        _read: &dyn Fn() -> Result<VolumeGroup, JobError>,
    ) -> Result<VolumeGroup, JobError> {
        let noted = self.note("arrays on");
        noted.map_err(|errno| failed_array("start", errno))?;
        Ok(group.clone())
    }

    fn take_back(&self, on: &Judged, members: &[usize]) -> Vec<Result<Step, AssembleError>> {
        assert!(on.thrown_out().eq(members.iter().copied()));
        let noted = self.note("take back");
        let outcome = |_: &usize| {
            let noted = noted.map(|()| Step::Changed);
            noted.map_err(|errno| failed_array("take back", errno))
        };
        members.iter().map(outcome).collect()
    }

    fn stop_arrays(&self, _group: &VolumeGroup) -> Result<Step, AssembleError> {
        let noted = self.note("arrays off");
        noted.map_err(|errno| failed_array("stop", errno))?;
        Ok(Step::Changed)
    }

    fn touch(&self, _array: &Disk) {
        let _ = self.note("touch");
    }

    fn arrays(&self, _group: &VolumeGroup) -> Result<Vec<Condition>, AssembleError> {
        Ok(Vec::new())
    }

    fn activate(&self, group: &VolumeGroup) -> Result<Activated, VolumeError> {
        let _ = self.note("volumes on");
        let active = |lv: &str| Active {
            lv: lv.to_owned(),
            uuid: Uuid::from_text("NoBody-Has0-This-Volu-meGr-oup0-Active").unwrap(),
            dm_name: format!("tank-{lv}"),
            number: (253, 0),
            node: PathBuf::from("/dev/dm-0"),
            sectors: 8192,
            is_writable: true,
            gives_space_back: false,
            is_degraded: false,
            step: Step::Changed,
        };
        Ok(Activated {
            volumes: vec![active("orthrus_state"), active("vol0")],
            unequal: group
                .lvs
                .iter()
                .filter(|lv| lv.name == UNEQUAL)
                .map(|lv| lv.name.clone())
                .collect(),
        })
    }

    fn logical_block(&self, _node: &Path) -> io::Result<u32> {
        Ok(512)
    }

    fn edit(
        &self,
        _group: &VolumeGroup,
        _author: &Author,
        _change: &ChangeOf<'_>,
    ) -> Result<Written, ApplyError> {
        let noted = self.note("metadata");
        noted.map_err(|errno| ApplyError::Random(errno.into()))?;
        Ok(Written {
            seqno: 2,
            disks: 1,
            failures: Vec::new(),
        })
    }

    fn try_edit(
        &self,
        group: &VolumeGroup,
        author: &Author,
        change: &ChangeOf<'_>,
    ) -> Result<VolumeGroup, ApplyError> {
        let Some(text) = &self.text else {
            return Ok(group.clone());
        };
        let mut uuids = || Uuid::random().unwrap();
        let metadata = Metadata::parse(text).unwrap();
        let mut edit = Edit::new(metadata, &author.host, author.time, &mut uuids);
        change(&mut edit)?;
        Ok(edit.finish()?.metadata.group_on(group, author)?)
    }

    fn wipe(&self, _disks: &[Disk], _copies: &[Stretch]) -> Vec<String> {
        let failed = self.note("wipe").err();
        failed.map(|errno| errno.to_string()).into_iter().collect()
    }

    fn reactivate(
        &self,
        _before: &VolumeGroup,
        group: &VolumeGroup,
    ) -> Result<Vec<Active>, VolumeError> {
        self.activate(group).map(|activated| activated.volumes)
    }

    fn progress(&self, group: &VolumeGroup) -> Result<Vec<Progress>, VolumeError> {
        let said = |name: &str| match name {
            "fallen" => Progress::said(name, "raid1 2 AD 8192/8192 idle 0 0 -"),
            "mended" => Progress::said(name, "raid1 2 AA 8192/8192 idle 0 0 -"),
            "rebuilt" => Progress::said(name, "raid10 4 AAAA 8192/8192 idle 0 0 -"),
            "taken" => Progress::said(name, "raid10 4 aAAA 300/8192 recover 0 0 -"),
            "unequal" => Progress::said(name, "raid6_zr 5 aaaaD 300/8192 resync 0 0 -"),
            _ => None,
        };
        Ok(group.lvs.iter().filter_map(|lv| said(&lv.name)).collect())
    }

    fn compare(&self, _group: &VolumeGroup, _name: &str) -> Result<(), VolumeError> {
        self.note("compare")
            .map_err(|errno| VolumeError::Control(errno.into()))
    }

    fn pool_usage(&self, _group: &VolumeGroup) -> Result<Vec<PoolUsage>, VolumeError> {
        let usage = |pool: &str, data, metadata| PoolUsage {
            pool: pool.to_owned(),
            data,
            metadata,
        };
        Ok(vec![
            usage("roomy", 79, 79),
            usage("full", 97, 1),
            usage("tables", 40, 91),
        ])
    }

    fn store_usage(&self, _group: &VolumeGroup) -> Result<Vec<StoreUsage>, VolumeError> {
        let usage = |snapshot: &str, percent| StoreUsage {
            snapshot: snapshot.to_owned(),
            percent,
            is_invalid: percent.is_none(),
        };
        Ok(vec![
            usage("small", Some(79)),
            usage("large", Some(80)),
            usage("over", None),
        ])
    }

    fn merges(&self, group: &VolumeGroup) -> Result<Vec<Merge>, VolumeError> {
        let merge = |(snapshot, origin): (&str, &str)| Merge {
            origin: origin.to_owned(),
            snapshot: snapshot.to_owned(),
            state: match snapshot {
                "done" => MergeState::Over,
                "failed" => MergeState::Failed,
                "void" => MergeState::Void,
                _ => MergeState::UnderWay(400),
            },
        };
        Ok(group.merging().map(merge).collect())
    }

    fn pool_transaction(
        &self,
        _group: &VolumeGroup,
        _pool: &str,
    ) -> Result<Option<u64>, VolumeError> {
        Ok(None)
    }

    fn deactivate_volume(&self, _group: &VolumeGroup, _lv: &str) -> Result<Step, VolumeError> {
        let noted = self.note("volume off");
        noted.map_err(|errno| VolumeError::Control(errno.into()))?;
        Ok(Step::Changed)
    }

    fn withdraw(&self, _plan: &ExportPlan, _lun: &LunPlan) -> Result<(), ExportError> {
        let noted = self.note("LUN off");
        noted.map_err(|errno| ExportError::kernel("/t", "withdraw", errno))
    }

    fn deactivate(&self, _group: &Uuid) -> Result<Step, VolumeError> {
        let noted = self.note("volumes off");
        noted.map_err(|errno| VolumeError::Control(errno.into()))?;
        Ok(Step::Changed)
    }

    fn open_state(&self, _volume: &Active, place: &Path, _: Budget) -> Result<(), StateError> {
        let noted = self.note("state on");
        noted.map_err(|errno| StateError::Probe {
            node: place.display().to_string(),
            source: errno.into(),
        })
    }

    fn note_owner(&self, place: &Path, owner: Owner) -> Result<Vec<Owner>, StateError> {
        let noted = self.note("owner noted");
        noted.map_err(|errno| StateError::File {
            file: place.to_path_buf(),
            step: "write",
            source: errno.into(),
        })?;
        Ok(vec![owner])
    }

    fn close_state(&self, place: &Path) -> Result<Step, MountError> {
        let noted = self.note("state off");
        noted.map_err(|errno| MountError {
            what: place.to_path_buf(),
            step: "unmount",
            source: errno.into(),
        })?;
        Ok(Step::Changed)
    }

    fn filesystem_trouble(&self, _place: &Path) -> Option<String> {
        let is_broken = *self.fails_later.lock().unwrap() == "read-only";
        is_broken.then(|| "the kernel found an error and made it read-only".to_owned())
    }

    fn admitted(&self, place: &Path) -> Result<String, StateError> {
        match *self.fails_later.lock().unwrap() {
            "clients unread" => {
                return Err(StateError::File {
                    file: place.to_path_buf(),
                    step: "read",
                    source: Errno::IO.into(),
                });
            }
            "clients not understood" => return Ok("torn {\n".to_owned()),
            _ => {}
        }
        Ok(self.admitted.lock().unwrap().clone())
    }

    fn keep_admitted(&self, place: &Path, text: &str) -> Result<(), StateError> {
        let noted = self.note("clients kept");
        noted.map_err(|errno| StateError::File {
            file: place.to_path_buf(),
            step: "replace",
            source: errno.into(),
        })?;
        text.clone_into(&mut self.admitted.lock().unwrap());
        Ok(())
    }

    fn dismiss_initiator(&self, _plan: &ExportPlan, name: &str) -> Result<(), ExportError> {
        let noted = self.note("initiator off");
        noted.map_err(|errno| ExportError::kernel(name, "dismiss", errno))
    }

    fn dismiss_host(&self, _plan: &NvmePlan, nqn: &str) -> Result<(), ExportError> {
        let noted = self.note("host off");
        noted.map_err(|errno| ExportError::kernel(nqn, "dismiss", errno))
    }

    fn keep_reservations(&self, plan: &mut ExportPlan, state: &Path) {
        plan.keep_reservations(state.to_path_buf());
        for lun in &mut plan.luns {
            match *self.fails_later.lock().unwrap() {
                "registered" => {
                    lun.registrations = vec!["sa_res_key=1".to_owned()];
                    lun.unrestored = None;
                }
                "damaged" => lun.unrestored = Some(Unrestored::Damaged("aptpl_1".to_owned())),
                "cut" => lun.unrestored = Some(Unrestored::Cut("aptpl_1".to_owned())),
                "clients unread" | "clients not understood" => {
                    let why = plan.unknown_clients.clone();
                    lun.unrestored = why.map(|why| Unrestored::UnknownClient {
                        initiator: "iqn.2026-01.org.example:new".to_owned(),
                        why,
                    });
                }
                _ => {}
            }
        }
    }

    fn has_registrations(&self, _state: &Path, _serial: &str) -> Option<bool> {
        match *self.fails_later.lock().unwrap() {
            "damaged" | "cut" => None,
            what => Some(what == "registered"),
        }
    }

    fn watch_reservations(&self, _directory: &Path) -> io::Result<Box<dyn Copying>> {
        Ok(Box::new(Watching {
            log: self.log.clone(),
            fails_later: self.fails_later.clone(),
        }))
    }

    fn open(&self, _plan: &ExportPlan) -> Result<(), ExportError> {
        let noted = self.note("export on");
        noted.map_err(|errno| ExportError::kernel("/t", "open", errno))
    }

    fn close(&self, _plan: &ExportPlan) -> Result<(), ExportError> {
        let noted = self.note("export off");
        noted.map_err(|errno| ExportError::kernel("/t", "close", errno))
    }

    fn open_nvme(&self, _plan: &NvmePlan) -> Result<(), ExportError> {
        let noted = self.note("NVMe on");
        noted.map_err(|errno| ExportError::kernel("/t", "open", errno))
    }

    fn withdraw_namespace(
        &self,
        _plan: &NvmePlan,
        _namespace: &NamespacePlan,
    ) -> Result<(), ExportError> {
        let noted = self.note("namespace off");
        noted.map_err(|errno| ExportError::kernel("/t", "withdraw", errno))
    }

    fn close_nvme(&self, _plan: &NvmePlan) -> Result<(), ExportError> {
        let noted = self.note("NVMe off");
        noted.map_err(|errno| ExportError::kernel("/t", "close", errno))
    }

    fn make_filesystem(
        &self,
        _volume: &Active,
        _kind: filesystem::Kind,
        _: Budget,
    ) -> Result<(), MakeError> {
        let _ = self.note("file system made");
        Ok(())
    }

    fn found_on(&self, _node: &Path, _bytes: u64) -> io::Result<Found> {
        let is_damaged = false;
        Ok(match *self.fails_later.lock().unwrap() {
            "nothing made" => Found::Nothing,
            "half made" => Found::Unfinished,
            _ => Found::Ext4 { is_damaged },
        })
    }

    fn grow_filesystem(&self, _place: &Path) -> Result<Step, MountError> {
        let _ = self.note("file system grown");
        Ok(Step::Changed)
    }

    fn mount_shares(&self, plan: &mut NfsPlan, _: Budget) -> Result<Mounted, MountError> {
        let noted = self.note("shares mounted");
        noted.map_err(MountError::new(&plan.root, "mount"))?;
        let mut mounted = Mounted::default();
        if self.fails == "no time" {
            mounted.unchecked = plan.shares.iter().map(Unchecked::new).collect();
        }
        Ok(mounted)
    }

    fn unmount_shares(&self, root: &Path) -> Result<Step, MountError> {
        let noted = self.note("shares unmounted");
        noted.map_err(MountError::new(root, "unmount"))?;
        Ok(Step::Changed)
    }

    fn client_records(&self, _place: &Path) -> io::Result<Records> {
        match self.fails == "NFS records" {
            true => Err(io::Error::other("they have format 2")),
            false => Ok(Records::default()),
        }
    }

    fn keep_client_records(&self, _place: &Path, _records: &mut Records) -> Result<(), String> {
        self.note("records kept").map_err(|errno| errno.to_string())
    }

    fn share(
        &self,
        _plan: &NfsPlan,
        _place: &Path,
        _records: Records,
    ) -> Result<Box<dyn Sharing>, StartError> {
        let failed = |errno| ExportError::kernel("/n", "start", errno);
        let noted = self.note("NFS on").map_err(failed);
        noted.map_err(StartError::Undone)?;
        if self.fails == "NFS left" {
            return Err(StartError::Left(failed(Errno::IO)));
        }
        Ok(Box::new(Threads {
            log: self.log.clone(),
            fails: self.fails,
        }))
    }

    fn probe(&self, _data: &DataPort, addresses: Vec<IpAddr>, heads: Vec<Mac>) -> Probe {
        assert_eq!(heads.len(), 2);
        let taken = Taken {
            address: addresses[0],
            by: "02:00:00:00:00:77".parse().unwrap(),
        };
        Probe::answered(match self.fails {
            "probe" => Err(taken),
            _ => Ok(()),
        })
    }

    fn add_address(&self, _port: &Interface, _address: ServiceAddress) -> Result<(), NetError> {
        self.net("address on")
    }

    fn remove_address(&self, _port: &Interface, _address: ServiceAddress) -> Result<(), NetError> {
        self.net("address off")
    }

    fn end_connections(&self, _service: IpAddr) -> Result<(), NetError> {
        self.net("connections off")
    }

    fn greet(&self, _port: &Interface, _addresses: Vec<IpAddr>, _old: Vec<Connection>) {
        let _ = self.note("greeting");
    }
}

/// Who copies clients' reservations, and notes when that ends.
struct Watching {
    log: Log,
    fails_later: Arc<Mutex<&'static str>>,
}

impl Copying for Watching {
    fn failed(&self) -> Vec<String> {
        match *self.fails_later.lock().unwrap() {
            "copy" => vec!["aptpl_1 is not copied: no space".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut log = self.log.lock().unwrap();
        log.push("reservations off".to_owned());
    }
}

/// A server of shares that notes what it is asked for.
struct Threads {
    log: Log,
    fails: &'static str,
}

impl Threads {
    fn note(&self, step: &str) -> Result<(), ExportError> {
        self.log.lock().unwrap().push(step.to_owned());
        match step == self.fails {
            true => Err(ExportError::kernel("/n", "stop", Errno::IO)),
            false => Ok(()),
        }
    }
}

impl Sharing for Threads {
    fn update(&self, plan: &NfsPlan) -> Result<(), ExportError> {
        self.note(&format!("NFS goes on with {}", plan.shares.len()))
    }

    fn tracked(&self) -> Tracked {
        Tracked::default()
    }

    fn stop(&self) -> Result<(), ExportError> {
        self.note("NFS off")
    }
}

fn failed_array(step: &str, errno: Errno) -> AssembleError {
    AssembleError::Call {
        array: "md_0".to_owned(),
        step: step.to_owned(),
        source: errno.into(),
    }
}

/// A worker that holds the pool as after a claim, on a host that fails at one step.
pub(super) fn owner(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    owner_of(shelf, fails, None)
}

/// The same, on a host that fails at the step that is put there.
pub(super) fn owner_failing_later(shelf: &Shelf) -> (Worker, Log, Arc<Mutex<&'static str>>) {
    let fails = Arc::default();
    let (worker, log) = owned(shelf, "", None, &fails);
    (worker, log, fails)
}

/// The same, of a group of which is known what would come of a change.
pub(super) fn owner_of(shelf: &Shelf, fails: &'static str, made: Option<&Made>) -> (Worker, Log) {
    owned(shelf, fails, made, &Arc::default())
}

fn owned(
    shelf: &Shelf,
    fails: &'static str,
    made: Option<&Made>,
    fails_later: &Arc<Mutex<&'static str>>,
) -> (Worker, Log) {
    let mut worker = claimant(shelf);
    if let (Some(claim), Some(made)) = (&mut worker.claim, made) {
        claim.group = made.group();
    }
    let log = Log::default();
    let claim = worker.claim.as_ref().unwrap();
    let watch = claim.fence.watch(claim.key, worker.on_loss.clone());
    *lock(&worker.watch) = Some((claim.key.epoch, watch));
    worker.ledger.begin(claim.key.epoch, &claim.group);
    worker.host = Box::new(Witness {
        log: log.clone(),
        shelf: shelf.clone(),
        watch: worker.watch.clone(),
        ledger: worker.ledger.clone(),
        fails,
        fails_later: fails_later.clone(),
        admitted: Arc::default(),
        text: made.map(Made::text),
    });
    (worker, log)
}

pub(super) fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

pub(super) const RELEASE: [&str; 6] = [
    "address off",
    "connections off",
    "export off",
    "reservations off",
    "state off",
    "volumes off",
];

#[test]
fn the_address_comes_last_and_goes_first_and_all_is_held_until_the_volumes_are_gone() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(
        taken(&log),
        [
            "stamp",
            "volumes on",
            "state on",
            "export on",
            "address on",
            "greeting",
            "owner noted"
        ]
    );
    // What no step of the kernel's sees: when the first key goes, nothing writes any more and nobody watches.
    let (watch, ledger, witness) = (worker.watch.clone(), worker.ledger.clone(), log.clone());
    shelf.disk(1).hook = Some(Box::new(move |_, _, command| {
        if matches!(command, Command::Register(0) | Command::Release(..)) {
            let watched = watch.try_lock().map_or(true, |slot| slot.is_some());
            let written = ledger.report(clock::now()).written.is_some();
            let line = format!("key off, watched {watched}, ledger written {written}");
            witness.lock().unwrap().push(line);
        }
    }));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let released = taken(&log);
    assert_eq!(released[..RELEASE.len()], RELEASE);
    for line in &released[RELEASE.len()..] {
        assert_eq!(line, "key off, watched false, ledger written false");
    }
    assert!(released.len() > RELEASE.len());
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

/// The same of a group on an array.
pub(super) fn owner_of_array(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    let (mut worker, log) = owner(shelf, fails);
    worker.claim.as_mut().unwrap().group = group_on(some_of("raid1-11", &[0, 1]));
    (worker, log)
}

/// A group on an array.
pub(super) fn group_on(array: Array) -> VolumeGroup {
    let decision = array.decide(true).unwrap();
    let mut group = Made::on(1).simple("vol0", 0).group();
    let on = Judged {
        array,
        decision,
        is_running: false,
    };
    group.pvs[0].disk = Some(on.device(None));
    group.pvs[0].array = Some(Box::new(on));
    group
}

#[test]
fn arrays_run_only_while_all_is_held_and_their_volumes_come_after_and_go_before() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner_of_array(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(taken(&log)[..3], ["arrays on", "stamp", "volumes on"]);
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let released = taken(&log);
    assert_eq!(released[..RELEASE.len()], RELEASE);
    assert_eq!(released[RELEASE.len()..], ["arrays off"]);
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

#[test]
fn an_array_that_does_not_start_ends_the_import_and_one_that_does_not_stop_keeps_all() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner_of_array(&shelf, "arrays on");
    assert!(worker.import(Epoch(1)).is_err());
    assert_eq!(taken(&log), ["arrays on"]);
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    // One of several may run.
    assert_eq!(taken(&log).last().map(String::as_str), Some("arrays off"));

    let shelf = Shelf::new(2);
    let (mut worker, _) = owner_of_array(&shelf, "arrays off");
    worker.import(Epoch(1)).unwrap();
    assert!(worker.release(true).is_err());
    assert!(shelf.all().all(|disk| !disk.keys().is_empty()));
    assert!(lock(&worker.watch).is_some());
}

#[test]
fn a_claim_that_fails_comes_back_when_it_is_undone_and_not_before() {
    let shelf = Shelf::new(2);
    let (mut worker, log, fails) = owner_failing_later(&shelf);
    *fails.lock().unwrap() = "volumes off once";
    let group = worker.claim.as_ref().unwrap().group.clone();
    // No disk of this machine has the group, so that it cannot be read again.
    assert!(worker.settle_claim(&group, true, Done::Claimed).is_err());
    let undone = taken(&log);
    assert_eq!(
        undone.iter().filter(|step| *step == "volumes off").count(),
        2,
        "{undone:?}"
    );
    assert!(worker.claim.is_none() && lock(&worker.watch).is_none());
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

#[test]
fn a_reservation_conflict_on_the_metadata_resets_the_head_before_anything_is_activated() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "stamp");
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = lost.clone();
    worker.on_loss = Arc::new(move |loss| told.lock().unwrap().push(loss.to_string()));
    assert!(worker.import(Epoch(1)).is_err());
    assert_eq!(taken(&log), ["stamp"]);
    assert_eq!(
        *lost.lock().unwrap(),
        ["disk0: reservation conflict on a write: this path is not registered"]
    );
}

#[test]
fn an_import_that_fails_at_any_step_is_undone_as_far_as_it_came() {
    for (fails, undone) in [
        (
            "export on",
            &[
                "connections off",
                "export off",
                "reservations off",
                "state off",
                "volumes off",
            ][..],
        ),
        ("address on", &RELEASE),
    ] {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, fails);
        assert!(worker.import(Epoch(1)).is_err());
        taken(&log);
        assert_eq!(worker.release(true).unwrap(), Done::Released, "{fails}");
        assert_eq!(taken(&log), undone, "{fails}");
        assert!(shelf.all().all(|disk| disk.keys().is_empty()));
    }
}

#[test]
fn an_address_that_a_stranger_has_is_not_taken_from_it_and_the_import_says_whose_it_is() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "probe");
    let said = worker.import(Epoch(1)).unwrap_err().to_string();
    let address = worker.pool().addresses[0].ip;
    assert!(said.contains(&format!("{address} is in use")), "{said}");
    assert!(said.contains("02:00:00:00:00:77"), "{said}");
    assert!(said.contains("address_check = false"), "{said}");
    assert!(!taken(&log).iter().any(|step| step == "address on"));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert!(!taken(&log).iter().any(|step| step == "address off"));
}

#[test]
fn where_the_operator_says_so_nobody_is_asked_for_the_address() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "probe");
    let config = super::tests::CONFIG.replacen("[[pool]]", "[[pool]]\naddress_check = false", 1);
    worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert!(taken(&log).iter().any(|step| step == "address on"));
}

#[test]
fn a_release_that_fails_at_any_step_keeps_what_comes_after_it() {
    for (index, fails) in RELEASE.into_iter().enumerate() {
        // The one only makes the close quicker, the other cannot fail.
        if fails == "connections off" || fails == "reservations off" {
            continue;
        }
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, fails);
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        assert!(worker.release(true).is_err(), "{fails}");
        assert_eq!(taken(&log), RELEASE[..=index], "{fails}");
        assert!(shelf.all().all(|disk| !disk.keys().is_empty()), "{fails}");
        assert!(lock(&worker.watch).is_some(), "{fails}");
    }
}

#[test]
fn a_pool_is_served_without_its_state_and_says_so() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "state on");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(taken(&log).last().map(String::as_str), Some("greeting"));
    let state = lock(&worker.report).state_volume.clone().unwrap();
    assert!(state.problem.is_some());
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    // There was nowhere to keep clients' reservations.
    let released = taken(&log);
    assert!(!released.iter().any(|step| step == "reservations off"));
    assert_eq!(released.len(), RELEASE.len() - 1);
    assert!(lock(&worker.report).state_volume.is_none());
}

#[test]
fn an_owner_that_is_not_noted_is_told_and_the_state_volume_is_used() {
    let (mut worker, log) = owner(&Shelf::new(2), "owner noted");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(taken(&log).last().map(String::as_str), Some("owner noted"));
    let state = lock(&worker.report).state_volume.clone().unwrap();
    assert!(state.is_open && state.problem.is_some(), "{state:?}");
    assert!(worker.open_state_place().is_ok());
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(taken(&log), RELEASE);
}

#[test]
fn reservations_without_a_copy_are_said_until_there_is_one() {
    let (mut worker, _, fails) = owner_failing_later(&Shelf::new(2));
    worker.import(Epoch(1)).unwrap();
    let lost = |worker: &Worker| lock(&worker.report).lost_reservations.clone();
    let others = vec!["LUN 7 of iqn: aptpl_7: it is cut off".to_owned()];
    lock(&worker.report).lost_reservations.clone_from(&others);
    *fails.lock().unwrap() = "copy";
    for _ in 0..2 {
        worker.look_at_reservations();
        assert_eq!(lost(&worker)[1..], ["aptpl_1 is not copied: no space"]);
    }
    *fails.lock().unwrap() = "";
    worker.look_at_reservations();
    assert_eq!(lost(&worker), others);
    worker.release(true).unwrap();
    worker.look_at_reservations();
    assert_eq!(lost(&worker), [] as [&str; 0]);
}

/// The same as [`sharer`], on a host that fails at what is put there.
pub(super) fn sharer_failing_later(shelf: &Shelf) -> (Worker, Arc<Mutex<&'static str>>) {
    let (mut worker, _, fails) = owner_failing_later(shelf);
    let (sharing, _) = sharer(&Shelf::new(2), "");
    worker.config = sharing.config;
    (worker, fails)
}

/// The same worker, with vol0 shared and offered by nothing else.
pub(super) fn sharer(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    let (mut worker, log) = owner(shelf, fails);
    let config = format!(
        "{}[pool.nfs]\n[[pool.nfs.share]]\nvolume = \"vol0\"\nclients = \"192.0.2.0/24\"\n",
        super::tests::CONFIG
    );
    worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
    (worker, log)
}

/// The owner of a pool whose volume is a namespace; a second one has none yet.
fn with_namespaces(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    let (mut worker, log) = owner(shelf, fails);
    let config = format!(
        "{}\n[pool.nvme]\nnqn = \"nqn.2026-01.org.orthrus:tank\"\nhosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]\n\
         [[pool.nvme.namespace]]\nnsid = 1\nvolume = \"vol0\"\n\
         [[pool.nvme.namespace]]\nnsid = 2\nvolume = \"later\"\n",
        super::tests::CONFIG
    );
    worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
    (worker, log)
}

#[test]
fn namespaces_open_before_the_address_and_close_after_it_went() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = with_namespaces(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let opened = taken(&log);
    let expected = ["export on", "NVMe on", "address on"];
    assert!(
        opened.windows(3).any(|steps| steps == expected),
        "{opened:?}"
    );
    {
        let report = lock(&worker.report);
        let volume = &report.volumes[1];
        assert_eq!((volume.lun, volume.namespace), (None, Some(1)));
        let withheld = &report.namespaces_withheld;
        assert_eq!(withheld.len(), 1);
        assert!(withheld[0].contains("no volume later"), "{withheld:?}");
    }
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let released = taken(&log);
    let expected = ["address off", "connections off", "NVMe off", "export off"];
    assert_eq!(released[..4], expected);
    assert!(lock(&worker.report).namespaces_withheld.is_empty());
}

#[test]
fn a_subsystem_that_does_not_close_keeps_its_volumes_and_one_that_does_not_open_is_undone() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = with_namespaces(&shelf, "NVMe off");
    worker.import(Epoch(1)).unwrap();
    taken(&log);
    assert!(worker.release(true).is_err());
    assert_eq!(taken(&log).last().map(String::as_str), Some("NVMe off"));
    assert!(shelf.all().all(|disk| !disk.keys().is_empty()));

    let shelf = Shelf::new(2);
    let (mut worker, log) = with_namespaces(&shelf, "NVMe on");
    assert!(worker.import(Epoch(1)).is_err());
    assert!(!taken(&log).iter().any(|step| step == "address on"));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(taken(&log)[..2], ["connections off", "NVMe off"]);
}

const RELEASE_SHARES: [&str; 8] = [
    "address off",
    "connections off",
    "NFS off",
    "shares unmounted",
    "export off",
    "reservations off",
    "state off",
    "volumes off",
];

#[test]
fn shares_open_before_the_address_and_are_unmounted_after_their_server_ended() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = sharer(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let opened = taken(&log);
    let expected = [
        "state on",
        "export on",
        "shares mounted",
        "NFS on",
        "address on",
    ];
    assert!(
        opened.windows(5).any(|steps| steps == expected),
        "{opened:?}"
    );
    assert_eq!(lock(&worker.report).shares[0].withheld, None);
    assert_eq!(
        lock(&worker.report).volumes[1].lun,
        None,
        "it is no LUN as well"
    );
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(taken(&log)[..RELEASE_SHARES.len()], RELEASE_SHARES);
    assert!(lock(&worker.report).shares.is_empty());
}

#[test]
fn a_server_that_does_not_end_keeps_its_file_systems_and_all_below_them() {
    for fails in ["NFS off", "shares unmounted"] {
        let shelf = Shelf::new(2);
        let (mut worker, log) = sharer(&shelf, fails);
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        assert!(worker.release(true).is_err(), "{fails}");
        assert_eq!(taken(&log).last().map(String::as_str), Some(fails));
        assert!(shelf.all().all(|disk| !disk.keys().is_empty()), "{fails}");
    }
}

#[test]
fn records_of_clients_that_cannot_be_read_are_no_reason_to_serve_nothing() {
    let (mut worker, log) = sharer(&Shelf::new(2), "NFS records");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert!(!taken(&log).iter().any(|step| step.contains("NFS")));
    let shares = lock(&worker.report).shares.clone();
    let why = shares[0].withheld.clone().unwrap();
    assert!(
        why.contains("format 2") && why.contains("nfs-clients.json"),
        "{why}"
    );
}

#[test]
fn a_server_that_does_not_start_withholds_the_shares_and_the_rest_is_served() {
    for fails in ["NFS on", "shares mounted"] {
        let shelf = Shelf::new(2);
        let (mut worker, log) = sharer(&shelf, fails);
        assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
        let done = taken(&log);
        let at = done.iter().position(|step| step == fails).unwrap();
        assert_eq!(done[at + 1..at + 3], ["shares unmounted", "address on"]);
        let withheld = lock(&worker.report).shares[0].withheld.clone().unwrap();
        assert!(
            withheld.contains("Input/output error") && withheld.contains("`handover tank`"),
            "{withheld}"
        );
        assert_eq!(worker.release(true).unwrap(), Done::Released);
        assert!(lock(&worker.report).shares.is_empty());
    }
}

#[test]
fn a_server_of_which_something_is_left_is_a_failed_import() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = sharer(&shelf, "NFS left");
    assert!(worker.import(Epoch(1)).is_err());
    assert!(!taken(&log).iter().any(|step| step == "address on"));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let undone = taken(&log);
    assert_eq!(undone[..2], ["connections off", "shares unmounted"]);
}

#[test]
fn a_share_for_whose_check_there_was_no_time_is_served_and_said() {
    let shelf = Shelf::new(2);
    let (mut worker, _) = sharer(&shelf, "no time");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let said = |worker: &Worker| {
        let notes = lock(&worker.report).notes.clone();
        let mut notes = notes.into_iter();
        notes.find(|note| note.contains("share vol0 is served unchecked"))
    };
    assert!(said(&worker).is_some());
    assert_eq!(lock(&worker.report).shares[0].withheld, None);
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(said(&worker), None);
}

#[test]
fn nothing_is_shared_without_a_place_for_locks_and_the_rest_is_served() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = sharer(&shelf, "state on");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let done = taken(&log);
    assert!(!done.iter().any(|step| step.contains("NFS")), "{done:?}");
    assert_eq!(done.last().map(String::as_str), Some("greeting"));
    let withheld = lock(&worker.report).shares[0].withheld.clone().unwrap();
    assert!(withheld.contains("state volume"), "{withheld}");
    assert_eq!(worker.release(true).unwrap(), Done::Released);
}
