//! What an import and a release do to this kernel, as one trait.
//!
//! Each of these steps has its tests where it is made. In which order they stand, and what is still held while each
//! of them runs, is what keeps clients' bytes whole: that is tested on a host that notes what it is asked for.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::error::JobError;
use crate::Step;
use crate::array::{self, AssembleError, Condition, Judged};
use crate::clock;
use crate::config::ServiceAddress;
use crate::disk::{self, Disk, direct, parallel};
use crate::export::iscsi::reservations::{self, Copies};
use crate::export::nfs::{self, Mounted, NfsPlan, Records, Server, Sharing, StartError};
use crate::export::nvme::{NamespacePlan, NvmePlan, Nvmet};
use crate::export::{ExportError, ExportPlan, Lio, LunPlan, STEP_LIMIT};
use crate::filesystem::{self, Budget, Found, MakeError, MountError, Use};
use crate::ledger::Stretch;
use crate::modules::{ModuleError, Modules};
use crate::multipath;
use crate::net::{self, Branch, Connection, DataPort, Interface, Mac, NetError, Probe};
use crate::state::{self, Owner, StateError};
use crate::sync::lock;
use crate::volume::bare::{BareDisk, BareError};
use crate::volume::edit::apply::{ApplyError, apply, check};
use crate::volume::edit::{Edit, EditError};
use crate::volume::write::stamp::{Stamp, Stamped};
use crate::volume::write::{Author, BlockDevice, Medium as _, WriteError, Written};
use crate::volume::{
    self, Activated, Active, Merge, PoolUsage, Progress, StoreUsage, Uuid, VolumeError, VolumeGroup,
};

/// When announcements and tickles are repeated, after the first: they are single packets, and a switch
/// that just learned of a link may drop them.
const REPEATS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_millis(2000),
];

/// The list of clients that were let in at a console, in the state volume.
const ADMITTED: &str = "clients.jsonl";

/// How long a write to an array is waited for that only shows whether its members answer.
const TOUCH_LIMIT: Duration = Duration::from_secs(2);
/// The same for a member that is taken back, of which its superblock is read.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(5);

/// What is done to metadata.
pub(super) type ChangeOf<'a> = dyn Fn(&mut Edit<'_>) -> Result<(), EditError> + 'a;

/// Who copies clients' reservations, as the worker of a pool sees it.
pub(super) trait Copying: Send {
    /// What is not copied as it is now, in words.
    fn failed(&self) -> Vec<String>;
}

impl Copying for Copies {
    fn failed(&self) -> Vec<String> {
        Copies::failed(self, clock::now())
    }
}

