//! What a client will be told of a volume's write cache: read here, decided by the device.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use super::ExportError;

/// Whether a completed write may still be in a volatile cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeCache {
    /// A completed write is on the medium; a client need not flush.
    WriteThrough,
    /// Clients are told so (WCE=1) and their flushes are passed on.
    WriteBack,
}

/// Reads the cache report of a volume's block device, such as `/dev/dm-0`: what LIO's iblock answers with
/// (`iblock_get_write_cache` in `target_core_iblock.c`).
pub fn volume_cache(node: &Path) -> Result<VolumeCache, ExportError> {
    let name = node.file_name().unwrap_or(node.as_os_str());
    let path = Path::new("/sys/class/block")
        .join(name)
        .join("queue/write_cache");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == "write through" => Ok(VolumeCache::WriteThrough),
        // Whatever else the kernel may say one day, a client that flushes too often loses nothing.
        Ok(_) => Ok(VolumeCache::WriteBack),
        Err(error) => Err(ExportError::kernel(
            path,
            "read the write cache report",
            Errno::from_io_error(&error).unwrap_or(Errno::IO),
        )),
    }
}
