//! Which packages, and getting them: the host's `apt-get`, with a state of its own under
//! `target/cache/apt` and an empty list of installed packages. The host's package database is never
//! opened for writing, and of the host's configuration only how to download (`Acquire::*`: proxies,
//! time-outs) is taken: its hooks would run things on the host.

pub mod sources;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use xshell::{Cmd, Shell, cmd};

use crate::{progress::step, workspace::Workspace};
use sources::RELEASE;

/// Lists younger than this are used as they are: Debian's archive changes four times a day.
const LISTS_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// An apt of our own: its directories, and the sources that it uses.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Sets the directories up. Downloads nothing yet.
    pub fn new(workspace: &Workspace) -> Result<Self> {
        Self::in_directory(workspace, "apt", "")
    }

    /// The same with the suite of backports beside the others, of which everything is taken that is there. A state of its own: a
    /// mirror need not have that suite, and whoever wants nothing of it shall not depend on that.
    pub fn backports(workspace: &Workspace) -> Result<Self> {
        Self::in_directory(workspace, "apt-backports", sources::BACKPORTS)
    }

    /// `more`: a further suite, which is preferred, or nothing.
    fn in_directory(workspace: &Workspace, name: &str, more: &str) -> Result<Self> {
        for tool in ["apt-get", "apt-config", "dpkg-deb", "tar"] {
            ensure!(
                on_path(tool),
                "`{tool}` is missing on this machine: the build wants a Debian host"
            );
        }
        let dir = workspace.cache().join(name);
        for part in [
            "state/lists/partial",
            "cache/archives/partial",
            "sources",
            "log",
        ] {
            let part = dir.join(part);
            fs::create_dir_all(&part).with_context(|| format!("create {}", part.display()))?;
        }
        let os_release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
        let sources = sources::for_release(Path::new("/etc/apt"), &os_release, more)?;
        let apt = Self { dir };
        fs::write(apt.dir.join("status"), "")?;
        write_changed(&apt.sources_file(), &sources)?;
        let mut config = apt.config()?;
        if !more.is_empty() {
            writeln!(config, "APT::Default-Release \"{RELEASE}{more}\";")?;
        }
        fs::write(apt.dir.join("apt.conf"), config)?;
        Ok(apt)
    }

    fn sources_file(&self) -> PathBuf {
        self.dir.join("sources/release.sources")
    }

    /// The text of the sources, for an apt that runs on the tree of tools instead of on the host.
    pub fn sources_for_sandbox(&self) -> Result<String> {
        let file = self.sources_file();
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Ok(sources::with_keyring(&text))
    }

    /// How the host downloads (proxies, time-outs), as a configuration file of apt.
    pub fn acquire(&self) -> Result<String> {
        let shell = Shell::new()?;
        let host = cmd!(shell, "apt-config dump Acquire")
            .quiet()
            .read()
            .context("read the host's apt configuration")?;
        // Index targets are further lists (AppStream and such): megabytes that nobody here reads.
        let lines = host
            .lines()
            .filter(|line| !line.starts_with("Acquire::IndexTargets"));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    }

    /// Downloads `packages` with all that they depend on, as if nothing were installed;
    /// returns the package files.
    pub fn closure(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        self.update()?;
        let list = self.list(packages)?;
        let archives = self.dir.join("cache/archives");
        let megabytes = list.iter().map(|item| item.bytes).sum::<u64>() / 1_000_000;
        step(
            &format!("download {} packages, {megabytes} MB", list.len()),
            || {
                let shell = Shell::new()?;
                let install = [
                    "install",
                    "--no-install-recommends",
                    "--download-only",
                    "--yes",
                    "-qq",
                ];
                Ok(self
                    .apt_get(&shell)
                    .args(install)
                    .args(packages)
                    .ignore_stdout()
                    .quiet()
                    .run()?)
            },
        )?;
        let files: Vec<_> = list.iter().map(|item| archives.join(&item.file)).collect();
        for file in &files {
            ensure!(file.exists(), "apt-get downloaded no {}", file.display());
        }
        Ok(files)
    }

    /// Downloads only those packages of the closure of `package` whose name `wanted` accepts.
    pub fn some_of(&self, package: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
        self.update()?;
        let mut list = self.list(&[package])?;
        list.retain(|item| wanted(item.name()));
        ensure!(
            !list.is_empty(),
            "the closure of {package} holds no wanted package"
        );
        let archives = self.dir.join("cache/archives");
        let names: Vec<_> = list.iter().map(Item::name).collect();
        step(&format!("download {}", names.join(", ")), || {
            let shell = Shell::new()?;
            shell.change_dir(&archives);
            Ok(self
                .apt_get(&shell)
                .args(["download", "-qq"])
                .args(&names)
                .ignore_stdout()
                .quiet()
                .run()?)
        })?;
        Ok(list.iter().map(|item| archives.join(&item.file)).collect())
    }

    fn update(&self) -> Result<()> {
        let stamp = self.dir.join("state/updated");
        let fresh = |path: &Path| -> Option<bool> {
            let updated = fs::metadata(path).ok()?.modified().ok()?;
            let changed = fs::metadata(self.sources_file()).ok()?.modified().ok()?;
            let age = SystemTime::now().duration_since(updated).ok()?;
            Some(age < LISTS_AGE_MAX && updated >= changed)
        };
        if fresh(&stamp) == Some(true) {
            return Ok(());
        }
        step("update package lists", || {
            let shell = Shell::new()?;
            // Without the option a list that cannot be fetched is a warning, and an old one is used.
            let update = ["update", "-qq", "-o", "APT::Update::Error-Mode=any"];
            self.apt_get(&shell)
                .args(update)
                .ignore_stdout()
                .quiet()
                .run()?;
            Ok(fs::write(&stamp, "")?)
        })
    }

    fn list(&self, packages: &[&str]) -> Result<Vec<Item>> {
        let shell = Shell::new()?;
        // An empty cache directory, so that packages that were downloaded before are listed too.
        let empty = self.dir.join("empty");
        fs::create_dir_all(empty.join("partial"))?;
        let archives = format!("Dir::Cache::archives={}", empty.display());
        let list = [
            "install",
            "--no-install-recommends",
            "--print-uris",
            "--yes",
            "-qq",
            "-o",
            &archives,
        ];
        let text = self
            .apt_get(&shell)
            .args(list)
            .args(packages)
            .quiet()
            .read()?;
        text.lines()
            .filter(|line| line.starts_with('\''))
            .map(Item::parse)
            .collect()
    }

    fn apt_get<'a>(&self, shell: &'a Shell) -> Cmd<'a> {
        cmd!(shell, "apt-get")
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    /// `APT_CONFIG` is read first, so the directories that it names decide what is read after it:
    /// nothing, as the host's configuration is replaced by the excerpt that stands in this text.
    fn config(&self) -> Result<String> {
        let host = self.acquire()?;
        let dir = self.dir.display();
        Ok(format!(
            "{host}
Dir::State \"{dir}/state\";
Dir::State::lists \"{dir}/state/lists\";
Dir::State::status \"{dir}/status\";
Dir::Cache \"{dir}/cache\";
Dir::Cache::archives \"{dir}/cache/archives\";
Dir::Log \"{dir}/log\";
Dir::Etc::main \"/dev/null\";
Dir::Etc::parts \"/dev/null\";
Dir::Etc::sourcelist \"/dev/null\";
Dir::Etc::sourceparts \"{dir}/sources\";
Dir::Etc::preferences \"/dev/null\";
Dir::Etc::preferencesparts \"/dev/null\";
APT::Sandbox::User \"root\"; // target/ need not be readable to the user _apt
APT::Architecture \"amd64\";
APT::Architectures {{ \"amd64\"; }};
Acquire::Languages \"none\";
Acquire::Retries \"3\";
"
        ))
    }
}

/// One line of `apt-get --print-uris`: `'URI' FILE BYTES HASH`.
#[derive(Debug)]
struct Item {
    file: String,
    bytes: u64,
}

impl Item {
    fn parse(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, file, bytes, ..] = words[..] else {
            bail!("apt-get --print-uris said {line:?}")
        };
        Ok(Self {
            file: file.to_owned(),
            bytes: bytes.parse().with_context(|| format!("size in {line:?}"))?,
        })
    }

    /// The package's name: a package file is called `NAME_VERSION_ARCHITECTURE.deb`.
    fn name(&self) -> &str {
        self.file.split('_').next().unwrap_or_default()
    }
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

/// Writes only what differs, so that the file's time tells when it changed.
fn write_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
