//! Which modules of the kernel go into an initramfs: those of a committed list, and what they need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};

use crate::{Tools, kernel::Kernel, tools};

/// Which of depmod's index files go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexes {
    /// Those that `init` reads, as text: dependencies, aliases, soft dependencies, what is built in.
    ForInit,
    /// All; modprobe reads binary ones.
    ForModprobe,
}

/// The index files of [`Indexes::ForInit`].
const FOR_INIT: [&str; 4] = [
    "modules.dep",
    "modules.alias",
    "modules.softdep",
    "modules.builtin",
];

/// Copies the modules named in `list` (one a line, `#` starts a comment) and all that they need to
/// `root/lib/modules/VERSION`, with index files that speak of exactly these.
pub fn install(
    tools: &Tools,
    kernel: &Kernel,
    list: &Path,
    root: &Path,
    indexes: Indexes,
) -> Result<()> {
    let text = fs::read_to_string(list).with_context(|| format!("read {}", list.display()))?;
    let names = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let index = Index::read(&kernel.modules())?;
    let mut wanted = BTreeSet::new();
    for name in names.filter(|name| !name.is_empty()) {
        if !index.want(name, &mut wanted) {
            bail!(
                "{}: the kernel {} has no module {name}",
                list.display(),
                kernel.version()
            );
        }
    }
    let place = root.join("lib/modules").join(kernel.version());
    for path in &wanted {
        let (from, to) = (kernel.modules().join(path), place.join(path));
        fs::create_dir_all(to.parent().context("a module lies in a directory")?)?;
        fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
    }
    for name in [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        fs::copy(kernel.modules().join(name), place.join(name))
            .with_context(|| format!("copy {name}"))?;
    }
    tools::run(
        tools
            .command("depmod")?
            .arg("-b")
            .arg(root)
            .arg(kernel.version()),
    )?;
    if indexes == Indexes::ForInit {
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_file() && !FOR_INIT.iter().any(|keep| name == *keep) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// What depmod found in the whole kernel. Names have `_` for every `-`, as `lsmod` shows them.
#[derive(Debug, Default)]
struct Index {
    /// Module to its path and the paths that it depends on.
    modules: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
    softdeps: BTreeMap<String, Vec<String>>,
    /// Aliases without wildcards only: those that a soft dependency may name.
    aliases: BTreeMap<String, Vec<String>>,
}

impl Index {
    fn read(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            fs::read_to_string(dir.join(name))
                .with_context(|| format!("read {name} in {}", dir.display()))
        };
        let mut index = Self::default();
        for line in read("modules.dep")?.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            index
                .modules
                .insert(name_of(path), (path.to_owned(), needs));
        }
        index
            .builtin
            .extend(read("modules.builtin")?.lines().map(name_of));
        for line in read("modules.softdep")?.lines() {
            let mut words = line.split_whitespace();
            let (Some("softdep"), Some(module)) = (words.next(), words.next()) else {
                continue;
            };
            let needs = words.filter(|word| !word.ends_with(':')).map(str::to_owned);
            index
                .softdeps
                .entry(plain(module))
                .or_default()
                .extend(needs);
        }
        for line in read("modules.alias")?.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(alias), Some(module)) =
                (words.next(), words.next(), words.next())
                && !alias.contains(['*', '?', '['])
            {
                index
                    .aliases
                    .entry(plain(alias))
                    .or_default()
                    .push(plain(module));
            }
        }
        Ok(index)
    }

    /// Adds `name` and what it needs; says whether the kernel has it, as a module or built in.
    fn want(&self, name: &str, wanted: &mut BTreeSet<String>) -> bool {
        let name = plain(name);
        let Some((path, needs)) = self.modules.get(&name) else {
            return self.builtin.contains(&name);
        };
        if !wanted.insert(path.clone()) {
            return true;
        }
        for need in needs {
            self.want(&name_of(need), wanted);
        }
        for need in self.softdeps.get(&name).into_iter().flatten() {
            // One that is nowhere is passed over, as modprobe does: that is what makes it soft.
            if !self.want(need, wanted) {
                for module in self.aliases.get(&plain(need)).into_iter().flatten() {
                    self.want(module, wanted);
                }
            }
        }
        true
    }
}

/// The module's name of a path such as `kernel/drivers/md/dm-mod.ko.xz`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split(".ko").next().unwrap_or(file))
}

fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_and_soft_dependencies_come_along() {
        let dir = std::env::temp_dir().join(format!("orthrus-modules-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let files = [
            (
                "modules.dep",
                "k/a-b.ko.xz: k/c.ko.xz\nk/c.ko.xz:\nk/d_generic.ko.xz:\nk/e.ko.xz:\n",
            ),
            ("modules.builtin", "kernel/in.ko\n"),
            ("modules.softdep", "softdep c pre: sum nowhere\n"),
            ("modules.alias", "alias sum d_generic\nalias pci:v*d* e\n"),
        ];
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
        let index = Index::read(&dir).unwrap();
        let mut wanted = BTreeSet::new();
        assert!(index.want("a_b", &mut wanted));
        assert!(index.want("in", &mut wanted));
        assert!(!index.want("nowhere", &mut wanted));
        assert_eq!(
            Vec::from_iter(wanted),
            ["k/a-b.ko.xz", "k/c.ko.xz", "k/d_generic.ko.xz"]
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}