/// A kernel, as the worker of a pool sees it. Every step is idempotent.
pub(super) trait Host: Send {
    /// Gives the calling thread, and what it starts, a network of its own, in which ports are branches of the head's.
    fn own_network(&self) -> Result<(), NetError>;
    /// The data port.
    fn port(&self, data: &DataPort) -> Result<Interface, NetError>;
    /// Writes into the metadata whose the group is; `None` when they say so already.
    fn stamp(&self, group: &VolumeGroup, stamp: &Stamp) -> Result<Option<Stamped>, WriteError>;
    /// Makes the kernel able to do what the volumes of a group ask for. Changes no disk.
    fn prepare(&self, group: &VolumeGroup) -> Result<(), ModuleError>;
    /// Starts the arrays that a group is on, which writes to their members; the group as `read` reads it then.
    fn start_arrays(
        &self,
        group: &VolumeGroup,
        read: &dyn Fn() -> Result<VolumeGroup, JobError>,
    ) -> Result<VolumeGroup, JobError>;
    /// Gives an array that runs members back that were thrown out, by their places among the members: their own caches off, and filled.
    /// What came of each. Ends in a bounded time.
    fn take_back(&self, on: &Judged, members: &[usize]) -> Vec<Result<Step, AssembleError>>;
    /// Stops them.
    fn stop_arrays(&self, group: &VolumeGroup) -> Result<Step, AssembleError>;
    /// Makes the kernel write to all members of an array, by a write that changes nothing. Does not wait for long.
    fn touch(&self, array: &Disk);
    /// How the arrays are that run.
    fn arrays(&self, group: &VolumeGroup) -> Result<Vec<Condition>, AssembleError>;
    /// Makes the volumes of a group ready for use.
    fn activate(&self, group: &VolumeGroup) -> Activated;
    /// Changes the metadata of a group.
    fn edit(
        &self,
        group: &VolumeGroup,
        author: &Author,
        change: &ChangeOf<'_>,
    ) -> Result<Written, ApplyError>;
    /// Whether that could be done, and the group that would come of it; writes nothing.
    fn try_edit(
        &self,
        group: &VolumeGroup,
        author: &Author,
        change: &ChangeOf<'_>,
    ) -> Result<VolumeGroup, ApplyError>;
    /// Makes disks bare, and zeroes what was theirs of the ledger first; what failed, in words. Ends when all of it is over.
    fn wipe(&self, disks: &[Disk], copies: &[Stretch]) -> Vec<String>;
    /// Brings volumes that are active in line with a group that was changed since.
    fn reactivate(
        &self,
        before: &VolumeGroup,
        group: &VolumeGroup,
    ) -> Result<Vec<Active>, VolumeError>;
    /// How far the volumes are that are made equal.
    fn progress(&self, group: &VolumeGroup) -> Result<Vec<Progress>, VolumeError>;
    /// Has all images of a RAID volume compared, and made equal.
    fn compare(&self, group: &VolumeGroup, name: &str) -> Result<(), VolumeError>;
    /// How full the thin pools are.
    fn pool_usage(&self, group: &VolumeGroup) -> Result<Vec<PoolUsage>, VolumeError>;
    /// How full the stores of snapshots are.
    fn store_usage(&self, group: &VolumeGroup) -> Result<Vec<StoreUsage>, VolumeError>;
    /// How far the snapshots are that are being merged.
    fn merges(&self, group: &VolumeGroup) -> Result<Vec<Merge>, VolumeError>;
    /// The number of the last change that an active thin pool has made.
    fn pool_transaction(&self, group: &VolumeGroup, pool: &str)
    -> Result<Option<u64>, VolumeError>;
    /// Bytes of a block of an active volume.
    fn logical_block(&self, node: &Path) -> io::Result<u32>;
    /// Takes one volume away.
    fn deactivate_volume(&self, group: &VolumeGroup, lv: &str) -> Result<Step, VolumeError>;
    /// Takes them away.
    fn deactivate(&self, group: &Uuid) -> Result<Step, VolumeError>;
    /// Mounts the state volume.
    fn open_state(&self, volume: &Active, place: &Path, budget: Budget) -> Result<(), StateError>;
    /// Notes its owner there; returns all owners, the newest last.
    fn note_owner(&self, place: &Path, owner: Owner) -> Result<Vec<Owner>, StateError>;
    /// Takes it down.
    fn close_state(&self, place: &Path) -> Result<Step, MountError>;
    /// Why a file system that is mounted takes no writes any more.
    fn filesystem_trouble(&self, place: &Path) -> Option<String>;
    /// The list of clients in the state volume; empty where there is none.
    fn admitted(&self, place: &Path) -> Result<String, StateError>;
    /// Replaces it, durably.
    fn keep_admitted(&self, place: &Path, text: &str) -> Result<(), StateError>;
    /// Keeps clients' reservations on the pool from now on, for a plan that is to be opened, with those that are to be given back.
    fn keep_reservations(&self, plan: &mut ExportPlan, state: &Path);
    /// Whether clients are registered on the LUN with this serial number; `None` where that cannot be told.
    fn has_registrations(&self, state: &Path, serial: &str) -> Option<bool>;
    /// Copies what the kernel writes of them; as long as what is returned lives.
    fn watch_reservations(&self, directory: &Path) -> io::Result<Box<dyn Copying>>;
    /// Makes an export.
    fn open(&self, plan: &ExportPlan) -> Result<(), ExportError>;
    /// Takes one LUN of it back.
    fn withdraw(&self, plan: &ExportPlan, lun: &LunPlan) -> Result<(), ExportError>;
    /// Takes it back, from whatever state there is.
    fn close(&self, plan: &ExportPlan) -> Result<(), ExportError>;
    /// Ends the sessions of an initiator, and lets it in no more.
    fn dismiss_initiator(&self, plan: &ExportPlan, name: &str) -> Result<(), ExportError>;
    /// Ends the connections of all hosts, and lets one of them in no more. Nobody is let in until the subsystem is made again.
    fn dismiss_host(&self, plan: &NvmePlan, nqn: &str) -> Result<(), ExportError>;
    /// Makes a subsystem, or brings it in line with its volumes.
    fn open_nvme(&self, plan: &NvmePlan) -> Result<(), ExportError>;
    /// Takes one namespace of it back.
    fn withdraw_namespace(
        &self,
        plan: &NvmePlan,
        namespace: &NamespacePlan,
    ) -> Result<(), ExportError>;
    /// Takes it back, from whatever state there is.
    fn close_nvme(&self, plan: &NvmePlan) -> Result<(), ExportError>;
    /// Makes a file system on a volume, whatever is on it.
    fn make_filesystem(
        &self,
        volume: &Active,
        kind: filesystem::Kind,
        budget: Budget,
    ) -> Result<(), MakeError>;
    /// What is on a volume.
    fn found_on(&self, node: &Path, bytes: u64) -> io::Result<Found>;
    /// Gives a mounted file system all the room of its volume.
    fn grow_filesystem(&self, place: &Path) -> Result<Step, MountError>;
    /// Mounts the file systems of shares; those that cannot be are taken out of the plan, and returned.
    fn mount_shares(&self, plan: &mut NfsPlan, budget: Budget) -> Result<Mounted, MountError>;
    /// Takes them down, from whatever state there is.
    fn unmount_shares(&self, root: &Path) -> Result<Step, MountError>;
    /// The records of clients in a directory of the pool's.
    fn client_records(&self, place: &Path) -> io::Result<Records>;
    /// Writes them there once as they are.
    fn keep_client_records(&self, place: &Path, records: &mut Records) -> Result<(), String>;
    /// Starts to share, with those that were read of that directory, and keeps them there.
    fn share(
        &self,
        plan: &NfsPlan,
        place: &Path,
        records: Records,
    ) -> Result<Box<dyn Sharing>, StartError>;
    /// Begins to ask whether anybody but the heads has these addresses, on the network of the data port.
    fn probe(&self, data: &DataPort, addresses: Vec<IpAddr>, heads: Vec<Mac>) -> Probe;
    /// Puts a service address onto a port.
    fn add_address(&self, port: &Interface, address: ServiceAddress) -> Result<(), NetError>;
    /// Takes it off.
    fn remove_address(&self, port: &Interface, address: ServiceAddress) -> Result<(), NetError>;
    /// Ends the connections to an address.
    fn end_connections(&self, service: IpAddr) -> Result<(), NetError>;
    /// Tells the network where the addresses are now, and the former owner's clients that their connections are
    /// gone. Does not wait.
    fn greet(&self, port: &Interface, addresses: Vec<IpAddr>, old: Vec<Connection>);
}

