//! Disks with several paths: joined under a claim, told of in `status`.

use tracing::error;

use super::Worker;
use super::error::JobError;
use crate::disk::{self, Disk, paths};
use crate::fence::Member;
use crate::multipath::keeper::{Keeper, PathReport, PathState};
use crate::status;
use crate::sync::lock;
use crate::volume::VolumeGroup;

/// What ends it that a path has no part in a claim.
const CLAIM_ANEW: &str = "see to the cable or adapter; `handover` there and back makes the next claims take every path that answers";

impl Worker {
    /// Joins the paths of disks that were claimed by several; before the group is read anew, so that it is read through
    /// them. Where that fails the pool is served by one path of each disk, and `status` says so.
    pub(super) fn join_paths(&mut self, before: &VolumeGroup) {
        let pool = self.pool().name.clone();
        let Some(claim) = &mut self.claim else { return };
        let disks = before.disks();
        let several: Vec<Disk> = disks
            .iter()
            .filter(|disk| !disk.paths.is_empty())
            .cloned()
            .collect();
        // The device that joins them believes what they say when it is made. What fails here fails again below, and is told.
        drop(disk::disable_write_caches(&several));
        match Keeper::open(&pool, claim.key, claim.fence.members(), &disks) {
            Ok(keeper) => claim.paths = keeper,
            Err(problem) => {
                error!(pool, "{problem}");
                let note = format!("{problem}: its disks are used by one path each");
                lock(&self.report).notes.push(note);
            }
        }
    }

    /// Nothing stands on the devices that join paths any more: they go.
    pub(super) fn part_paths(&mut self) -> Result<(), JobError> {
        if let Some(claim) = &mut self.claim {
            if let Some(keeper) = &mut claim.paths {
                keeper.close()?;
            }
            claim.paths = None;
        }
        Ok(())
    }

    /// How the paths of the members are now, and what is wrong with them.
    pub(super) fn look_at_paths(&self) -> Vec<status::Problem> {
        let Some(claim) = &self.claim else {
            return Vec::new();
        };
        let seen: Vec<Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let mut problems = Vec::new();
        let mut report = lock(&self.report);
        for member in claim.fence.members() {
            let now = seen.iter().find(|disk| disk.id == member.id);
            let paths = of_member(member, claim.paths.as_ref(), now);
            let bad = paths.iter().filter_map(|path| {
                let why = match &path.state {
                    PathState::InUse | PathState::Spare => return None,
                    PathState::Silent => "does not answer",
                    PathState::Out(why) => why,
                };
                Some(format!("path {} {why}", path.name))
            });
            let bad: Vec<String> = bad.collect();
            if !bad.is_empty() {
                problems.push(status::Problem {
                    what: format!("{}: {}", member.name, bad.join("; ")),
                    todo: CLAIM_ANEW.to_owned(),
                });
            }
            let id = member.id.to_string();
            let shown = report.disks.iter_mut().find(|disk| disk.id == id);
            if let Some(disk) = shown {
                disk.paths = paths.iter().map(describe).collect();
            }
        }
        problems
    }
}

/// The paths of a disk that is held; none for one with a single path.
fn of_member(member: &Member, keeper: Option<&Keeper>, now: Option<&Disk>) -> Vec<PathReport> {
    let joined = keeper.and_then(|keeper| keeper.report(&member.id));
    let mut paths = joined.unwrap_or_else(|| {
        let routes = member.routes.iter().enumerate();
        let reports = routes.map(|(place, route)| PathReport {
            name: route.name.clone(),
            state: match route.why_out() {
                Some(why) => PathState::Out(why.to_owned()),
                None if route.is_failing() => PathState::Silent,
                None if place == 0 => PathState::InUse,
                None => PathState::Spare,
            },
        });
        reports.collect()
    });
    for route in &member.routes {
        if let Some(why) = route.why_out()
            && paths.iter().all(|path| path.name != route.name)
        {
            paths.push(PathReport {
                name: route.name.clone(),
                state: PathState::Out(why.to_owned()),
            });
        }
    }
    let others = now.into_iter().flat_map(|disk| &disk.paths);
    for path in others {
        if paths.iter().all(|known| known.name != path.name) {
            let why = "was not there when the pool was claimed; it is used when it is claimed anew";
            paths.push(PathReport {
                name: path.name.clone(),
                state: PathState::Out(why.to_owned()),
            });
        }
    }
    match paths.len() {
        1 if member.routes.len() == 1 => Vec::new(),
        _ => paths,
    }
}

fn describe(path: &PathReport) -> status::Path {
    status::Path {
        name: path.name.clone(),
        state: match &path.state {
            PathState::InUse => "in use".to_owned(),
            PathState::Spare => "spare".to_owned(),
            PathState::Silent => "does not answer".to_owned(),
            PathState::Out(why) => format!("out: {why}"),
        },
    }
}

/// The paths of a disk that is not held.
pub(super) fn of_disk(disk: &Disk) -> Vec<status::Path> {
    let described = disk.paths.iter().map(|path| status::Path {
        name: path.name.clone(),
        state: match paths::is_silent(path) {
            true => "does not answer".to_owned(),
            false => "answers".to_owned(),
        },
    });
    described.collect()
}
