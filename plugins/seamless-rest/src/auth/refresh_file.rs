//! The refresh token of an OAuth2 grant. Systems that rotate it hand out a new one with every renewal and make the old one void,
//! so it lives in a file of its own, which is replaced as a whole before the new access token is used.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use seamless_core::{Error, Result, Secret};

const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Where the refresh token is kept.
pub(crate) struct RefreshFile {
    path: PathBuf,
}

/// The token, with the right to replace it: nobody else renews meanwhile, in this process or another.
pub(crate) struct Held<'a> {
    file: &'a RefreshFile,
    token: Secret,
    _lock: File,
}

impl RefreshFile {
    pub(crate) fn new(path: Option<&Path>) -> Result<RefreshFile> {
        let message = "the grant refresh_token needs the setting 'refresh_file': a file (mode 0600) with the refresh token, \
                       which is rewritten when the system hands out a new one";
        let path = path.ok_or_else(|| Error::config(message).with("setting", "refresh_file"))?;
        Ok(RefreshFile {
            path: path.to_owned(),
        })
    }

    /// Reads the token, anew each time: another process may have renewed it.
    pub(crate) fn take(&self) -> Result<Held<'_>> {
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.beside("lock"));
        let lock = lock.map_err(|error| self.cannot("lock", error))?;
        if lock.try_lock().is_err() {
            return Err(Error::unavailable("another process is renewing the token")
                .effect(seamless_core::Effect::NotApplied));
        }
        let about = fs::metadata(&self.path).map_err(|error| self.cannot("read", error))?;
        if about.mode() & 0o077 != 0 || about.len() > TOKEN_BYTES_MAX {
            let shown = self.path.display();
            return Err(Error::config(format!(
                "the refresh token's file must be small and its owner's alone; run `chmod 600 {shown}`"
            )));
        }
        let token = fs::read_to_string(&self.path).map_err(|error| self.cannot("read", error))?;
        Ok(Held {
            file: self,
            token: Secret::new(token.trim()),
            _lock: lock,
        })
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{ending}"));
        PathBuf::from(name)
    }

    fn cannot(&self, what: &str, error: std::io::Error) -> Error {
        Error::config(format!("cannot {what} the refresh token's file"))
            .with("file", self.path.display())
            .because(error)
    }
}

impl Held<'_> {
    pub(crate) fn token(&self) -> &Secret {
        &self.token
    }

    /// Puts a new token in its place: written aside, synced, renamed.
    pub(crate) fn replace(self, new: &Secret) -> Result<()> {
        if new.expose() == self.token.expose() {
            return Ok(());
        }
        let aside = self.file.beside("new");
        let write = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(new.expose().as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &self.file.path)?;
            let folder = self
                .file
                .path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| self.file.cannot("replace", error))
    }
}
