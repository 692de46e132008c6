//! Kernel modules, in dependency order, only those that the hardware and configuration ask for.
//!
//! What can be loaded is what depmod's index in the image lists ([`index`]); a kernel with everything
//! built in has none, and every load is then `Already`. The kernel cannot load a module by itself, because
//! there is no modprobe to call: what a module asks for at run time (its soft dependencies) is loaded
//! before it here, and `crc32c_generic` before all others, for which many ask without saying so.
//!
//! The files lie in memory, as all of the image does. Once the head has its hardware, those that nothing will ask for
//! again are given back ([`Modules::free_files`]): some megabytes of drivers for cards that are not there.

mod glob;
mod index;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::system::{finit_module, uname};
use thiserror::Error;

use crate::Step;
use index::Index;

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`: the kernel unpacks the file itself.
const COMPRESSED_FILE: i32 = 4;
/// Rounds of [`Modules::load_for_hardware`]: a bus appears behind a bridge behind a bus, and not deeper.
const ROUNDS: usize = 8;
/// Depth of `/sys/devices` that is looked at; real machines stay below 20.
const DEPTH: usize = 32;
/// Loaded before any other module when it is there.
const FIRST: &str = "crc32c_generic";

/// A module that could not be loaded.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// The index of the image cannot be read.
    #[error("modules: read {file}: {errno}")]
    Index {
        /// The index file.
        file: String,
        /// The kernel's answer.
        errno: io::Error,
    },
    /// There is no such module, neither in the image nor in the kernel.
    #[error("module {name}: neither in this image nor built into the kernel")]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The kernel did not take it.
    #[error("module {name}: {step} {file}: {errno}")]
    Load {
        /// The module.
        name: String,
        /// What was being done.
        step: &'static str,
        /// Its file.
        file: String,
        /// The kernel's answer.
        errno: io::Error,
    },
}

impl ModuleError {
    /// Whether the driver looked and found no hardware for it: usual, and no fault.
    pub fn is_no_hardware(&self) -> bool {
        matches!(self, ModuleError::Load { errno, .. } if errno.raw_os_error() == Some(libc::ENODEV))
    }
}

/// What a search through the hardware came to.
#[derive(Debug, Default)]
pub struct Found {
    /// Modules that were loaded now, in that order.
    pub loaded: Vec<String>,
    /// Modules that were wanted and could not be.
    pub failed: Vec<ModuleError>,
}

/// Hands module files to a kernel; a test has its own.
trait Kernel: Send {
    fn insert(&mut self, file: &Path) -> io::Result<()>;
}

struct Running;

impl Kernel for Running {
    fn insert(&mut self, file: &Path) -> io::Result<()> {
        let compressed = file.extension().is_some_and(|extension| extension != "ko");
        let flags = if compressed { COMPRESSED_FILE } else { 0 };
        Ok(finit_module(File::open(file)?, c"", flags)?)
    }
}

/// The modules of this image, and which of them are loaded.
pub struct Modules {
    index: Index,
    state: Mutex<State>,
}

struct State {
    kernel: Box<dyn Kernel>,
    loaded: BTreeSet<String>,
    /// Looked for their hardware in vain: not tried again by themselves.
    idle: BTreeSet<String>,
    loaded_now: Vec<String>,
    /// The file of what is loaded goes.
    frees: bool,
}

impl Modules {
    /// Reads the index of the running kernel's modules. No index at all is an empty one.
    pub fn open() -> Result<Modules, ModuleError> {
        let release = uname().release().to_string_lossy().into_owned();
        Modules::open_with(
            &PathBuf::from("/lib/modules").join(release),
            Box::new(Running),
        )
    }

    fn open_with(dir: &Path, kernel: Box<dyn Kernel>) -> Result<Modules, ModuleError> {
        Ok(Modules::with(Index::read(dir)?, kernel))
    }

    fn with(index: Index, kernel: Box<dyn Kernel>) -> Modules {
        let state = State {
            kernel,
            loaded: BTreeSet::new(),
            idle: BTreeSet::new(),
            loaded_now: Vec::new(),
            frees: false,
        };
        Modules {
            index,
            state: Mutex::new(state),
        }
    }

    /// Loads a module and what it needs. `name` may be an alias; `-` and `_` are the same.
    pub fn load(&self, name: &str) -> Result<Step, ModuleError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut path = BTreeSet::new();
        if self.index.contains(FIRST) {
            // Missing or refused, it is missed only by those who need it, and they say so.
            let _ = self.load_one(&mut state, FIRST, &mut path);
        }
        let wanted = self.index.resolve(name);
        if wanted.is_empty() {
            return if self.index.is_builtin(name) {
                Ok(Step::Already)
            } else {
                Err(ModuleError::Unknown {
                    name: name.to_owned(),
                })
            };
        }
        // An alias may have several modules, such as an algorithm with and without CPU support: it is
        // served by any of them.
        let results: Vec<_> = wanted
            .iter()
            .map(|one| self.load_one(&mut state, one, &mut path))
            .collect();
        let mut failure = None;
        let mut step = None;
        for result in results {
            match result {
                Ok(Step::Changed) => step = Some(Step::Changed),
                Ok(Step::Already) => step = step.or(Some(Step::Already)),
                Err(error) => failure = Some(error),
            }
        }
        match (step, failure) {
            (Some(step), _) => Ok(step),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Step::Already),
        }
    }

    /// Loads the modules for all hardware that the kernel sees, again and again until nothing new comes
    /// of it. Devices that appear later (disks, behind a slow bus) want another call: all that was done
    /// before is skipped.
    pub fn load_for_hardware(&self) -> Found {
        self.load_for_devices(Path::new("/sys/devices"))
    }

    fn load_for_devices(&self, devices: &Path) -> Found {
        let mut found = Found::default();
        let mut tried = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .idle
            .clone();
        for _ in 0..ROUNDS {
            let mut aliases = BTreeSet::new();
            collect_aliases(devices, DEPTH, &mut aliases);
            let wanted: BTreeSet<&str> = aliases
                .iter()
                .flat_map(|alias| self.index.matching(alias))
                .filter(|name| tried.insert((*name).to_owned()))
                .collect();
            let mut news = false;
            for name in wanted {
                match self.load(name) {
                    Ok(step) => news |= step == Step::Changed,
                    Err(error) => found.failed.push(error),
                }
            }
            if !news {
                break;
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        found.loaded = std::mem::take(&mut state.loaded_now);
        found
    }

    /// Removes the files of what is loaded and of drivers for absent PCI cards, and from now on that of each module that is loaded.
    /// The bytes that this gave back. Cards do not come while a head runs; all else stays, for a pool may ask for it by name.
    pub fn free_files(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.frees = true;
        let of_cards: BTreeSet<&str> = self.index.of_bus("pci:").collect();
        let spent = |name: &str| state.loaded.contains(name) || of_cards.contains(name);
        let files = self.index.files().filter(|(name, _)| spent(name));
        files.map(|(_, file)| remove(file)).sum()
    }

    /// Loads one module after all that it needs. `path` holds those on the way to it: soft dependencies
    /// may form a ring.
    fn load_one(
        &self,
        state: &mut State,
        name: &str,
        path: &mut BTreeSet<String>,
    ) -> Result<Step, ModuleError> {
        if state.loaded.contains(name) || !path.insert(name.to_owned()) {
            return Ok(Step::Already);
        }
        let result = self.load_with_needs(state, name, path);
        path.remove(name);
        if let Err(error) = &result
            && error.is_no_hardware()
        {
            state.idle.insert(name.to_owned());
        }
        result
    }

    fn load_with_needs(
        &self,
        state: &mut State,
        name: &str,
        path: &mut BTreeSet<String>,
    ) -> Result<Step, ModuleError> {
        let Some(module) = self.index.module(name) else {
            return if self.index.is_builtin(name) {
                Ok(Step::Already)
            } else {
                Err(ModuleError::Unknown {
                    name: name.to_owned(),
                })
            };
        };
        self.load_soft(state, &module.soft_before, path);
        for need in &module.needs {
            self.load_one(state, need, path)?;
        }
        let step = match state.kernel.insert(&module.file) {
            Ok(()) => Step::Changed,
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Step::Already,
            Err(errno) => {
                return Err(ModuleError::Load {
                    name: name.to_owned(),
                    step: if module.file.exists() {
                        "insert"
                    } else {
                        "open"
                    },
                    file: module.file.display().to_string(),
                    errno,
                });
            }
        };
        state.loaded.insert(name.to_owned());
        if state.frees {
            remove(&module.file);
        }
        if step == Step::Changed {
            state.loaded_now.push(name.to_owned());
        }
        self.load_soft(state, &module.soft_after, path);
        Ok(step)
    }

    /// Soft dependencies: wanted, not needed. A failure is the module's own to report, if it matters.
    fn load_soft(&self, state: &mut State, names: &[String], path: &mut BTreeSet<String>) {
        for soft in names {
            for name in self.index.resolve(soft) {
                if let Err(error) = self.load_one(state, &name, path) {
                    tracing::debug!("soft dependency: {error}");
                }
            }
        }
    }
}

/// Gives the memory of a file back; how much it was.
fn remove(file: &Path) -> u64 {
    let length = fs::metadata(file).map_or(0, |file| file.len());
    match fs::remove_file(file) {
        Ok(()) => length,
        Err(error) => {
            tracing::debug!("module file {}: remove: {error}", file.display());
            0
        }
    }
}

/// All `modalias` files below a directory. Symbolic links lead sideways, to what is found anyway.
fn collect_aliases(dir: &Path, depth: usize, aliases: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && depth > 0 {
            collect_aliases(&entry.path(), depth - 1, aliases);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            // Devices come and go: one that went is not an error.
            if let Ok(alias) = fs::read_to_string(entry.path()) {
                let alias = alias.trim();
                if !alias.is_empty() {
                    aliases.insert(alias.to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
