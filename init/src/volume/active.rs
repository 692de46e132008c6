//! Activation: what the kernel has of a volume group, brought in line with the metadata.
//!
//! Only the owner may activate, after the claim and on metadata read after it. Contents are never looked at:
//! no partition scan, no probing. What is to be made is a [`Plan`]; here it is made, device by device.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::group::VolumeGroup;
use super::mapper::{Mapper, node};
use super::plan::{Backing, Choice, Device, Hold, Plan, PlanError, PoolCheck, Purpose, is_same};
use super::release::remove;
use super::resync;
use super::uuid::Uuid;
use crate::Step;
use crate::sys::dm::{Control, Info, TableLine};

/// A volume that is ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// The logical volume's name.
    pub lv: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Its device-mapper name.
    pub dm_name: String,
    /// Its device number.
    pub number: (u32, u32),
    /// Its node: `/dev/dm-0`.
    pub node: PathBuf,
    /// Its length in sectors of 512 bytes.
    pub sectors: u64,
    /// It takes writes.
    pub is_writable: bool,
    /// Clients may give space back.
    pub gives_space_back: bool,
    /// A disk of it is lost, and what is left is enough.
    pub is_degraded: bool,
    /// Whether it had to be made.
    pub step: Step,
}

/// What an activation came to.
#[derive(Debug)]
pub struct Activated {
    /// What can be used, or why nothing is.
    pub volumes: Result<Vec<Active>, VolumeError>,
    /// Volumes, by name, whose images may differ where their last owner died as it wrote, and are to be compared: also when the
    /// activation failed, as the kernel may have made some of their images equal by then, and what told of the others is gone.
    pub unequal: Vec<String>,
}

/// Why activation or deactivation failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Device-mapper is not there.
    #[error("/dev/mapper/control: {0}; see `log`, and `reboot` this head if it comes again")]
    Control(io::Error),
    /// The volumes cannot be described to device-mapper.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// The device exists with another table: it was not made by us from these metadata.
    #[error(
        "{device}: is active with another table: {found}; it was not made of these metadata: `reboot` this head takes it away"
    )]
    Different {
        /// Its device-mapper name.
        device: String,
        /// Its table.
        found: String,
    },
    /// A call failed.
    #[error("{device}: device-mapper {step}: {source}")]
    Call {
        /// Its device-mapper name.
        device: String,
        /// The call.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The metadata of a thin pool and those of the group are not of the same change.
    #[error(
        "{device}: the pool's own metadata are at change {found:?}, the volume group's at {expected}: they were not \
         written together; vgcfgrestore with the fitting backup, or thin_repair, on a host with lvm2"
    )]
    Transaction {
        /// Its device-mapper name.
        device: String,
        /// What the kernel says.
        found: String,
        /// What the group says.
        expected: u64,
    },
    /// The list of devices could not be read.
    #[error("/sys/block: {0}; see `log`, and `reboot` this head if it comes again")]
    List(io::Error),
}

/// Activates all volumes that are to be served, each after what it stands on, and gives those that can be used. What
/// was made here is removed again when one fails.
pub fn activate(group: &VolumeGroup) -> Activated {
    match Control::open() {
        Ok(control) => activate_on(&control, group),
        Err(errno) => Activated {
            volumes: Err(VolumeError::Control(errno)),
            unequal: Vec::new(),
        },
    }
}

pub(super) fn activate_on(mapper: &dyn Mapper, group: &VolumeGroup) -> Activated {
    let mut unequal = Vec::new();
    let volumes = Plan::new(group, &Choice::serving()).map_err(VolumeError::from);
    let volumes = volumes.and_then(|plan| {
        let brought = bring_about(mapper, group, &plan, &Plan::default(), &mut unequal);
        brought.map_err(|stopped| stopped.error)
    });
    let name = |lv: usize| group.lvs[lv].name.clone();
    Activated {
        volumes,
        unequal: unequal.into_iter().map(name).collect(),
    }
}

