//! Loads kernel modules in the lab's guests, dependencies first, from the initramfs.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`: the kernel unpacks Debian's .ko.xz itself.
const COMPRESSED: i32 = 4;

/// The modules of the running kernel.
pub struct Modules {
    root: PathBuf,
    files: HashMap<String, String>,
    needs: HashMap<String, Vec<String>>,
    loaded: HashSet<String>,
}

impl Modules {
    /// Reads `modules.dep` of the running kernel; empty where everything is built in.
    pub fn open() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let root = ["/lib/modules", "/usr/lib/modules"]
            .iter()
            .map(|base| Path::new(base).join(release.trim()))
            .find(|root| root.join("modules.dep").exists())
            .unwrap_or_default();
        let text = fs::read_to_string(root.join("modules.dep")).unwrap_or_default();
        Self::parse(root, &text)
    }

    fn parse(root: PathBuf, text: &str) -> Self {
        let (mut files, mut needs) = (HashMap::new(), HashMap::new());
        for (file, rest) in text.lines().filter_map(|line| line.split_once(':')) {
            let name = module_name(file);
            // modules.dep lists the whole chain, the innermost last.
            needs.insert(
                name.clone(),
                rest.split_whitespace().rev().map(module_name).collect(),
            );
            files.insert(name, file.to_owned());
        }
        Self {
            root,
            files,
            needs,
            loaded: HashSet::new(),
        }
    }

    /// Loads a module and what it needs. A module that the image lacks is assumed to be built in.
    pub fn load(&mut self, name: &str) {
        let name = name.replace('-', "_");
        for need in self.needs.get(&name).cloned().unwrap_or_default() {
            self.insert(&need);
        }
        self.insert(&name);
    }

    fn insert(&mut self, name: &str) {
        let Some(file) = self.files.get(name) else {
            return;
        };
        if !self.loaded.insert(name.to_owned()) {
            return;
        }
        let path = self.root.join(file);
        let flags = if file.ends_with(".ko") { 0 } else { COMPRESSED };
        let outcome = File::open(&path)
            .map_err(|e| e.to_string())
            .and_then(|file| {
                match rustix::system::finit_module(&file, &CString::default(), flags) {
                    Ok(()) | Err(Errno::EXIST) => Ok(()),
                    Err(e) => Err(e.to_string()),
                }
            });
        if let Err(e) = outcome {
            eprintln!("guest: module {name}: {e}");
        }
    }
}

fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_innermost_first() {
        let text =
            "kernel/net/a-b.ko.xz: kernel/net/c.ko.xz kernel/lib/d.ko.xz\nkernel/lib/d.ko.xz:\n";
        let modules = Modules::parse(PathBuf::new(), text);
        assert_eq!(modules.needs["a_b"], ["d", "c"]);
        assert!(modules.needs["d"].is_empty());
    }
}
