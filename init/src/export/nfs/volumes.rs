//! The file systems of a pool's shares: mounted before the server starts, taken down after it ended.
//!
//! ```text
//! ROOT          a small file system in memory, with a directory for each share of the configuration
//! ROOT/SHARE    the volume's
//! ```
//!
//! All directories are made, in the order of the configuration, whether or not their volumes are there: their inode numbers are what
//! clients of the other head know them by (`mounted_on_fileid`). A share that cannot be mounted is withheld, said, and the others are offered. So is one that is damaged when
//! the time for checks is over; one that is only to be checked always is served all the same.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::plan::{NfsPlan, SharePlan, Withheld};
use crate::Step;
use crate::config::Check;
use crate::filesystem::budget::BUDGET;
use crate::filesystem::mount::{is_mounted, mount_kernels};
use crate::filesystem::{self, Budget, Found, Kind, MakeError, MountError};
use crate::modules::ModuleError;

/// Room for the directories, and a bound should anybody find a way to write there.
const ROOT_OPTIONS: &std::ffi::CStr = c"size=64k,nr_inodes=1k,mode=0755";

/// Makes the kernel able to mount a kind of file system.
pub type Prepare<'a> = dyn Fn(Kind) -> Result<(), ModuleError> + 'a;

/// What became of the shares of a plan, beside those that are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounted {
    /// Those that are not.
    pub withheld: Vec<Withheld>,
    /// Those that are, and were to be checked before.
    pub unchecked: Vec<Unchecked>,
}

/// A share that was to be checked, for which there was no time. Nothing says that it is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    share: String,
    volume: String,
}

impl Unchecked {
    /// By this such a share is known in what is said of a pool.
    pub const SERVED: &str = "is served unchecked";

    /// Of this share.
    pub fn new(share: &SharePlan) -> Unchecked {
        Unchecked {
            share: share.name.clone(),
            volume: share.volume.clone(),
        }
    }
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unchecked { share, volume } = self;
        write!(
            f,
            "share {share} {}: nothing says that volume {volume} is damaged, and all checks of an import together may take {} s; \
             `check = \"needed\"` asks for none",
            Unchecked::SERVED,
            BUDGET.as_secs()
        )
    }
}

/// What is done to volumes, by the machine or by a test.
trait Ground {
    fn now(&self) -> Instant;
    fn is_mounted(&self, share: &SharePlan) -> Result<bool, MountError>;
    fn probe(&self, share: &SharePlan) -> io::Result<Found>;
    fn check(&self, share: &SharePlan, is_damaged: bool, left: Duration) -> Result<(), MakeError>;
    fn prepare(&self, kind: Kind) -> Result<(), ModuleError>;
    fn mount(&self, share: &SharePlan, kind: Kind) -> Result<(), MountError>;
}

struct Machine<'a> {
    prepare: &'a Prepare<'a>,
}

impl Ground for Machine<'_> {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn is_mounted(&self, share: &SharePlan) -> Result<bool, MountError> {
        is_mounted(&share.node, &share.place)
    }

    fn probe(&self, share: &SharePlan) -> io::Result<Found> {
        filesystem::probe(&share.node, share.bytes)
    }

    fn check(&self, share: &SharePlan, is_damaged: bool, left: Duration) -> Result<(), MakeError> {
        match is_damaged {
            true => filesystem::check(&share.node, left),
            false => filesystem::check_whole(&share.node, left),
        }
    }

    fn prepare(&self, kind: Kind) -> Result<(), ModuleError> {
        (self.prepare)(kind)
    }

    fn mount(&self, share: &SharePlan, kind: Kind) -> Result<(), MountError> {
        filesystem::mount(&share.node, kind.name(), &share.place).map(drop)
    }
}

/// Mounts the root and all shares of a plan, and takes those out of it that cannot be. Checks take what is left of the budget.
pub fn mount(
    plan: &mut NfsPlan,
    prepare: &Prepare<'_>,
    budget: Budget,
) -> Result<Mounted, MountError> {
    if mount_kernels("tmpfs", &plan.root, ROOT_OPTIONS)? == Step::Changed {
        for name in &plan.directories {
            let place = plan.root.join(name);
            fs::create_dir(&place).map_err(MountError::new(&place, "make the directory"))?;
        }
    }
    Ok(mount_all(plan, &Machine { prepare }, budget))
}

/// What was found of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Mounted,
    Holds { kind: Kind, is_damaged: bool },
}

