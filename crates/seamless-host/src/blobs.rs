//! Bodies that are too large for the bus, as files of the data folder.

use std::fs;
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{BlobStore, Error, ErrorKind, Result};

/// A folder with a folder for each subscription. Everything in it is sealed, and readable by its owner only.
#[derive(Clone, Debug)]
pub struct FolderBlobs {
    dir: PathBuf,
}

/// What a file is called until it is whole.
const UNFINISHED: &str = ".part";

impl FolderBlobs {
    /// Blobs in this folder, which is made when it is needed.
    pub fn new(dir: impl Into<PathBuf>) -> FolderBlobs {
        FolderBlobs { dir: dir.into() }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match name.split_once('/') {
            Some((folder, file)) if plain(folder) && plain(file) => Ok(self.dir.join(folder).join(file)),
            _ => Err(Error::protocol("a body has a name that is none")),
        }
    }

    async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(Error::storage("a body could not be handled")))
    }
}

/// Waiting may cure a full disk; a body that is not kept is not published either.
fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::storage(format!("cannot use the file {}: {error}", path.display())).retry_later(None)
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn put(&self, name: &str, body: Vec<u8>) -> Result<()> {
        let path = self.path(name)?;
        Self::blocking(move || {
            let folder = path.parent().unwrap_or(Path::new("."));
            let part = path.with_extension(&UNFINISHED[1..]);
            let write = || {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&part)?;
                file.write_all(&body)?;
                file.sync_all()?;
                fs::rename(&part, &path)?;
                // The name survives a power loss, too.
                fs::File::open(folder)?.sync_all()
            };
            write().map_err(|error| failed(&path, error))
        })
        .await
    }

    async fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        Self::blocking(move || {
            let file = match fs::File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(&path, error)),
            };
            let mut body = Vec::new();
            let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
            file.take(limit)
                .read_to_end(&mut body)
                .map_err(|error| failed(&path, error))?;
            if body.len() > bytes_max {
                return Err(Error::new(ErrorKind::Limit, "a body is larger than allowed"));
            }
            Ok(Some(body))
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        Self::blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != IoKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self, folder: &str, age: Duration, max: usize) -> Result<Vec<String>> {
        let (dir, folder) = (self.dir.join(folder), folder.to_owned());
        Self::blocking(move || {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == IoKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(failed(&dir, error)),
            };
            let mut found = Vec::new();
            for entry in entries {
                let entry = entry.map_err(|error| failed(&dir, error))?;
                let old = entry
                    .metadata()
                    .and_then(|about| about.modified())
                    .is_ok_and(|at| at.elapsed().is_ok_and(|past| past > age));
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|_| old) else {
                    continue;
                };
                if name.ends_with(UNFINISHED) {
                    // Whoever was writing it is gone.
                    fs::remove_file(entry.path()).map_err(|error| failed(&dir, error))?;
                } else if found.len() < max {
                    found.push(format!("{folder}/{name}"));
                }
            }
            Ok(found)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_kept_by_name_and_by_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::new(folder.path().join("blobs"));
        assert!(blobs.get("crm/a1", 10).await.unwrap().is_none());
        blobs.put("crm/a1", b"body".to_vec()).await.unwrap();
        assert_eq!(
            blobs.get("crm/a1", 10).await.unwrap().as_deref(),
            Some(&b"body"[..])
        );
        assert_eq!(blobs.get("crm/a1", 3).await.unwrap_err().kind, ErrorKind::Limit);
        assert!(
            blobs
                .list("crm", Duration::from_secs(60), 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(blobs.list("crm", Duration::ZERO, 10).await.unwrap(), ["crm/a1"]);
        blobs.delete("crm/a1").await.unwrap();
        blobs.delete("crm/a1").await.unwrap();
        assert!(blobs.list("crm", Duration::ZERO, 10).await.unwrap().is_empty());
        for name in ["a1", "../a1", "crm/../a1", "crm/a/b", "crm/"] {
            assert!(blobs.get(name, 10).await.is_err(), "{name}");
        }
    }
}
