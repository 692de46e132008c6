//! Programs that the host lacks or has too old: Debian packages unpacked under `target/cache`,
//! run from there. See [`Tools::command`] for how.
//!
//! Each program is started through the tree's own `ld.so` with the tree's own libraries. Rejected:
//! installing on the host (removes other packages there, starts services), a chroot or a mount
//! namespace for each program (needs privileges; a chroot forbids namespaces inside of it; the lab
//! already runs in namespaces). The price is that a program's built-in paths still point into the
//! host, so those that matter are given by environment or argument, here and nowhere else.

mod in_place;
mod packages;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{apt::Apt, tree, workspace::Workspace};

/// The unpacked tree of tools.
#[derive(Debug, Clone)]
pub struct Tools {
    root: PathBuf,
    libraries: OsString,
}

impl Tools {
    /// Finds the tree, or downloads and unpacks it (about a minute with a good network).
    pub fn ensure(workspace: &Workspace) -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the tools are amd64 packages; this is another machine"
        );
        let list = packages::TOOLS;
        let root = tree::ensure(
            workspace,
            "tools",
            list,
            || Apt::new(workspace)?.closure(list),
            |_| Ok(()),
        )?;
        let root = root
            .canonicalize()
            .with_context(|| format!("resolve {}", root.display()))?;
        let libraries = libraries(&root)?;
        Ok(Self { root, libraries })
    }

    /// The root of the tree, an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the tree by its path on a Debian system, such as `/usr/share/OVMF/OVMF_CODE_4M.fd`.
    pub fn path(&self, on_debian: &str) -> PathBuf {
        self.root.join(on_debian.trim_start_matches('/'))
    }

    /// A command that runs the program `name` of the tree, by name (`tgtd`, `qemu-system-x86_64`).
    ///
    /// The process that it spawns *is* the program: its pid may be signalled, it inherits
    /// descriptors, and it needs no privilege beyond what the program itself does. QEMU finds its
    /// modules and firmware. Only the name of the process is `ld-linux-x86-64.so.2` in `ps -o comm`.
    pub fn command(&self, name: &str) -> Result<Command> {
        let program = self.program(name)?;
        let mut command = match interpreter(&program)? {
            None => self.start(&program),
            Some(interpreter) => {
                let mut command = self.start(&self.program(&interpreter)?);
                command.arg(&program);
                command
            }
        };
        if name.starts_with("qemu-") {
            command.env(
                "QEMU_MODULE_DIR",
                self.path("/usr/lib/x86_64-linux-gnu/qemu"),
            );
        }
        if name.starts_with("qemu-system-") {
            for data in ["/usr/share/qemu", "/usr/share/seabios"] {
                command.arg("-L").arg(self.path(data));
            }
        }
        Ok(command)
    }

    /// A command that lists the libraries of the program `name`.
    pub(crate) fn linked(&self, name: &str) -> Result<Command> {
        let mut command = self.linker();
        command.arg("--list").arg(self.program(name)?);
        Ok(command)
    }

    fn linker(&self) -> Command {
        let mut command = Command::new(self.path("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
        // The host's ld.so.cache must not be read: it would lead to the host's libraries.
        command
            .args(["--inhibit-cache", "--library-path"])
            .arg(&self.libraries);
        command
    }

    fn start(&self, program: &Path) -> Command {
        let mut command = self.linker();
        // A whole path as the program's name, because Python looks for its modules beside it.
        command.arg("--argv0").arg(program).arg(program);
        command
    }

    /// The file of the program `name`.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let places = ["usr/bin", "usr/sbin"].map(|dir| self.root.join(dir).join(name));
        match places.into_iter().find(|path| path.is_file()) {
            Some(path) => Ok(path),
            None => bail!(
                "no program {name} in {}: add its package to image/src/tools/packages.rs",
                self.root.display()
            ),
        }
    }
}

/// Runs a command to its end, silently; an error says which command it was and what it said.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {command:?} said:\n{}",
        output.status,
        said.trim()
    );
    Ok(())
}

/// The name of the program that a script's first line asks for; nothing for an ELF file.
fn interpreter(program: &Path) -> Result<Option<String>> {
    let mut head = [0; 128];
    let mut file = File::open(program).with_context(|| format!("open {}", program.display()))?;
    let read = file
        .read(&mut head)
        .with_context(|| format!("read {}", program.display()))?;
    let Some(line) = head[..read].strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(line);
    let mut words = line.lines().next().unwrap_or_default().split_whitespace();
    let mut name = words.next().and_then(|path| path.rsplit('/').next());
    if name == Some("env") {
        name = words.next();
    }
    Ok(Some(
        name.with_context(|| format!("{} asks for no interpreter", program.display()))?
            .to_owned(),
    ))
}

/// The directories with libraries, joined by colons. Beside the main one those that programs reach
/// by a RUNPATH, which is an absolute path and would lead into the host.
fn libraries(root: &Path) -> Result<OsString> {
    let main = root.join("usr/lib/x86_64-linux-gnu");
    let mut dirs = vec![main.clone()];
    for name in ["systemd", "ceph", "samba", "pulseaudio"] {
        dirs.push(main.join(name));
    }
    dirs.retain(|dir| fs::metadata(dir).is_ok_and(|meta| meta.is_dir()));
    std::env::join_paths(&dirs)
        .with_context(|| format!("{} holds a colon, which ld.so cannot take", root.display()))
}
