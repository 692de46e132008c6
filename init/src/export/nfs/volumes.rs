//! The file systems of a pool's shares: mounted before the server starts, taken down after it ended.
//!
//! ```text
//! ROOT          a small file system in memory, with a directory for each share of the configuration
//! ROOT/SHARE    the volume's
//! ```
//!
//! All directories are made, in order, whether or not their volumes are there: their inode numbers are what clients of the
//! other head know them by. A share that cannot be mounted is withheld, said, and the others are offered.

use std::fs;
use std::path::Path;

use tracing::{info, warn};

use super::plan::{NfsPlan, SharePlan, Withheld};
use crate::Step;
use crate::config::Check;
use crate::filesystem::mount::{is_mounted, mount_kernels};
use crate::filesystem::{self, Found, Kind, MountError};
use crate::modules::ModuleError;

/// Room for the directories, and a bound should anybody find a way to write there.
const ROOT_OPTIONS: &std::ffi::CStr = c"size=64k,nr_inodes=1k,mode=0755";

/// Makes the kernel able to mount a kind of file system.
pub type Prepare<'a> = dyn Fn(Kind) -> Result<(), ModuleError> + 'a;

/// Mounts the root and all shares of a plan, and takes those out of it that cannot be.
pub fn mount(plan: &mut NfsPlan, prepare: &Prepare<'_>) -> Result<Vec<Withheld>, MountError> {
    if mount_kernels("tmpfs", &plan.root, ROOT_OPTIONS)? == Step::Changed {
        for name in &plan.directories {
            let place = plan.root.join(name);
            fs::create_dir(&place).map_err(MountError::new(&place, "make the directory"))?;
        }
    }
    let mut withheld = Vec::new();
    plan.shares
        .retain(|share| match mount_share(share, prepare) {
            Ok(()) => true,
            Err(why) => {
                withheld.push(Withheld {
                    share: share.name.clone(),
                    why,
                });
                false
            }
        });
    Ok(withheld)
}

fn mount_share(share: &SharePlan, prepare: &Prepare<'_>) -> Result<(), String> {
    // With each change of the pool. A check of what clients use would end in an error, and the share be taken from them.
    let mounted = is_mounted(&share.node, &share.place);
    if mounted.map_err(|error| error.to_string())? {
        return Ok(());
    }
    let probed = filesystem::probe(&share.node, share.bytes);
    let found = probed.map_err(|error| format!("volume {}: {error}", share.volume))?;
    let (kind, is_damaged) = match found {
        Found::Ext4 { is_damaged } => (Kind::Ext4, is_damaged),
        Found::Xfs => (Kind::Xfs, false),
        found => {
            // A head may have died before it was made.
            let way = match found {
                Found::Nothing | Found::Unfinished => {
                    "; `volume remove` and `volume create --fs` make it"
                }
                _ => "",
            };
            return Err(format!(
                "volume {} holds {found}, where ext4 or xfs was expected{way}",
                share.volume
            ));
        }
    };
    let when = share.rules.check;
    if is_damaged && when == Check::Never {
        return Err(format!(
            "volume {} holds {found}, and is not to be checked",
            share.volume
        ));
    }
    let is_checked = kind == Kind::Ext4 && (is_damaged || when == Check::Always);
    if is_checked {
        check(share, is_damaged)?;
    }
    prepare(kind).map_err(|error| error.to_string())?;
    let mount = || filesystem::mount(&share.node, kind.name(), &share.place).map(drop);
    match mount() {
        // Once: an import must not wait for a second check.
        Err(error) if error.is_damage() && kind == Kind::Ext4 && !is_checked => {
            if when == Check::Never {
                return Err(format!("{error}, and it is not to be checked"));
            }
            warn!(volume = share.volume, "{error}");
            check(share, true)?;
            mount().map_err(|error| error.to_string())
        }
        mounted => mounted.map_err(|error| error.to_string()),
    }
}

fn check(share: &SharePlan, is_damaged: bool) -> Result<(), String> {
    let checked = match is_damaged {
        true => {
            warn!(
                volume = share.volume,
                "its file system is damaged: it is checked"
            );
            filesystem::check(&share.node)
        }
        false => filesystem::check_whole(&share.node),
    };
    checked.map_err(|error| error.to_string())
}

/// Takes down the shares of a pool and their root, whatever stands of them.
pub fn unmount(root: &Path) -> Result<Step, MountError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Step::Already),
        Err(error) => return Err(MountError::new(root, "list")(error)),
    };
    for entry in entries {
        let place = entry.map_err(MountError::new(root, "list"))?.path();
        if filesystem::unmount(&place)? == Step::Changed {
            info!("{} is taken down", place.display());
        }
    }
    filesystem::unmount(root)
}
