//! Small machines that tests take turns at: booted when there is none free, kept for the next test of their kind.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// The machines of a kind that no test uses now.
pub struct Beds<Bed> {
    free: Mutex<Vec<Bed>>,
    program: &'static str,
    boot: fn(&Path) -> Result<Bed>,
}

impl<Bed: Send + 'static> Beds<Bed> {
    /// None yet. Each will have this program of ours in it.
    pub fn new(program: &'static str, boot: fn(&Path) -> Result<Bed>) -> Arc<Beds<Bed>> {
        Arc::new(Beds {
            free: Mutex::default(),
            program,
            boot,
        })
    }

    /// A test in one of them.
    pub fn trial(
        self: &Arc<Self>,
        name: String,
        run: impl FnOnce(&Bed) -> Result<()> + Send + 'static,
    ) -> Trial {
        let beds = self.clone();
        Trial::test(name, move || {
            beds.with(run)
                .map_err(|error| Failed::from(format!("{error:#}")))
        })
    }

    fn with(&self, run: impl FnOnce(&Bed) -> Result<()>) -> Result<()> {
        let free = self.lock().pop();
        let bed = match free {
            Some(bed) => bed,
            None => (self.boot)(self.program.as_ref())?,
        };
        let outcome = run(&bed);
        // One that a test could not clear away from is of no use to the next.
        if outcome.is_ok() {
            self.lock().push(bed);
        }
        outcome
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Bed>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