/// The kernel that this program runs on, and the modules that it can be given; without any it has all that it needs.
#[derive(Default)]
pub(super) struct Kernel {
    modules: Option<Arc<Modules>>,
    /// The pool's own network, where it has one.
    branch: Mutex<Option<Result<Branch, NetError>>>,
}

impl Kernel {
    pub fn with(modules: Arc<Modules>) -> Kernel {
        Kernel {
            modules: Some(modules),
            branch: Mutex::default(),
        }
    }
}

impl Host for Kernel {
    fn own_network(&self) -> Result<(), NetError> {
        let entered = Branch::enter();
        let result = entered.as_ref().map(drop).map_err(Clone::clone);
        // What it could not have it does not do without: two pools would be one to their clients.
        *lock(&self.branch) = Some(entered);
        result
    }

    fn port(&self, data: &DataPort) -> Result<Interface, NetError> {
        match &mut *lock(&self.branch) {
            Some(Ok(branch)) => branch.port(data),
            Some(Err(error)) => Err(error.clone()),
            None => data.find(),
        }
    }

    fn stamp(&self, group: &VolumeGroup, stamp: &Stamp) -> Result<Option<Stamped>, WriteError> {
        stamp.put(open_all(group), &group.uuid)
    }

    fn prepare(&self, group: &VolumeGroup) -> Result<(), ModuleError> {
        let Some(modules) = &self.modules else {
            return Ok(());
        };
        let of_arrays = group.arrays().flat_map(|on| on.decision.modules());
        let has_paths = group.disks().iter().any(|disk| !disk.paths.is_empty());
        let of_paths = multipath::MODULES.iter().filter(|_| has_paths).copied();
        for name in of_arrays.chain(group.modules()).chain(of_paths) {
            modules.load(name)?;
        }
        Ok(())
    }

    fn start_arrays(
        &self,
        group: &VolumeGroup,
        read: &dyn Fn() -> Result<VolumeGroup, JobError>,
    ) -> Result<VolumeGroup, JobError> {
        for on in group.arrays() {
            array::start(&on.array, &on.decision)?;
        }
        read()
    }