/// The same for a group of which an earlier state is active already: devices whose tables are still those of `before` get their new
/// ones, while they are used.
///
/// # Errors
/// A device that could not be brought in line: what was made for it is gone again. Or one that is of no use any more and does not
/// go: the others are as they should be. Either way the same can be asked for again.
pub fn reactivate(before: &VolumeGroup, group: &VolumeGroup) -> Result<Vec<Active>, VolumeError> {
    let control = Control::open().map_err(VolumeError::Control)?;
    reactivate_on(&control, before, group)
}

pub(super) fn reactivate_on(
    mapper: &dyn Mapper,
    before: &VolumeGroup,
    group: &VolumeGroup,
) -> Result<Vec<Active>, VolumeError> {
    let plan_before = Plan::new(before, &Choice::serving())?;
    let plan = Plan::new(group, &Choice::serving())?;
    // What is made anew beside what runs lacks nothing.
    let mut unequal = Vec::new();
    let stopped = match bring_about(mapper, group, &plan, &plan_before, &mut unequal) {
        Ok(active) => return Ok(active),
        Err(stopped) => stopped,
    };
    if stopped.is_half_way {
        // Its clients write by the table that it has now: it gets the one of before as it would if the snapshot were removed.
        if let Err(undo) = bring_about(mapper, before, &plan_before, &plan, &mut unequal) {
            tracing::error!(error = %undo.error, "undo of the activation");
        }
    }
    Err(stopped.error)
}

/// Why devices were not all brought in line.
struct Stopped {
    error: VolumeError,
    /// An origin goes on with the layer that it got, and nothing was undone.
    is_half_way: bool,
}

/// Removes the devices of one volume that nothing else stands on. Idempotent. Fails while they are in use.
pub fn deactivate_volume(group: &VolumeGroup, lv: &str) -> Result<Step, VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let Some(index) = group.lvs.iter().position(|volume| volume.name == lv) else {
        return Ok(Step::Already);
    };
    let control = Control::open().map_err(VolumeError::Control)?;
    let mut step = Step::Already;
    for device in plan.only_for(index) {
        let known = control.status(&device.uuid);
        if known.map_err(failed(device, "status"))?.is_some() {
            remove(&control, &device.name, &device.uuid)?;
            step = Step::Changed;
        }
    }
    Ok(step)
}

/// Bytes of a block of an active volume: the largest of those of the disks that it is on, or more.
pub fn logical_block(node: &Path) -> io::Result<u32> {
    let name = node.file_name().unwrap_or_default();
    let queue = Path::new("/sys/block").join(name).join("queue");
    let text = std::fs::read_to_string(queue.join("logical_block_size"))?;
    text.trim().parse().map_err(io::Error::other)
}

/// `unequal`: gets the volumes, by their place in the group, whose images are to be compared.
fn bring_about(
    control: &dyn Mapper,
    group: &VolumeGroup,
    plan: &Plan,
    before: &Plan,
    unequal: &mut Vec<usize>,
) -> Result<Vec<Active>, Stopped> {
    let mut made = Made {
        control,
        before,
        by_uuid: HashMap::new(),
        numbers: Vec::with_capacity(plan.devices.len()),
        names: Vec::new(),
        held: Vec::new(),
        unequal,
        is_half_way: false,
    };
    let holds = plan.holds(before);
    let mut active = Vec::new();
    for (index, device) in plan.devices.iter().enumerate() {
        let here = holds.iter().filter(|hold| hold.from == index);
        match made.hold(here).and_then(|()| made.device(device)) {
            Ok((info, step)) if device.purpose == Purpose::Volume => active.push(Active {
                lv: group.lvs[device.lv].name.clone(),
                uuid: group.lvs[device.lv].uuid,
                dm_name: device.name.clone(),
                number: info.number,
                node: node(info.number),
                sectors: device.sectors(),
                is_writable: !device.is_read_only,
                gives_space_back: group.gives_space_back(device.lv),
                is_degraded: device.is_degraded,
                step,
            }),
            Ok(_) => {}
            Err(error) => {
                let is_half_way = made.is_half_way;
                if !is_half_way {
                    made.undo();
                }
                return Err(Stopped { error, is_half_way });
            }
        }
    }
    made.clear().map_err(|error| Stopped {
        error,
        is_half_way: false,
    })?;
    active.sort_by(|one, other| one.lv.cmp(&other.lv));
    Ok(active)
}

