//! The file: made, checked, recognised as ours, brought to the present schema.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use seamless_core::{Error, ErrorKind, Result};

use crate::failure::{damaged, describe};
use crate::folder::{cannot, create_private, make_private, put_in_place};

/// Name of the database in the data folder.
pub(crate) const FILE_NAME: &str = "seamless.db";

/// The present schema.
pub(crate) const SCHEMA: Schema = Schema {
    create: CREATE,
    oldest: 1,
    steps: &[],
};

/// How to make a file, and how to bring an older one up to date.
pub(crate) struct Schema {
    /// Makes everything in a new file.
    create: &'static str,
    /// The oldest version that can be brought up to date.
    oldest: i32,
    /// The n-th leads from version `oldest + n` to the next.
    steps: &'static [&'static str],
}

/// `state` keeps values in the order they came and keys in an index of their own: scattered keys then touch few pages (measured: as fast
/// as one tree for ordered keys, up to five times as fast for scattered ones). Keys are blobs because the end of a prefix range is not always text.
///
/// `message`: `due` and `locked_until` in microseconds; `wait` is what the last deferral asked for; `place` orders messages of one due time, and
/// dead letters. A lock is `n` and `lock` together. The body comes last, so that the rest is read without it.
const CREATE: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('version', 0), ('sequence', 0);

    CREATE TABLE state (
        n INTEGER PRIMARY KEY,
        tbl INTEGER NOT NULL,
        key BLOB NOT NULL,
        version INTEGER NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (tbl, key)
    ) STRICT;

    CREATE TABLE message (
        n INTEGER PRIMARY KEY,
        subscription TEXT NOT NULL,
        state INTEGER NOT NULL CHECK (state IN (0, 1, 2)), -- waiting, locked, dead
        due INTEGER NOT NULL,
        wait INTEGER NOT NULL,
        place INTEGER NOT NULL,
        delivery_count INTEGER NOT NULL,
        lock INTEGER NOT NULL,
        locked_until INTEGER NOT NULL,
        reason_code TEXT,
        reason_description TEXT,
        dead_since INTEGER,
        id TEXT NOT NULL,
        lane TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX message_waiting ON message (subscription, due, place) WHERE state = 0;
    CREATE INDEX message_locked ON message (subscription, locked_until) WHERE state = 1;
    CREATE INDEX message_dead ON message (subscription, place) WHERE state = 2;
    CREATE INDEX message_dead_id ON message (subscription, id) WHERE state = 2;
";

/// 'SEAM' in the file's header: whose file it is.
const APPLICATION_ID: i32 = 0x5345_414d;

/// Before 3.51.3 a file in WAL mode with two connections could be corrupted.
const LIBRARY_VERSION_MIN: i32 = 3_051_003;

impl Schema {
    fn version(&self) -> i32 {
        self.oldest + i32::try_from(self.steps.len()).unwrap_or(i32::MAX - self.oldest)
    }
}

/// Refuses to run on a library with a known corruption bug.
pub(crate) fn check_library() -> Result<()> {
    if rusqlite::version_number() < LIBRARY_VERSION_MIN {
        let message = format!(
            "SQLite {} can corrupt a database; build with 3.51.3 or newer",
            rusqlite::version()
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    Ok(())
}

/// Opens the file for writing: makes it if it is missing; else checks every page, whose it is and for whom, and migrates it.
pub(crate) fn open(file: &Path, identity: &str, schema: &Schema) -> Result<Connection> {
    if is_missing(file)? {
        create(file, identity, schema)?;
    }
    check_magic(file)?;
    make_private(file)?;
    let failed = |error: rusqlite::Error| Error::storage(describe(&error, file)).because(error);
    let mut connection = connect(file).map_err(failed)?;
    let version = check_owner(&connection, file, schema).map_err(failed)??;
    configure(&connection, file).map_err(failed)??;
    check_pages(&connection, file).map_err(failed)??;
    check_identity(&connection, file, identity).map_err(failed)??;
    migrate(&mut connection, file, version, schema)?;
    Ok(connection)
}

/// Opens the second, reading connection of a file that [`open`] has checked.
pub(crate) fn open_second(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(file)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096; PRAGMA mmap_size = 0;")?;
    Ok(connection)
}

/// Whether a new file may be made. A write-ahead log without its file is the rest of a database that somebody moved.
fn is_missing(file: &Path) -> Result<bool> {
    let exists = |path: &Path| path.try_exists().map_err(|error| cannot("look for", path, error));
    let log = with_suffix(file, "-wal");
    match (exists(file)?, exists(&log)?) {
        (true, _) => Ok(false),
        (false, false) => Ok(true),
        (false, true) => {
            let (file, log) = (file.display(), log.display());
            let message =
                format!("{log} is there, but not its database: put {file} back, or move {log} away too");
            Err(Error::new(ErrorKind::Refused, message))
        }
    }
}

/// Makes the file under another name first: a file with the final name is always complete, so that an empty one is damage.
fn create(file: &Path, identity: &str, schema: &Schema) -> Result<()> {
    let unfinished = with_suffix(file, ".new");
    for leftover in [unfinished.clone(), with_suffix(&unfinished, "-journal")] {
        remove_if_there(&leftover)?;
    }
    create_private(&unfinished)?;
    let failed = |error: rusqlite::Error| Error::storage(describe(&error, &unfinished)).because(error);
    let mut connection = connect(&unfinished).map_err(failed)?;
    let mut fill = || {
        let transaction = connection.transaction()?;
        transaction.execute_batch(schema.create)?;
        transaction.execute("INSERT INTO meta VALUES ('identity', ?1)", [identity])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", schema.version())?;
        transaction.commit()
    };
    fill().map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    put_in_place(&unfinished, file)
}

fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// SQLite takes an empty file for an empty database; we do not.
fn check_magic(file: &Path) -> Result<()> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut start = Vec::new();
    let read = fs::File::open(file)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, 16), &mut start));
    read.map_err(|error| cannot("read", file, error))?;
    let file = file.display().to_string();
    match start.as_slice() {
        MAGIC => Ok(()),
        [] => Err(Error::storage(damaged(&file)).with("finding", "the file is empty")),
        _ => {
            let message =
                format!("{file} is not a SQLite database: use another data_dir, or restore a backup");
            Err(Error::new(ErrorKind::Refused, message))
        }
    }
}