    fn take_back(&self, on: &Judged, members: &[usize]) -> Vec<Result<Step, AssembleError>> {
        let disk = |index: &usize| on.array.members[*index].disk.clone();
        let disks: Vec<Disk> = members.iter().map(disk).collect();
        let failed = |disk: &Disk, source| AssembleError::Call {
            array: on.array.name(),
            step: format!("take back {}", disk.name),
            source,
        };
        let mut outcomes: Vec<Option<AssembleError>> = Vec::new();
        for (disk, switched) in disks.iter().zip(disk::disable_write_caches(&disks)) {
            outcomes.push(
                switched
                    .err()
                    .map(|error| failed(disk, io::Error::other(error))),
            );
        }
        let without_cache = members.iter().zip(&outcomes);
        let without_cache = without_cache.filter(|(_, failed)| failed.is_none());
        let without_cache: Vec<usize> = without_cache.map(|(index, _)| *index).collect();
        let work = [(on.array.clone(), without_cache)];
        let back = parallel::each(&work, TAKE_BACK_LIMIT, |(array, members)| {
            array::take_back(array, members)
        });
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        let (mut back, why) = match back.into_iter().next().flatten() {
            Some(Ok(back)) => (back.into_iter(), String::new()),
            Some(Err(error)) => (Vec::new().into_iter(), error.to_string()),
            None => (Vec::new().into_iter(), timed_out().to_string()),
        };
        let each = disks.iter().zip(outcomes);
        let each = each.map(|(disk, outcome)| match outcome {
            Some(error) => Err(error),
            None => back
                .next()
                .unwrap_or_else(|| Err(failed(disk, io::Error::other(why.clone())))),
        });
        each.collect()
    }

    fn stop_arrays(&self, group: &VolumeGroup) -> Result<Step, AssembleError> {
        let mut all = Step::Already;
        for on in group.arrays() {
            if array::stop(&on.array.id)? == Step::Changed {
                all = Step::Changed;
            }
        }
        Ok(all)
    }

    fn touch(&self, array: &Disk) {
        let arrays = std::slice::from_ref(array);
        let outcomes = parallel::each(arrays, TOUCH_LIMIT, |array| {
            direct::rewrite(&array.path, 0, array.logical_block)
        });
        for error in outcomes.into_iter().flatten().filter_map(Result::err) {
            warn!(array = %array.name, %error, "cannot be written");
        }
    }

    fn arrays(&self, group: &VolumeGroup) -> Result<Vec<Condition>, AssembleError> {
        let mut found = Vec::new();
        for on in group.arrays() {
            found.extend(array::condition(&on.array)?);
        }
        Ok(found)
    }

    fn activate(&self, group: &VolumeGroup) -> Activated {
        volume::activate(group)
    }

    fn edit(
        &self,
        group: &VolumeGroup,
        author: &Author,
        change: &ChangeOf<'_>,
    ) -> Result<Written, ApplyError> {
        let disks = open_all(group);
        apply(disks, &group.uuid, author, change).map(|(_, written)| written)
    }

    fn try_edit(
        &self,
        group: &VolumeGroup,
        author: &Author,
        change: &ChangeOf<'_>,
    ) -> Result<VolumeGroup, ApplyError> {
        let disks = open_all(group);
        let metadata = check(disks, &group.uuid, author, change)?;
        Ok(metadata.group_on(group, author)?)
    }

