//! The lab on the bench: brought up when a test needs another one, kept while tests leave it whole.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use orthrus_qemu::Lab;
use orthrus_qemu::names::ShelfKind;
use orthrus_qemu::spec::Options;

/// Time in which a lab must come to rest between two tests.
const REST_LIMIT: Duration = Duration::from_secs(60);

/// Silence that counts as death in the tests. Twice the product's default and more: the machine that
/// runs the tests may itself stall for a second, and an owner that did not run for `dead` resets itself,
/// as it must. Stalls are not what these tests are about; the core's own tests are.
pub const DEAD_MS: u32 = 2500;

/// What every lab of the tests begins with.
pub fn lab_options() -> Options {
    Options {
        name: "test".into(),
        dead_ms: DEAD_MS,
        ..Options::default()
    }
}

/// Holds the lab that runs now.
#[derive(Default)]
pub struct Bench {
    lab: Mutex<Option<(ShelfKind, Lab)>>,
}

impl Bench {
    /// Runs a test on a whole lab with this shelf: pools served by one head, the other standby, the
    /// client logged in. A lab that a test leaves in another state, or that fails one, is taken down.
    ///
    /// # Errors
    /// The test's, with what the consoles said last.
    pub fn with(&self, shelf: ShelfKind, test: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
        let mut place = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = match place.take() {
            Some((kind, lab)) if kind == shelf && is_whole(&lab) => {
                lab.readmit()?;
                lab
            }
            other => {
                if let Some((_, lab)) = other {
                    lab.down().context("take the former lab down")?;
                }
                bring_up(shelf)?
            }
        };
        match test(&lab) {
            Ok(()) => {
                *place = Some((shelf, lab));
                Ok(())
            }
            Err(error) => Err(failed(lab, error)),
        }
    }

    /// Runs a test on a lab of its own.
    ///
    /// # Errors
    /// The test's, with what the consoles said last.
    pub fn alone(&self, options: &Options, test: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
        self.clear()?;
        let lab = Lab::up(options)?;
        match test(&lab) {
            Ok(()) => lab.down(),
            Err(error) => Err(failed(lab, error)),
        }
    }

    /// Takes the lab down, if one is up: for tests that bring up their own, and at the end.
    ///
    /// # Errors
    /// What is left behind.
    pub fn clear(&self) -> Result<()> {
        let mut place = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        match place.take() {
            Some((_, lab)) => lab.down(),
            None => Ok(()),
        }
    }
}

/// Takes the lab of a failed test down: the error, with what the consoles said last and where the rest of it is.
fn failed(lab: Lab, error: Error) -> Error {
    let trouble = lab.trouble();
    let kept = match lab.down_failed() {
        Ok(place) => format!("all of it is in {}", place.display()),
        Err(error) => format!("the lab of a failed test is not taken down: {error:#}"),
    };
    error.context(format!("{trouble}\n{kept}"))
}

fn bring_up(shelf: ShelfKind) -> Result<Lab> {
    let options = Options {
        shelf,
        ..lab_options()
    };
    let lab = Lab::up(&options)?;
    if is_whole(&lab) {
        return Ok(lab);
    }
    Err(failed(lab, anyhow!("the lab did not come up whole")))
}

fn is_whole(lab: &Lab) -> bool {
    let rest = || -> Result<()> {
        lab.wait_for("any serves", REST_LIMIT)?;
        let owner = lab.owner(None)?;
        lab.wait_for(&format!("{} standby", owner.peer()), REST_LIMIT)?;
        lab.wait_for("client in", REST_LIMIT)?;
        Ok(())
    };
    rest().is_ok()
}