fn mount_all(plan: &mut NfsPlan, ground: &dyn Ground, budget: Budget) -> Mounted {
    let shares = std::mem::take(&mut plan.shares).into_iter();
    let looked = shares.map(|share| {
        let look = look(&share, ground);
        (share, look)
    });
    let mut looked: Vec<(SharePlan, Result<Look, String>)> = looked.collect();
    // What is damaged is served only when it was checked: it has the time first.
    let is_damaged = |look: &Result<Look, String>| match look {
        Ok(Look::Holds { is_damaged, .. }) => *is_damaged,
        _ => false,
    };
    looked.sort_by_key(|(_, look)| !is_damaged(look));
    let mut mounted = Mounted::default();
    for (share, look) in looked {
        let done = look.and_then(|look| mount_share(&plan.pool, &share, look, ground, budget));
        match done {
            Ok(is_unchecked) => {
                if is_unchecked {
                    mounted.unchecked.push(Unchecked::new(&share));
                }
                plan.shares.push(share);
            }
            Err(why) => {
                mounted.withheld.push(Withheld {
                    share: share.name.clone(),
                    why,
                });
                plan.withheld.push(share);
            }
        }
    }
    plan.shares.sort_by(|a, b| a.name.cmp(&b.name));
    mounted
}

fn look(share: &SharePlan, ground: &dyn Ground) -> Result<Look, String> {
    // With each change of the pool. A check of what clients use would end in an error, and the share be taken from them.
    let mounted = ground.is_mounted(share);
    if mounted.map_err(|error| error.to_string())? {
        return Ok(Look::Mounted);
    }
    let probed = ground.probe(share);
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
    if is_damaged && share.rules.check == Check::Never {
        return Err(format!(
            "volume {} holds {found}, and is not to be checked",
            share.volume
        ));
    }
    Ok(Look::Holds { kind, is_damaged })
}

/// Mounts one; whether it was to be checked and there was no time.
fn mount_share(
    pool: &str,
    share: &SharePlan,
    look: Look,
    ground: &dyn Ground,
    budget: Budget,
) -> Result<bool, String> {
    let Look::Holds { kind, is_damaged } = look else {
        return Ok(false);
    };
    let when = share.rules.check;
    let is_checked = kind == Kind::Ext4 && (is_damaged || when == Check::Always);
    let is_unchecked = is_checked && !check(pool, share, is_damaged, ground, budget)?;
    ground.prepare(kind).map_err(|error| error.to_string())?;
    match ground.mount(share, kind) {
        // Once: an import must not wait for a second check.
        Err(error) if error.is_damage() && kind == Kind::Ext4 && !is_checked => {
            if when == Check::Never {
                return Err(format!("{error}, and it is not to be checked"));
            }
            warn!(volume = share.volume, "{error}");
            check(pool, share, true, ground, budget)?;
            ground
                .mount(share, kind)
                .map_err(|error| error.to_string())?;
        }
        Err(error) if error.is_damage() && kind == Kind::Xfs => {
            return Err(format!(
                "{error}; the kernel does not take its xfs for whole, and no head has a checker for it: volume {} is mended on a \
                 host with lvm2 (`xfs_repair`)",
                share.volume
            ));
        }
        mounted => mounted.map_err(|error| error.to_string())?,
    }
    Ok(is_unchecked)
}