/// The file's schema version, if it is one of ours that we can read.
fn check_owner(
    connection: &Connection,
    file: &Path,
    schema: &Schema,
) -> Result<Result<i32>, rusqlite::Error> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let file = file.display();
    let refused = |message: String| Ok(Err(Error::new(ErrorKind::Refused, message)));
    if application != APPLICATION_ID {
        return refused(format!(
            "{file} belongs to another application: use another data_dir"
        ));
    }
    if version > schema.version() {
        let ours = schema.version();
        return refused(format!(
            "{file} has schema {version}, this program knows up to {ours}: use a newer one"
        ));
    }
    if version < schema.oldest {
        let oldest = schema.oldest;
        return refused(format!(
            "{file} has schema {version}, this program migrates from {oldest} on: use an older one first"
        ));
    }
    Ok(Ok(version))
}

fn configure(connection: &Connection, file: &Path) -> Result<Result<()>, rusqlite::Error> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let message = format!(
            "{} cannot use a write-ahead log: put data_dir on a local disk",
            file.display()
        );
        return Ok(Err(Error::storage(message)));
    }
    // FULL: a commit that returned survives a power loss. fullfsync matters on macOS only. The log may grow to 32 MiB
    // before it is folded into the file: scattered rows then share more page writes.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;
         PRAGMA wal_autocheckpoint = 8000; PRAGMA journal_size_limit = 33554432;",
    )?;
    Ok(Ok(()))
}

fn check_pages(connection: &Connection, file: &Path) -> Result<Result<()>, rusqlite::Error> {
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding == "ok" {
        return Ok(Ok(()));
    }
    let error = Error::storage(damaged(&file.display().to_string()));
    Ok(Err(error.with("finding", finding.replace('\n', " "))))
}