    fn wipe(&self, disks: &[Disk], copies: &[Stretch]) -> Vec<String> {
        // Waited for without limit: a write that is given up may reach the disk when it is somebody else's. The limit of
        // the whole job ends in a reset.
        thread::scope(|scope| {
            let wipes: Vec<_> = disks
                .iter()
                .map(|disk| scope.spawn(move || wipe(disk, copies)))
                .collect();
            let ends = wipes.into_iter().map(|wipe| match wipe.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.filter_map(|end| end.err())
                .map(|error| error.to_string())
                .collect()
        })
    }

    fn reactivate(
        &self,
        before: &VolumeGroup,
        group: &VolumeGroup,
    ) -> Result<Vec<Active>, VolumeError> {
        volume::reactivate(before, group)
    }

    fn progress(&self, group: &VolumeGroup) -> Result<Vec<Progress>, VolumeError> {
        volume::progress(group)
    }

    fn compare(&self, group: &VolumeGroup, name: &str) -> Result<(), VolumeError> {
        volume::compare(group, name)
    }

    fn pool_usage(&self, group: &VolumeGroup) -> Result<Vec<PoolUsage>, VolumeError> {
        volume::pool_usage(group)
    }

    fn store_usage(&self, group: &VolumeGroup) -> Result<Vec<StoreUsage>, VolumeError> {
        volume::store_usage(group)
    }

    fn merges(&self, group: &VolumeGroup) -> Result<Vec<Merge>, VolumeError> {
        volume::merges(group)
    }

    fn pool_transaction(
        &self,
        group: &VolumeGroup,
        pool: &str,
    ) -> Result<Option<u64>, VolumeError> {
        volume::pool_transaction(group, pool)
    }

    fn logical_block(&self, node: &Path) -> io::Result<u32> {
        volume::logical_block(node)
    }

    fn deactivate_volume(&self, group: &VolumeGroup, lv: &str) -> Result<Step, VolumeError> {
        volume::deactivate_volume(group, lv)
    }

    fn deactivate(&self, group: &Uuid) -> Result<Step, VolumeError> {
        volume::deactivate(group)
    }

    fn open_state(&self, volume: &Active, place: &Path, budget: Budget) -> Result<(), StateError> {
        state::open(volume, place, budget)
    }

    fn note_owner(&self, place: &Path, owner: Owner) -> Result<Vec<Owner>, StateError> {
        state::note_owner(place, owner)
    }

    fn close_state(&self, place: &Path) -> Result<Step, MountError> {
        state::close(place)
    }

    fn filesystem_trouble(&self, place: &Path) -> Option<String> {
        filesystem::trouble(place)
    }

    fn admitted(&self, place: &Path) -> Result<String, StateError> {
        state::read(place, ADMITTED)
    }

    fn keep_admitted(&self, place: &Path, text: &str) -> Result<(), StateError> {
        state::keep(place, ADMITTED, text.as_bytes())
    }

    fn dismiss_initiator(&self, plan: &ExportPlan, name: &str) -> Result<(), ExportError> {
        Lio::new(STEP_LIMIT).dismiss(plan, name).map(drop)
    }

    fn dismiss_host(&self, plan: &NvmePlan, nqn: &str) -> Result<(), ExportError> {
        Nvmet::new(STEP_LIMIT).dismiss(plan, nqn).map(drop)
    }

    fn keep_reservations(&self, plan: &mut ExportPlan, state: &Path) {
        match reservations::directory(state) {
            Ok(directory) => plan.keep_reservations(directory),
            Err(error) => plan.keep_no_reservations(&format!("{}: {error}", state.display())),
        }
    }

    fn has_registrations(&self, state: &Path, serial: &str) -> Option<bool> {
        reservations::has_any(state, serial)
    }

    fn watch_reservations(&self, directory: &Path) -> io::Result<Box<dyn Copying>> {
        Ok(Box::new(reservations::watch(directory)?))
    }

    fn open(&self, plan: &ExportPlan) -> Result<(), ExportError> {
        let lio = Lio::new(STEP_LIMIT);
        lio.prepare()?;
        lio.open(plan).map(drop)
    }

    fn withdraw(&self, plan: &ExportPlan, lun: &LunPlan) -> Result<(), ExportError> {
        Lio::new(STEP_LIMIT).withdraw(plan, lun).map(drop)
    }

    fn close(&self, plan: &ExportPlan) -> Result<(), ExportError> {
        Lio::new(STEP_LIMIT).close(plan).map(drop)
    }

    fn open_nvme(&self, plan: &NvmePlan) -> Result<(), ExportError> {
        Nvmet::new(STEP_LIMIT).open(plan).map(drop)
    }

    fn withdraw_namespace(
        &self,
        plan: &NvmePlan,
        namespace: &NamespacePlan,
    ) -> Result<(), ExportError> {
        let nvmet = Nvmet::new(STEP_LIMIT);
        nvmet.withdraw(plan, namespace).map(drop)
    }

    fn close_nvme(&self, plan: &NvmePlan) -> Result<(), ExportError> {
        Nvmet::new(STEP_LIMIT).close(plan).map(drop)
    }

    fn make_filesystem(
        &self,
        volume: &Active,
        kind: filesystem::Kind,
        budget: Budget,
    ) -> Result<(), MakeError> {
        let bytes = volume.sectors * 512;
        let left = budget.left(Instant::now());
        filesystem::make(&volume.node, bytes, kind, &volume.lv, Use::Share, left)
    }

    fn found_on(&self, node: &Path, bytes: u64) -> io::Result<Found> {
        filesystem::probe(node, bytes)
    }

    fn grow_filesystem(&self, place: &Path) -> Result<Step, MountError> {
        filesystem::grow(place)
    }

    fn mount_shares(&self, plan: &mut NfsPlan, budget: Budget) -> Result<Mounted, MountError> {
        let prepare = |kind: filesystem::Kind| {
            let module = self
                .modules
                .as_ref()
                .map(|modules| modules.load(kind.name()));
            module.transpose().map(drop)
        };
        nfs::mount(plan, &prepare, budget)
    }

    fn unmount_shares(&self, root: &Path) -> Result<Step, MountError> {
        nfs::unmount(root)
    }

    fn client_records(&self, place: &Path) -> io::Result<Records> {
        nfs::read_records(place)
    }

    fn keep_client_records(&self, place: &Path, records: &mut Records) -> Result<(), String> {
        nfs::keep_records(place, records)
    }

    fn share(
        &self,
        plan: &NfsPlan,
        place: &Path,
        records: Records,
    ) -> Result<Box<dyn Sharing>, StartError> {
        Ok(Box::new(Server::start(plan, place, records)?))
    }

    fn probe(&self, data: &DataPort, addresses: Vec<IpAddr>, heads: Vec<Mac>) -> Probe {
        let network = match &*lock(&self.branch) {
            Some(Ok(branch)) => match branch.outside() {
                Ok(network) => Some(network),
                Err(error) => {
                    warn!("not known whether a stranger has the addresses: {error}");
                    return Probe::answered(Ok(()));
                }
            },
            _ => None,
        };
        Probe::begin(data.clone(), network, addresses, heads)
    }

    fn add_address(&self, port: &Interface, address: ServiceAddress) -> Result<(), NetError> {
        net::add_address(port, address).map(drop)
    }

    fn remove_address(&self, port: &Interface, address: ServiceAddress) -> Result<(), NetError> {
        net::remove_address(port, address).map(drop)
    }

    fn end_connections(&self, service: IpAddr) -> Result<(), NetError> {
        net::end_connections(service).map(drop)
    }

    fn greet(&self, port: &Interface, addresses: Vec<IpAddr>, old: Vec<Connection>) {
        greet_once(port, &addresses, &old);
        let port = port.clone();
        let repeat = move || {
            for pause in REPEATS {
                thread::sleep(pause);
                // A client that is connected again must not be reset.
                let back: Vec<Connection> = addresses
                    .iter()
                    .filter_map(|address| net::connections(*address).ok())
                    .flatten()
                    .collect();
                let missing: Vec<Connection> = old
                    .iter()
                    .filter(|old| !back.iter().any(|new| new.remote == old.remote))
                    .copied()
                    .collect();
                greet_once(&port, &addresses, &missing);
            }
        };
        if let Err(error) = thread::Builder::new()
            .name("greet".to_owned())
            .spawn(repeat)
        {
            warn!(%error, "announcements are not repeated");
        }
    }
}

/// Makes one disk bare.
fn wipe(disk: &Disk, copies: &[Stretch]) -> Result<(), BareError> {
    let io = |step| {
        let disk = disk.name.clone();
        move |source| BareError::Io { disk, step, source }
    };
    let mut medium = BlockDevice::open(disk).map_err(io("opening for writing"))?;
    for copy in copies.iter().filter(|copy| copy.disk == disk.id) {
        let zeroes = vec![0; copy.bytes];
        medium
            .write(copy.start, &zeroes)
            .and_then(|()| medium.flush())
            .map_err(io("wiping the copy of the ledger"))?;
    }
    let mut bare = BareDisk {
        name: &disk.name,
        device: disk.path.to_str().unwrap_or_default(),
        bytes: disk.bytes,
        medium: &mut medium,
    };
    bare.wipe()
}

/// The members of a group, for writing.
fn open_all(group: &VolumeGroup) -> Vec<(String, io::Result<BlockDevice>)> {
    let disks = group.devices();
    let opened = disks
        .iter()
        .map(|disk| (disk.name.clone(), BlockDevice::open(disk)));
    opened.collect()
}

fn greet_once(port: &Interface, addresses: &[IpAddr], old: &[Connection]) {
    for address in addresses {
        // The address may have moved on by the time of a late repeat.
        if let Err(error) = net::announce(port, *address) {
            warn!("{error}");
        }
    }
    for connection in old {
        if let Err(error) = net::tickle(connection) {
            warn!("{error}");
        }
    }
}