/// Checks one in the time that is left; whether it was done. One that is damaged must be.
fn check(
    pool: &str,
    share: &SharePlan,
    is_damaged: bool,
    ground: &dyn Ground,
    budget: Budget,
) -> Result<bool, String> {
    if is_damaged {
        warn!(
            volume = share.volume,
            "its file system is damaged: it is checked"
        );
    }
    let left = budget.left(ground.now());
    match ground.check(share, is_damaged, left) {
        Ok(()) => Ok(true),
        Err(error) if error.is_out_of_time() => {
            // A check that was ended may have found what nobody knew of.
            let is_good =
                !is_damaged && matches!(ground.probe(share), Ok(Found::Ext4 { is_damaged: false }));
            match is_good {
                true => Ok(false),
                false => Err(format!(
                    "volume {} is damaged, and not checked: {error}; `handover {pool}` begins again and gives the checks of an import \
                     another {} s, what takes longer alone is checked on a host with lvm2 (`e2fsck -f`)",
                    share.volume,
                    BUDGET.as_secs()
                )),
            }
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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::path::PathBuf;

    use super::super::caches::tests::plan;
    use super::*;
    use crate::helper::HelperError;

    /// A machine on which each check takes its time.
    struct Slow {
        begun: Instant,
        passed: Cell<Duration>,
        check_takes: Duration,
        damaged: &'static [&'static str],
        /// xfs, and the kernel refuses it.
        refused: &'static str,
        mounted: RefCell<Vec<String>>,
    }

    impl Slow {
        fn new(check_takes: u64, damaged: &'static [&'static str]) -> Slow {
            Slow {
                begun: Instant::now(),
                passed: Cell::default(),
                check_takes: Duration::from_secs(check_takes),
                damaged,
                refused: "",
                mounted: RefCell::default(),
            }
        }
    }

    impl Ground for Slow {
        fn now(&self) -> Instant {
            self.begun + self.passed.get()
        }

        fn is_mounted(&self, share: &SharePlan) -> Result<bool, MountError> {
            Ok(self.mounted.borrow().contains(&share.name))
        }

        fn probe(&self, share: &SharePlan) -> io::Result<Found> {
            if share.name == self.refused {
                return Ok(Found::Xfs);
            }
            let is_damaged = self.damaged.contains(&share.name.as_str());
            Ok(Found::Ext4 { is_damaged })
        }

        fn check(&self, share: &SharePlan, _: bool, left: Duration) -> Result<(), MakeError> {
            let limit = left.min(Duration::from_secs(20));
            self.passed
                .set(self.passed.get() + limit.min(self.check_takes));
            match limit < self.check_takes {
                true => Err(MakeError::Helper {
                    node: share.node.display().to_string(),
                    source: HelperError::TooLong {
                        name: "e2fsck",
                        limit,
                    },
                }),
                false => Ok(()),
            }
        }

        fn prepare(&self, _: Kind) -> Result<(), ModuleError> {
            Ok(())
        }

        fn mount(&self, share: &SharePlan, _: Kind) -> Result<(), MountError> {
            if share.name == self.refused {
                let refused = io::Error::from_raw_os_error(libc::EUCLEAN);
                return Err(MountError::new(&share.node, "mount")(refused));
            }
            self.mounted.borrow_mut().push(share.name.clone());
            Ok(())
        }
    }

    /// A plan with these shares.
    fn with(names: &[&str], check: Check) -> NfsPlan {
        let mut plan = plan();
        let mut model = plan.shares[0].clone();
        model.rules.check = check;
        let share = |name: &&str| SharePlan {
            name: (*name).to_owned(),
            volume: (*name).to_owned(),
            node: PathBuf::from("/dev").join(name),
            ..model.clone()
        };
        plan.shares = names.iter().map(share).collect();
        plan
    }

    fn unchecked(mounted: &Mounted) -> Vec<&str> {
        let unchecked = mounted.unchecked.iter();
        unchecked.map(|one| one.share.as_str()).collect()
    }

    #[test]
    fn checks_of_an_import_share_one_budget_and_what_it_does_not_reach_is_served_unchecked() {
        let ground = Slow::new(20, &[]);
        let budget = Budget::begin(ground.now());
        let mut plan = with(&["a", "b", "c"], Check::Always);
        let mounted = mount_all(&mut plan, &ground, budget);
        assert_eq!(ground.passed.get(), BUDGET);
        assert_eq!(plan.shares.len(), 3);
        assert_eq!(mounted.withheld, []);
        assert_eq!(unchecked(&mounted), ["b", "c"]);
        // What is mounted is not looked at again with the next change.
        let mounted = mount_all(&mut plan, &ground, budget);
        assert_eq!((plan.shares.len(), mounted), (3, Mounted::default()));
    }

    #[test]
    fn what_is_damaged_is_checked_first_and_withheld_when_there_is_no_time_for_it() {
        let ground = Slow::new(13, &["b", "d"]);
        let mut plan = with(&["a", "b", "c", "d"], Check::Always);
        let mounted = mount_all(&mut plan, &ground, Budget::begin(ground.now()));
        let offered: Vec<&str> = plan
            .shares
            .iter()
            .map(|share| share.name.as_str())
            .collect();
        assert_eq!(offered, ["a", "b", "c"]);
        assert_eq!(unchecked(&mounted), ["a", "c"]);
        let [withheld] = &mounted.withheld[..] else {
            panic!("{mounted:?}");
        };
        assert_eq!(withheld.share, "d");
        assert_eq!(plan.withheld[0].name, "d", "its clients wait for it");
        assert!(
            withheld.why.contains("within 12 s") && withheld.why.contains("`handover tank`"),
            "{withheld}"
        );
    }

    #[test]
    fn an_xfs_that_the_kernel_refuses_is_withheld_with_the_way_out_and_the_others_are_offered() {
        for check in [Check::Needed, Check::Always, Check::Never] {
            let mut ground = Slow::new(1, &[]);
            ground.refused = "b";
            let mut plan = with(&["a", "b"], check);
            let mounted = mount_all(&mut plan, &ground, Budget::begin(ground.now()));
            assert_eq!(plan.shares.len(), 1);
            let [withheld] = &mounted.withheld[..] else {
                panic!("{mounted:?}");
            };
            assert!(
                withheld.share == "b"
                    && withheld
                        .why
                        .contains("volume b is mended on a host with lvm2 (`xfs_repair`)"),
                "{withheld}"
            );
        }
    }

    #[test]
    fn what_is_checked_in_its_time_is_not_said() {
        let ground = Slow::new(8, &["b"]);
        let mut plan = with(&["a", "b"], Check::Always);
        let mounted = mount_all(&mut plan, &ground, Budget::begin(ground.now()));
        assert_eq!((plan.shares.len(), mounted), (2, Mounted::default()));
        let ground = Slow::new(8, &["b"]);
        let mut plan = with(&["a", "b"], Check::Never);
        let mounted = mount_all(&mut plan, &ground, Budget::begin(ground.now()));
        assert_eq!(ground.passed.get(), Duration::ZERO);
        assert_eq!(mounted.withheld.len(), 1);
    }
}
