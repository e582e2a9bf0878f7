//! The data folder: made for its owner only, used by one host at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use seamless_core::{Error, ErrorKind, Result};

/// Held by the running host; contains its process id.
const LOCK_NAME: &str = "seamless.lock";

/// Makes the folder (0700) unless it is there.
pub(crate) fn create(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| cannot("create the data folder", dir, error))
}

/// The exclusive right to a data folder, until dropped or the process ends, however it ends.
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<FolderLock> {
        let path = dir.join(LOCK_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| cannot("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held_by_other(dir, &mut file)),
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &path, error)),
        }
        write_pid(&mut file).map_err(|error| cannot("write", &path, error))?;
        Ok(FolderLock { _file: file })
    }
}

/// Makes a file's content private to its owner, also one that was restored from a backup with wider rights.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|error| cannot("restrict the rights of", path, error))
}

/// Makes an empty file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    made.map_err(|error| cannot("create", path, error))?;
    make_private(path)
}

/// Gives a complete, synced file its final name, and makes the name durable.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    let renamed = || -> io::Result<()> {
        File::open(from)?.sync_all()?;
        fs::rename(from, to)?;
        let dir = to
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    };
    renamed().map_err(|error| cannot("write", to, error))
}

/// An I/O error with its file.
pub(crate) fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::storage(format!("cannot {what} {}: {error}", path.display())).because(error)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn held_by_other(dir: &Path, file: &mut File) -> Error {
    let mut pid = String::new();
    // The pid is a courtesy: without it the refusal is as right.
    let read = file.take(32).read_to_string(&mut pid);
    let pid = if read.is_ok() && !pid.trim().is_empty() {
        pid.trim()
    } else {
        "unknown"
    };
    let dir = dir.display();
    let message = format!("another host (pid {pid}) is running on {dir}; stop it or use another data_dir");
    Error::new(ErrorKind::Refused, message)
}
