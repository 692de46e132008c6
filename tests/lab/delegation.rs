//! A file that the server lets a client read from its own memory, with the promise to ask before anybody writes. A crash
//! ends the promise, and the client must know: it would be left with old bytes for good.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_tests::steps::{said, until};

use crate::shares::Mounted;

const FILE: &str = "delegated";

/// A file that the client holds open under a delegation, with what is in it.
pub struct Delegated<'a> {
    share: &'a Mounted,
    holds: String,
}

impl<'a> Delegated<'a> {
    /// Makes the file on a share that is mounted, and opens it for reading until the client ends.
    ///
    /// # Errors
    /// The server gives no delegation.
    pub fn hold(lab: &Lab, share: &'a Mounted) -> Result<Delegated<'a>> {
        let path = share.path(FILE);
        said(lab, &format!("echo one > {path} && sync {path}"))?;
        said(
            lab,
            &format!("setsid sh -c 'exec sleep 100000 <{path}' >/dev/null 2>&1 &"),
        )?;
        let holds = "one".to_owned();
        let file = Delegated { share, holds };
        // The server gives none until it has seen that it can call back, and that takes its moment.
        until(
            || file.is_read_without_asking(lab),
            "the server gives no delegation",
        )?;
        Ok(file)
    }

    /// Another client writes: what the first one reads from then on is that, at once.
    ///
    /// # Errors
    /// It reads what was there before.
    pub fn is_asked_for(&mut self, lab: &Lab, word: &str) -> Result<()> {
        // None is given while clients reclaim; soon afterwards there is one again.
        until(
            || self.is_read_without_asking(lab),
            "the server gives no delegation any more",
        )?;
        let (path, returned) = (self.share.path(FILE), self.operations(lab, "DELEGRETURN")?);
        let before = said(lab, &format!("cat {path}"))?;
        ensure!(before == self.holds, "it reads {before:?} before");
        let rival = self
            .share
            .as_rival(lab, &format!("echo {word} > /mnt/rival/{FILE}"))?;
        ensure!(rival == 0, "another client cannot write: {rival}");
        word.clone_into(&mut self.holds);
        let now = said(lab, &format!("cat {path}"))?;
        ensure!(now == word, "it reads {now:?} after another wrote {word:?}");
        ensure!(
            self.operations(lab, "DELEGRETURN")? > returned,
            "the delegation was not given back"
        );
        Ok(())
    }

    /// The file is opened once more without a word to the server: that is what a delegation allows.
    fn is_read_without_asking(&self, lab: &Lab) -> Result<bool> {
        let opened = self.operations(lab, "OPEN")?;
        said(lab, &format!("cat {}", self.share.path(FILE)))?;
        Ok(self.operations(lab, "OPEN")? == opened)
    }

    /// How many of these the client has sent for the share.
    fn operations(&self, lab: &Lab, name: &str) -> Result<u64> {
        let script = format!(
            "awk '/ mounted on / {{ here = index($0, \" mounted on {} \") }} here && $1 == \"{name}:\" {{ print $2 }}' \
             /proc/self/mountstats",
            self.share.mount_point()
        );
        let count = said(lab, &script)?;
        count.parse().with_context(|| format!("{name}: {count:?}"))
    }
}
