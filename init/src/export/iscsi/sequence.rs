//! Steps in order, each within a time limit that the kernel knows nothing of.
//!
//! A configfs call cannot be interrupted, so the steps run on a thread of their own and the caller waits
//! for each report. When one is late the caller goes on without it: it gets [`Cause::TimedOut`], and
//! the thread, should its call ever return, finds nobody listening and does no further step.
//!
//! Which calls can wait, and for what (6.12):
//!
//! - disabling the portal group: for the threads of every session's connections to end
//!   (`iscsit_release_sessions_for_tpg`). A client that hangs does not hold it: the threads are woken, and
//!   with a client that had asked for 50 MiB and read none of it the whole close took 0.2 s under emulation.
//!   Commands that the volume has not completed yet do hold it. A volume that never completes holds it for
//!   ever, and nothing but a reset helps;
//! - unlinking a volume from its LUN: for the LUN's commands (`transport_clear_lun_ref`), likewise;
//! - removing an ACL: for its sessions (`core_tpg_del_initiator_node_acl`), which the disable has ended;
//! - removing a portal: for a login that is under way, at most the login timeout of 15 s, less
//!   when its socket was ended before ([`crate::net::end_connections`]).

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::action::Action;
use super::tree::Tree;
use super::{Cause, ExportError};
use crate::Step;

/// Stack of the thread: a step needs little, and the memory of PID 1 is locked.
const STACK_BYTES: usize = 128 * 1024;

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Way {
    /// Do the actions, and stop at the first that fails.
    Forth,
    /// Undo them, in the order given, and go on past a failure: what can be freed should be, and the first
    /// failure is the one reported.
    Back,
}

/// Runs the actions; `Already` when none of them changed anything.
pub(in crate::export) fn run(
    tree: &Arc<impl Tree>,
    actions: Vec<Action>,
    way: Way,
    limit: Duration,
) -> Result<Step, ExportError> {
    let (reports, inbox) = mpsc::channel();
    let tree = Arc::clone(tree);
    let todo = actions.clone();
    let spawned = thread::Builder::new()
        .name("export".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            for action in &todo {
                let result = match way {
                    Way::Forth => action.perform(tree.as_ref()),
                    Way::Back => action.undo(tree.as_ref()),
                };
                let stop = way == Way::Forth && result.is_err();
                if reports.send(result).is_err() || stop {
                    return;
                }
            }
        });
    if let Err(error) = spawned {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
        return Err(ExportError::kernel("/", "start a thread", errno));
    }
    let mut total = Step::Already;
    let mut first = None;
    for action in &actions {
        let cause = match inbox.recv_timeout(limit) {
            Ok(Ok(Step::Changed)) => {
                total = Step::Changed;
                continue;
            }
            Ok(Ok(Step::Already)) => continue,
            Ok(Err(error)) if way == Way::Forth => return Err(error),
            Ok(Err(error)) => {
                first.get_or_insert(error);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => Cause::TimedOut(limit),
            // The thread panicked.
            Err(RecvTimeoutError::Disconnected) => Cause::Kernel(Errno::CANCELED),
        };
        return Err(ExportError {
            path: action.path().to_owned(),
            step: match way {
                Way::Forth => action.name(),
                Way::Back => action.undo_name(),
            },
            cause,
        });
    }
    match first {
        Some(error) => Err(error),
        None => Ok(total),
    }
}
