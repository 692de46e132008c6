//! placeholder
use std::path::PathBuf;
/// Placeholder.
#[derive(Debug)]
pub struct ClientImage {
    /** k */
    pub kernel: PathBuf,
}
