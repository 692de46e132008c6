//! Tests only: a host that does nothing, and notes what it is asked for.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::error::JobError;
use super::host::{ChangeOf, Copying, Host};
use super::lock;
use crate::array::{AssembleError, Condition, Judged};
use crate::config::ServiceAddress;
use crate::disk::Disk;
use crate::export::iscsi::reservations::Unrestored;
use crate::export::nfs::{Mounted, NfsPlan, Records, Sharing, StartError, Tracked, Unchecked};
use crate::export::nvme::{NamespacePlan, NvmePlan};
use crate::export::{ExportError, ExportPlan, LunPlan};
use crate::fence::WatchSlot;
use crate::fence::shelf::Shelf;
use crate::filesystem::{self, Budget, Found, MakeError, MountError};
use crate::ledger::{Ledger, Stretch};
use crate::modules::ModuleError;
use crate::net::{Connection, DataPort, Interface, Mac, NetError, Probe, Taken};
use crate::state::{Owner, StateError};
use crate::volume::edit::Edit;
use crate::volume::edit::apply::ApplyError;
use crate::volume::write::stamp::{Stamp, Stamped};
use crate::volume::write::{Author, Failure, Metadata, Phase, WriteError, Written};
use crate::volume::{
    Activated, Active, Merge, MergeState, PoolUsage, Progress, StoreUsage, Uuid, VolumeError,
    VolumeGroup,
};
use crate::{Step, clock};

/// Behind the name of a step: it fails the next time, and no more.
const ONCE: &str = " once";

/// A volume whose images differ, by what its superblocks say.
pub(super) const UNEQUAL: &str = "unequal";

/// What is done, in order.
pub(super) type Log = Arc<Mutex<Vec<String>>>;

/// A host that notes what it is asked for, and what of the claim stands at that moment.
pub(super) struct Witness {
    pub(super) log: Log,
    pub(super) shelf: Shelf,
    pub(super) watch: WatchSlot,
    pub(super) ledger: Arc<Ledger>,
    /// The step that fails.
    pub(super) fails: &'static str,
    /// The same, from some moment on; or then and not again ([`ONCE`]).
    pub(super) fails_later: Arc<Mutex<&'static str>>,
    /// The list of clients in the state volume.
    pub(super) admitted: Arc<Mutex<String>>,
    /// The metadata, for edits that are only tried; without them nothing comes of one.
    pub(super) text: Option<String>,
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

    fn activate(&self, group: &VolumeGroup) -> Activated {
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
        let unequal = group.lvs.iter().filter(|lv| lv.name == UNEQUAL);
        Activated {
            volumes: Ok(vec![active("orthrus_state"), active("vol0")]),
            unequal: unequal.map(|lv| lv.name.clone()).collect(),
        }
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
        self.activate(group).volumes
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
