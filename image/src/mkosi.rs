//! Runs mkosi on one of the committed configurations in `image/mkosi/`.
//!
//! The configuration says what the image is; what is built anew each time (trees of files, the
//! initramfs) is handed in as arguments by [`Mkosi::run`]'s caller. Output goes to a log, which is
//! shown when mkosi fails.
//!
//! A comma in a list of mkosi's ends a path, and there is no way to write one in it. So what is handed in is named from the
//! directory of the configuration, into which mkosi goes first ([`below`]): where the checkout lies is not in it then.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{Tools, workspace::Workspace};

/// How many lines of the log are shown after a failure.
const LOG_LINES: usize = 40;

/// One run of mkosi.
#[derive(Debug)]
pub struct Mkosi<'a> {
    /// Where its programs are.
    pub tools: &'a Tools,
    /// Where things go.
    pub workspace: &'a Workspace,
    /// The directory in `image/mkosi/`.
    pub configuration: &'a str,
    /// Names what is built: the output is called so, and the directory in which it lies.
    pub name: &'a str,
    /// Further arguments.
    pub arguments: Vec<OsString>,
}

/// A file of the checkout, as mkosi finds it from the directory of any configuration.
pub(crate) fn below(workspace: &Workspace, file: &Path) -> Result<OsString> {
    let inside = file.strip_prefix(workspace.root()).with_context(|| {
        format!(
            "{} lies outside of the checkout {}",
            file.display(),
            workspace.root().display()
        )
    })?;
    Ok(Path::new("../../..").join(inside).into_os_string())
}

impl Mkosi<'_> {
    /// Builds; returns the directory with the outputs, `NAME.*`.
    pub fn run(&self) -> Result<PathBuf> {
        let work = self.workspace.images().join("work").join(self.name);
        let output = work.join("output");
        let scratch = work.join("scratch");
        let cache = self.workspace.cache().join("mkosi");
        for dir in [&output, &scratch, &cache] {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        let log = work.join("mkosi.log");
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let directory = self
            .workspace
            .image_source()
            .join("mkosi")
            .join(self.configuration);
        let mut command = self.tools.in_place("mkosi")?;
        command.arg("--directory").arg(&directory).arg("--force");
        command
            .arg("--output")
            .arg(self.name)
            .arg("--output-directory")
            .arg(&output);
        command
            .arg("--workspace-directory")
            .arg(&scratch)
            .arg("--package-cache-dir")
            .arg(&cache);
        command.args(&self.arguments).arg("build");
        command.stdout(file.try_clone()?).stderr(file);
        let status = command.status().context("start mkosi")?;
        ensure!(
            status.success(),
            "mkosi: {status}; {} ends with:\n{}",
            log.display(),
            tail(&log)
        );
        Ok(output)
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mkosi_is_not_told_where_the_checkout_lies() {
        let workspace = Workspace::here().unwrap();
        let tree = workspace.images().join("work/head-tree");
        let named = below(&workspace, &tree).unwrap();
        assert_eq!(named, "../../../target/image/work/head-tree");
        // The directory of a configuration is as deep as that.
        let from = workspace.image_source().join("mkosi/initramfs");
        let up = from.ancestors().nth(3);
        assert_eq!(up, Some(workspace.root()));
        assert!(below(&workspace, Path::new("/elsewhere")).is_err());
    }
}
