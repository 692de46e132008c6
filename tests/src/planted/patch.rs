//! Unified diffs, as `git diff` writes them, put into files that have moved on since.
//!
//! What a hunk takes away must stand in its file exactly once, wherever that is now and however it is indented.
//! `git apply` and `patch` take the nearest of several places, which with little context is sometimes the wrong
//! one: the error would then not be where its patch says that it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// A patch of one file or several.
#[derive(Debug)]
pub struct Patch {
    /// The lines before the first file.
    pub comment: Vec<String>,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    file: PathBuf,
    hunks: Vec<Hunk>,
}

#[derive(Debug, Default)]
struct Hunk {
    old: Vec<String>,
    new: Vec<String>,
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// It changes nothing, or makes, removes or renames a file.
    pub fn parse(text: &str) -> Result<Patch> {
        let mut comment = Vec::new();
        let mut changes: Vec<Change> = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let name = |line: &str, mark| -> Option<PathBuf> {
                Some(line.strip_prefix(mark)?.trim_end().into())
            };
            if let Some(old) = name(line, "--- ") {
                let new = lines.next().and_then(|line| name(line, "+++ "));
                let new = new.context("no file after `---`")?;
                let plain = |path: &Path| path.components().skip(1).collect::<PathBuf>();
                ensure!(
                    plain(&old) == plain(&new),
                    "{} and {} are two files: only changes in place are known",
                    old.display(),
                    new.display()
                );
                let (file, hunks) = (plain(&new), Vec::new());
                changes.push(Change { file, hunks });
                continue;
            }
            let Some(change) = changes.last_mut() else {
                // Git's own head of a file says nothing more.
                if !line.starts_with("diff ") && !line.starts_with("index ") {
                    comment.push(line.to_owned());
                }
                continue;
            };
            if line.starts_with("@@") {
                change.hunks.push(Hunk::default());
                continue;
            }
            let Some(hunk) = change.hunks.last_mut() else {
                continue;
            };
            match line.split_at_checked(1) {
                Some((" ", same)) => {
                    hunk.old.push(same.to_owned());
                    hunk.new.push(same.to_owned());
                }
                Some(("-", old)) => hunk.old.push(old.to_owned()),
                Some(("+", new)) => hunk.new.push(new.to_owned()),
                // An editor takes the blank of an empty line away.
                None => {
                    hunk.old.push(String::new());
                    hunk.new.push(String::new());
                }
                Some(_)
                    if line.starts_with("diff ")
                        || line.starts_with("index ")
                        || line.starts_with('\\') => {}
                Some(_) => bail!("no line of a patch: {line:?}"),
            }
        }
        let empty = changes.is_empty() || changes.iter().any(|change| change.hunks.is_empty());
        ensure!(!empty, "a patch without a change");
        Ok(Patch { comment, changes })
    }

    /// The files that it changes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.changes.iter().map(|change| change.file.as_path())
    }

    /// The changed files of a checkout, which stays as it is.
    ///
    /// # Errors
    /// A hunk fits nowhere, or in more than one place.
    pub fn applied(&self, root: &Path) -> Result<Vec<(PathBuf, String)>> {
        let changed = self.changes.iter().map(|change| {
            let path = root.join(&change.file);
            let mut text =
                fs::read_to_string(&path).with_context(|| change.file.display().to_string())?;
            for hunk in &change.hunks {
                text = hunk
                    .applied(&text)
                    .with_context(|| change.file.display().to_string())?;
            }
            Ok((path, text))
        });
        changed.collect()
    }

    /// Changes the files of a checkout.
    ///
    /// # Errors
    /// Those of [`Patch::applied`], with nothing changed, and of writing.
    pub fn apply(&self, root: &Path) -> Result<()> {
        for (path, text) in self.applied(root)? {
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

impl Hunk {
    fn applied(&self, text: &str) -> Result<String> {
        let lines: Vec<&str> = text.lines().collect();
        let fits = |at: &usize| {
            let there = lines.iter().skip(*at).map(|line| line.trim());
            self.old
                .iter()
                .map(|line| line.trim())
                .eq(there.take(self.old.len()))
        };
        let mut places = (0..lines.len()).filter(fits);
        let first = self.old.first().map_or("", |line| line.trim());
        let at = places
            .next()
            .with_context(|| format!("no place for the hunk at {first:?}"))?;
        ensure!(
            places.next().is_none(),
            "more than one place for the hunk at {first:?}"
        );
        let (before, rest) = lines.split_at(at);
        let new = self.new.iter().map(String::as_str);
        let all = before
            .iter()
            .copied()
            .chain(new)
            .chain(rest[self.old.len()..].iter().copied());
        Ok(all.map(|line| format!("{line}\n")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str =
        "Says why.\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ fn f\n one\n-two\n+2\n";

    fn apply(patch: &str, text: &str) -> Result<String> {
        Patch::parse(patch)?.changes[0].hunks[0].applied(text)
    }

    #[test]
    fn a_hunk_finds_its_place_where_it_is_now_and_however_it_is_indented() {
        assert_eq!(
            apply(PATCH, "zero\n\none\ntwo\nthree\n").unwrap(),
            "zero\n\none\n2\nthree\n"
        );
        assert_eq!(apply(PATCH, "    one\n    two\n").unwrap(), "one\n2\n");
        assert_eq!(Patch::parse(PATCH).unwrap().comment, ["Says why."]);
        assert!(Patch::parse(PATCH).unwrap().files().eq([Path::new("x")]));
    }

    #[test]
    fn a_hunk_without_a_place_of_its_own_is_refused() {
        for text in ["one\nthree\n", "one\ntwo\none\ntwo\n", "", "one\n"] {
            assert!(apply(PATCH, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_change_in_place_is_refused() {
        for patch in [
            "",
            "words\n",
            "--- a/x\n+++ b/x\n",
            "--- /dev/null\n+++ b/x\n@@ @@\n+x\n",
            "--- a/x\n",
        ] {
            assert!(Patch::parse(patch).is_err(), "{patch:?}");
        }
    }
}
