//! depmod's index files below `/lib/modules/RELEASE`, as far as they are needed.
//!
//! Their text forms are used, not the `.bin` ones: the image has about a hundred modules, which parse in no
//! time. Formats: `modules.dep(5)` and `modprobe.d(5)`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{ModuleError, glob};

/// One module of the image.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// All modules that it needs, in the order in which they must be loaded.
    pub(super) needs: Vec<String>,
    pub(super) soft_before: Vec<String>,
    pub(super) soft_after: Vec<String>,
}

/// What can be loaded, and by which names.
#[derive(Debug, Default)]
pub(super) struct Index {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    /// Pattern and module, in the index's order.
    aliases: Vec<(String, String)>,
}

/// The name as the kernel has it: file names have `-` where the kernel says `_`.
pub(super) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// `kernel/drivers/scsi/virtio_scsi.ko.xz` is `virtio_scsi`.
fn name_of(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    canonical(base.split(".ko").next().unwrap_or(base))
}

impl Index {
    /// Reads the index below `dir`. A file that is missing is an empty one.
    pub(super) fn read(dir: &Path) -> Result<Index, ModuleError> {
        let read = |name: &str| match fs::read_to_string(dir.join(name)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(errno) => Err(ModuleError::Index {
                file: dir.join(name).display().to_string(),
                errno,
            }),
        };
        let mut index = Index::default();
        index.add_modules(&read("modules.dep")?, dir);
        index.add_builtin(&read("modules.builtin")?);
        index.add_aliases(&read("modules.alias")?);
        index.add_soft(&read("modules.softdep")?);
        Ok(index)
    }

    /// `FILE: FILE FILE ...`: the nearest first, so that loading goes from the last to the first.
    fn add_modules(&mut self, text: &str, dir: &Path) {
        for line in text.lines() {
            let Some((file, needs)) = line.split_once(':') else {
                continue;
            };
            let needs = needs.split_ascii_whitespace().rev().map(name_of).collect();
            let module = Module {
                file: dir.join(file),
                needs,
                ..Module::default()
            };
            self.modules.insert(name_of(file), module);
        }
    }

    fn add_builtin(&mut self, text: &str) {
        self.builtin.extend(text.lines().map(name_of));
    }

    /// `alias PATTERN MODULE`, for modules that are in the image.
    fn add_aliases(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("alias") {
                continue;
            }
            let (Some(pattern), Some(module)) = (words.next(), words.next()) else {
                continue;
            };
            let module = canonical(module);
            if self.modules.contains_key(&module) {
                self.aliases.push((pattern.to_owned(), module));
            }
        }
    }

    /// `softdep MODULE pre: NAME ... post: NAME ...`
    fn add_soft(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("softdep") {
                continue;
            }
            let Some(name) = words.next() else { continue };
            let Some(module) = self.modules.get_mut(&canonical(name)) else {
                continue;
            };
            let mut list: Option<&mut Vec<String>> = None;
            for word in words {
                match word {
                    "pre:" => list = Some(&mut module.soft_before),
                    "post:" => list = Some(&mut module.soft_after),
                    name => {
                        if let Some(list) = &mut list {
                            list.push(name.to_owned());
                        }
                    }
                }
            }
        }
    }

    pub(super) fn module(&self, name: &str) -> Option<&Module> {
        self.modules.get(&canonical(name))
    }

    /// All of them, by name, with their files.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let files = self.modules.iter();
        files.map(|(name, module)| (name.as_str(), module.file.as_path()))
    }

    /// The modules that drive something on a bus (`pci:`).
    pub(super) fn of_bus<'a>(&'a self, bus: &'a str) -> impl Iterator<Item = &'a str> {
        let of_it = self
            .aliases
            .iter()
            .filter(move |(pattern, _)| pattern.starts_with(bus));
        of_it.map(|(_, module)| module.as_str())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.module(name).is_some()
    }

    pub(super) fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&canonical(name))
    }

    /// The modules for a name: itself, or those that have it as an alias.
    pub(super) fn resolve(&self, name: &str) -> Vec<String> {
        if self.contains(name) {
            return vec![canonical(name)];
        }
        if self.is_builtin(name) {
            return Vec::new();
        }
        self.matching(name).map(str::to_owned).collect()
    }

    /// The modules whose patterns match a device's alias.
    pub(super) fn matching<'a>(&'a self, alias: &'a str) -> impl Iterator<Item = &'a str> {
        self.aliases
            .iter()
            .filter(move |(pattern, _)| glob::matches(pattern, alias))
            .map(|(_, module)| module.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_in_loading_order() {
        let mut index = Index::default();
        index.add_modules(
            "kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\n\
             kernel/a-b.ko.zst: kernel/near.ko kernel/far.ko\n\
             kernel/lonely.ko:\ngarbage\n",
            Path::new("/m"),
        );
        let module = index.module("a_b").unwrap();
        assert_eq!(module.file, Path::new("/m/kernel/a-b.ko.zst"));
        assert_eq!(module.needs, ["far", "near"]);
        assert_eq!(index.module("xfs").unwrap().needs, ["libcrc32c"]);
        assert!(index.module("lonely").unwrap().needs.is_empty());
        assert!(index.contains("a-b") && !index.contains("near"));
    }

    #[test]
    fn soft_dependencies_and_aliases_of_absent_modules_are_left_out() {
        let mut index = Index::default();
        index.add_modules("kernel/x.ko:\n", Path::new("/m"));
        index.add_builtin("kernel/lib/libcrc32c.ko\n");
        index.add_soft("# comment\nsoftdep x pre: a b post: c-d\nsoftdep gone pre: a\nsoftdep\n");
        index.add_aliases("# comment\nalias crypto-x x\nalias pci:* gone\nalias broken\n");
        let module = index.module("x").unwrap();
        assert_eq!(module.soft_before, ["a", "b"]);
        assert_eq!(module.soft_after, ["c-d"]);
        assert_eq!(index.resolve("crypto-x"), ["x"]);
        assert!(index.resolve("pci:1").is_empty());
        assert!(index.is_builtin("libcrc32c"));
    }
}
