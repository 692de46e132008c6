//! What a client has read from a file must not outlive what another one writes, before and after a crash. The heads give no
//! delegation, under which a client would go by its own memory and its own locks.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_tests::steps::said;

use crate::shares::Mounted;

const FILE: &str = "read";

/// A file that the client holds open, with what is in it.
pub struct HeldOpen<'a> {
    share: &'a Mounted,
    holds: String,
}

impl<'a> HeldOpen<'a> {
    /// Makes the file on a share that is mounted, and opens it for reading until the client ends.
    ///
    /// # Errors
    /// The client's.
    pub fn begin(lab: &Lab, share: &'a Mounted) -> Result<HeldOpen<'a>> {
        let path = share.path(FILE);
        said(lab, &format!("echo one > {path} && sync {path}"))?;
        said(
            lab,
            &format!("setsid sh -c 'exec sleep 100000 <{path}' >/dev/null 2>&1 &"),
        )?;
        let holds = "one".to_owned();
        Ok(HeldOpen { share, holds })
    }

    /// Another client writes: what the first one reads from then on is that, at once.
    ///
    /// # Errors
    /// It reads what was there before, or had a delegation.
    pub fn is_written(&mut self, lab: &Lab, word: &str) -> Result<()> {
        let path = self.share.path(FILE);
        let before = said(lab, &format!("cat {path}"))?;
        ensure!(before == self.holds, "it reads {before:?} before");
        let rival = self
            .share
            .as_rival(lab, &format!("echo {word} > /mnt/rival/{FILE}"))?;
        ensure!(rival == 0, "another client cannot write: {rival}");
        word.clone_into(&mut self.holds);
        let now = said(lab, &format!("cat {path}"))?;
        ensure!(now == word, "it reads {now:?} after another wrote {word:?}");
        ensure!(self.given_back(lab)? == 0, "it had a delegation");
        Ok(())
    }

    /// How many delegations the client has given back for the share.
    fn given_back(&self, lab: &Lab) -> Result<u64> {
        let script = format!(
            "awk '/ mounted on / {{ here = index($0, \" mounted on {} \") }} here && $1 == \"DELEGRETURN:\" {{ print $2 }}' \
             /proc/self/mountstats",
            self.share.mount_point()
        );
        let count = said(lab, &script)?;
        count
            .parse()
            .with_context(|| format!("delegations: {count:?}"))
    }
}