fn check_identity(
    connection: &Connection,
    file: &Path,
    identity: &str,
) -> Result<Result<()>, rusqlite::Error> {
    let stored: String =
        connection.query_row("SELECT value FROM meta WHERE name = 'identity'", [], |row| {
            row.get(0)
        })?;
    if stored == identity {
        return Ok(Ok(()));
    }
    let message = format!(
        "{} belongs to '{stored}', not to '{identity}': use another data_dir",
        file.display()
    );
    Ok(Err(Error::new(ErrorKind::Refused, message)))
}

/// Each step in a transaction of its own, after a copy of the file as it was.
fn migrate(connection: &mut Connection, file: &Path, from: i32, schema: &Schema) -> Result<()> {
    let failed = |error: rusqlite::Error| Error::storage(describe(&error, file)).because(error);
    if from < schema.version() {
        back_up(connection, file, from)?;
    }
    for version in from..schema.version() {
        let Some(step) = usize::try_from(version - schema.oldest)
            .ok()
            .and_then(|n| schema.steps.get(n))
        else {
            break;
        };
        let mut apply = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version + 1)?;
            transaction.commit()
        };
        apply().map_err(failed)?;
        tracing::info!(from = version, to = version + 1, "migrated the database");
    }
    Ok(())
}

fn back_up(connection: &Connection, file: &Path, version: i32) -> Result<()> {
    let copy = with_suffix(file, &format!(".v{version}.backup"));
    let unfinished = with_suffix(&copy, ".new");
    create_private(&unfinished)?;
    let Some(name) = unfinished.to_str() else {
        return Err(Error::storage(format!(
            "the path {} is not text: use another data_dir",
            unfinished.display()
        )));
    };
    let copied = connection.execute("VACUUM INTO ?1", [name]);
    copied.map_err(|error| Error::storage(describe(&error, &unfinished)).because(error))?;
    put_in_place(&unfinished, &copy)
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path, error)),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Schema = Schema {
        create: "CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
                 CREATE TABLE thing (a TEXT); INSERT INTO thing VALUES ('kept');",
        oldest: 0,
        steps: &[],
    };

    fn things(file: &Path, column: &str) -> Result<Vec<String>, rusqlite::Error> {
        let connection = Connection::open(file)?;
        let mut statement = connection.prepare(&format!("SELECT {column} FROM thing"))?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    #[test]
    fn an_old_file_is_copied_then_migrated_step_by_step() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        drop(open(&file, "t", &OLD).unwrap());
        let new = Schema {
            steps: &[
                "ALTER TABLE thing ADD COLUMN b TEXT DEFAULT 'new'",
                "ALTER TABLE thing RENAME COLUMN b TO c",
            ],
            ..OLD
        };
        drop(open(&file, "t", &new).unwrap());
        assert_eq!(things(&file, "a || c").unwrap(), ["keptnew"]);
        let backup = dir.path().join("seamless.db.v0.backup");
        assert_eq!(things(&backup, "a").unwrap(), ["kept"]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&backup).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(things(&backup, "c").is_err(), "the backup is already migrated");
        // Nothing is left to do the second time; the older program refuses.
        fs::remove_file(&backup).unwrap();
        drop(open(&file, "t", &new).unwrap());
        assert!(!backup.exists());
        let error = open(&file, "t", &OLD).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(
            error.message().contains("schema 2, this program knows up to 0"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_step_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        drop(open(&file, "t", &OLD).unwrap());
        let broken = Schema {
            steps: &["ALTER TABLE thing ADD COLUMN b TEXT; INSERT INTO nowhere VALUES (1)"],
            ..OLD
        };
        assert_eq!(open(&file, "t", &broken).unwrap_err().kind, ErrorKind::Storage);
        drop(open(&file, "t", &OLD).unwrap());
        assert!(things(&file, "b").is_err(), "half of a step is there");
    }

    #[test]
    fn another_tenants_old_file_is_not_migrated() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        drop(open(&file, "one", &OLD).unwrap());
        let new = Schema {
            steps: &["ALTER TABLE thing ADD COLUMN b TEXT"],
            ..OLD
        };
        assert_eq!(open(&file, "two", &new).unwrap_err().kind, ErrorKind::Refused);
        assert!(things(&file, "b").is_err());
    }
}