/// What of a plan is there.
struct Made<'a> {
    control: &'a dyn Mapper,
    /// What was there when the group was activated last.
    before: &'a Plan,
    /// The numbers of those that were brought in line, for what stands on them in the plan of before.
    by_uuid: HashMap<String, (u32, u32)>,
    /// Of each device of the plan, in its order.
    numbers: Vec<(u32, u32)>,
    /// Name and uuid of those that were made now.
    names: Vec<(String, String)>,
    /// Origins that are held back, each with the layer below it.
    held: Vec<Hold>,
    /// Volumes, by their place in the group, whose images are to be compared.
    unequal: &'a mut Vec<usize>,
    /// One of them goes on, with a layer that was made for it.
    is_half_way: bool,
}

impl Made<'_> {
    /// Brings one device in line with the plan.
    fn device(&mut self, device: &Device) -> Result<(Info, Step), VolumeError> {
        let numbers = &self.numbers;
        let show = |backing| {
            let (major, minor) = match backing {
                Backing::Disk(number) => number,
                // A plan's devices stand on earlier ones only.
                Backing::Device(index) => numbers[index],
            };
            format!("{major}:{minor}")
        };
        let wanted = device.table(&show);
        let known = self.control.status(&device.uuid);
        let known = known.map_err(failed(device, "status"))?;
        let is_new = known.is_none();
        let called = known.as_ref().map(|info| info.name.clone());
        let (info, step) = match known {
            Some(info) if info.is_live && (!info.is_suspended || self.holds(device)) => {
                let aligned = self.align(device, info, &wanted)?;
                self.let_on(device, aligned)?
            }
            known => (self.make(device, known.is_some(), &wanted)?, Step::Changed),
        };
        // A volume that got another name keeps its device, whoever uses it.
        if let Some(old) = called.filter(|old| *old != device.name) {
            let renamed = self.control.rename(&old, &device.name);
            renamed.map_err(failed(device, "rename"))?;
        }
        self.numbers.push(info.number);
        self.by_uuid.insert(device.uuid.clone(), info.number);
        if step == Step::Changed && is_new {
            let names = (device.name.clone(), device.uuid.clone());
            self.names.push(names);
        }
        if let Some(check) = &device.check {
            self.check(device, check)?;
        }
        Ok((info, step))
    }

    /// A device that is in use: it has the table that it should have, or gets it in the place of the one of before.
    fn align(
        &self,
        device: &Device,
        info: Info,
        wanted: &[TableLine],
    ) -> Result<(Info, Step), VolumeError> {
        let found = self.control.table(&device.uuid);
        let found = found.map_err(failed(device, "table"))?;
        if is_same(wanted, &found) && info.is_read_only == device.is_read_only {
            return Ok((info, Step::Already));
        }
        let before = self.before.devices.iter();
        let mut before = before.filter(|before| before.uuid == device.uuid);
        if !before.any(|before| is_same(&self.table_before(before), &found)) {
            let found: Vec<String> = found.iter().map(TableLine::to_string).collect();
            return Err(VolumeError::Different {
                device: device.name.clone(),
                found: found.join("; "),
            });
        }
        let (control, uuid) = (self.control, device.uuid.as_str());
        let swapped = control.load(uuid, device.is_read_only, wanted);
        let swapped = swapped.map_err(failed(device, "load"));
        // With a table that waits this is one step: suspend, swap, resume.
        let swapped = swapped.and_then(|()| control.resume(uuid).map_err(failed(device, "resume")));
        match swapped {
            Ok(info) => Ok((info, Step::Changed)),
            Err(error) => {
                if let Err(undo) = control.clear(uuid) {
                    tracing::error!(device = %device.name, %undo, "a table that was not taken stays loaded");
                }
                Err(error)
            }
        }
    }

    /// Holds back what is to be held from here on.
    fn hold<'h>(&mut self, holds: impl Iterator<Item = &'h Hold>) -> Result<(), VolumeError> {
        for hold in holds {
            self.held.push(Hold {
                layer: None,
                ..hold.clone()
            });
            self.still(&hold.origin)?;
            if let (Some(layer), Some(held)) = (&hold.layer, self.held.last_mut()) {
                held.layer = Some(layer.clone());
                self.still(layer)?;
            }
        }
        Ok(())
    }

    /// Suspends a device that is there, and is not.
    fn still(&self, uuid: &str) -> Result<(), VolumeError> {
        let failed = |step| {
            move |source| VolumeError::Call {
                device: uuid.to_owned(),
                step,
                source,
            }
        };
        let known = self.control.status(uuid).map_err(failed("status"))?;
        match known.is_some_and(|info| info.is_live && !info.is_suspended) {
            true => self.control.suspend(uuid).map_err(failed("suspend")),
            false => Ok(()),
        }
    }

    fn holds(&self, device: &Device) -> bool {
        self.held.iter().any(|hold| hold.origin == device.uuid)
    }

    /// An origin that was held goes on, with the table that it has now. The layer below one that was left alone stays held:
    /// it has the same images.
    fn let_on(
        &mut self,
        device: &Device,
        (info, step): (Info, Step),
    ) -> Result<(Info, Step), VolumeError> {
        if !self.holds(device) {
            return Ok((info, step));
        }
        let info = match step {
            Step::Changed => {
                // One that lost its layer stays without: what was written to it meanwhile is not in its snapshots.
                let mut held = self.held.iter();
                let has_layer = |hold: &Hold| hold.origin == device.uuid && hold.layer.is_none();
                self.is_half_way |= held.any(has_layer);
                info
            }
            Step::Already => {
                let resumed = self.control.resume(&device.uuid);
                resumed.map_err(failed(device, "resume"))?
            }
        };
        self.held.retain(|hold| hold.origin != device.uuid);
        Ok((info, step))
    }

    /// The table that a device was given before.
    fn table_before(&self, device: &Device) -> Vec<TableLine> {
        device.table(&|backing| {
            let number = match backing {
                Backing::Disk(number) => Some(number),
                Backing::Device(index) => self.number_before(&self.before.devices[index]),
            };
            // One that is not there any more has no number, and is like nothing.
            number.map_or_else(String::new, |(major, minor)| format!("{major}:{minor}"))
        })
    }

    fn number_before(&self, device: &Device) -> Option<(u32, u32)> {
        let known = self.by_uuid.get(&device.uuid).copied();
        known.or_else(|| {
            let there = self.control.status(&device.uuid).ok()?;
            there.map(|info| info.number)
        })
    }

    /// Removes what was there before and nothing stands on any more, as far as it goes.
    ///
    /// # Errors
    /// The first that stays. It may be a snapshot into whose store, which the metadata call free, the kernel still copies what
    /// is overwritten in its origin.
    fn clear(&self) -> Result<(), VolumeError> {
        let mut result = Ok(());
        for device in self.before.devices.iter().rev() {
            if self.by_uuid.contains_key(&device.uuid) {
                continue;
            }
            let there = self.control.status(&device.uuid);
            let removed = match there.map_err(failed(device, "status")) {
                Ok(None) => Ok(()),
                Ok(Some(_)) => remove(self.control, &device.name, &device.uuid),
                Err(error) => Err(error),
            };
            if let Err(error) = &removed {
                tracing::warn!(%error, "a device that is of no use any more stays");
            }
            result = result.and(removed);
        }
        result
    }

    fn make(
        &mut self,
        device: &Device,
        is_known: bool,
        wanted: &[TableLine],
    ) -> Result<Info, VolumeError> {
        let (control, uuid) = (self.control, device.uuid.as_str());
        let made = (|| {
            if !is_known {
                let created = control.create(&device.name, uuid);
                created.map_err(failed(device, "create"))?;
            }
            if resync::after_a_crash(control, device, &|index| self.numbers[index]) {
                self.unequal.push(device.lv);
            }
            let loaded = control.load(uuid, device.is_read_only, wanted);
            loaded.map_err(failed(device, "load"))?;
            control.resume(uuid).map_err(failed(device, "resume"))
        })();
        if made.is_err() {
            // Nothing uses it yet, so it goes at the first try.
            if let Err(undo) = control.remove(uuid) {
                tracing::error!(device = %device.name, %undo, "undo of the activation");
            }
        }
        made
    }

    /// Whether a thin pool is where the metadata say, before any of its volumes is there. One change behind is where a
    /// head stops that dies between the two writes, metadata first: the change is made now, as lvm2 would.
    fn check(&self, device: &Device, check: &PoolCheck) -> Result<(), VolumeError> {
        if check.transaction_id == 0 {
            return Ok(());
        }
        let found = self.transaction(device)?;
        let number = found.parse::<u64>().ok();
        if number == Some(check.transaction_id) {
            return Ok(());
        }
        if number.and_then(|number| number.checked_add(1)) != Some(check.transaction_id) {
            return Err(VolumeError::Transaction {
                device: device.name.clone(),
                found,
                expected: check.transaction_id,
            });
        }
        for message in &check.messages {
            let paused = match &message.origin {
                Some(origin) => self.pause(device, origin)?,
                None => false,
            };
            let sent = self.control.message(&device.uuid, 0, &message.text);
            if let Some(origin) = message.origin.as_ref().filter(|_| paused) {
                let resumed = self.control.resume(origin);
                resumed.map_err(failed(device, "resume of the origin"))?;
            }
            match sent {
                // Made, and not yet counted.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENODATA)) => {}
                sent => sent.map_err(failed(device, "message"))?,
            }
        }
        if !check.messages.is_empty() {
            let (before, after) = (check.transaction_id - 1, check.transaction_id);
            let count = format!("set_transaction_id {before} {after}");
            let counted = self.control.message(&device.uuid, 0, &count);
            counted.map_err(failed(device, "message"))?;
        }
        Ok(())
    }

    /// Holds an active device back; whether there is one.
    fn pause(&self, device: &Device, uuid: &str) -> Result<bool, VolumeError> {
        let known = self.control.status(uuid);
        let known = known.map_err(failed(device, "status of the origin"))?;
        let is_active = known.is_some_and(|info| info.is_live && !info.is_suspended);
        if is_active {
            let paused = self.control.suspend(uuid);
            paused.map_err(failed(device, "suspend of the origin"))?;
        }
        Ok(is_active)
    }

    fn transaction(&self, device: &Device) -> Result<String, VolumeError> {
        transaction(self.control, device)
    }

    fn undo(&self) {
        // What was made goes first, while what was held is still: an origin and its new layer have the same images of a RAID
        // volume, and the layer's resync, or the superblocks that it writes when it goes, must not come after the origin's writes.
        for (name, uuid) in self.names.iter().rev() {
            if let Err(error) = remove(self.control, name, uuid) {
                tracing::error!(%error, "undo of the activation");
            }
        }
        for hold in self.held.iter().rev() {
            for uuid in hold.layer.iter().chain([&hold.origin]) {
                if let Err(error) = self.control.resume(uuid) {
                    tracing::error!(%uuid, %error, "undo of the activation: a device stays held back");
                }
            }
        }
    }
}

/// The first word of a thin pool's status.
fn transaction(control: &dyn Mapper, device: &Device) -> Result<String, VolumeError> {
    let status = control.target_status(&device.uuid);
    let status = status.map_err(failed(device, "target status"))?;
    let text = status.first().map_or("", |line| line.parameters.as_str());
    let word = text.split_ascii_whitespace().next();
    Ok(word.unwrap_or_default().to_owned())
}

/// The number of the last change that an active thin pool has made.
pub fn pool_transaction(group: &VolumeGroup, pool: &str) -> Result<Option<u64>, VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let is_its = |device: &&Device| device.check.is_some() && group.lvs[device.lv].name == pool;
    let Some(device) = plan.devices.iter().find(is_its) else {
        return Ok(None);
    };
    let control = Control::open().map_err(VolumeError::Control)?;
    Ok(transaction(&control, device)?.parse().ok())
}

/// For `map_err`.
pub(super) fn failed(device: &Device, step: &'static str) -> impl FnOnce(io::Error) -> VolumeError {
    let device = device.name.clone();
    move |source| VolumeError::Call {
        device,
        step,
        source,
    }
}
