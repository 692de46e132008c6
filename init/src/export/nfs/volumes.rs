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
use crate::filesystem::mount::mount_kernels;
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
                warn!(pool = plan.pool, share = share.name, "not offered: {why}");
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
    let probed = filesystem::probe(&share.node, share.bytes);
    let found = probed.map_err(|error| format!("volume {}: {error}", share.volume))?;
    let kind = match found {
        Found::Ext4 { is_damaged } => {
            if is_damaged {
                warn!(
                    volume = share.volume,
                    "its file system is damaged: it is checked"
                );
                filesystem::check(&share.node).map_err(|error| error.to_string())?;
            }
            Kind::Ext4
        }
        Found::Xfs => Kind::Xfs,
        found => {
            return Err(format!(
                "volume {} holds {found}, where ext4 or xfs was expected",
                share.volume
            ));
        }
    };
    prepare(kind).map_err(|error| error.to_string())?;
    match filesystem::mount(&share.node, kind.name(), &share.place) {
        Ok(_) => Ok(()),
        Err(error) if error.is_damage() && kind == Kind::Ext4 => {
            warn!(volume = share.volume, "{error}: it is checked");
            filesystem::check(&share.node).map_err(|error| error.to_string())?;
            let mounted = filesystem::mount(&share.node, kind.name(), &share.place);
            mounted.map(drop).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
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
