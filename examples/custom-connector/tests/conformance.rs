//! The connector suite on a folder whose people edit the files by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use custom_connector::CsvPlugin;
use seamless_core::{Clock, Fields, RecordId, Result, Value};
use seamless_testkit::conformance::TestClock;
use seamless_testkit::conformance::connector::{
    Bench, Credentials, Exact, Fault, Opened, Peer, Subject, run,
};
use serde_json::json;

#[tokio::test]
async fn the_connector_conforms() {
    // Of the others: nothing is incremental, unique or versioned here, ids may be given again, and a file neither throttles nor loses answers.
    assert_eq!(run(&Folders).await.verdict(24), Ok(()));
}

struct Folders;

#[async_trait]
impl Bench for Folders {
    fn subject(&self) -> Subject {
        Subject {
            entity: "customers".to_owned(),
            name: "name".to_owned(),
            other: "city".to_owned(),
            cross_reference: Some("partner_id".to_owned()),
            refused: Some(("shoe_size".to_owned(), 46.into())),
            exact: vec![
                Exact::same("phone", "00123456789012345678901234567890"),
                Exact::same("name", "Zoë \"🦀\", 年\nsecond line"),
                Exact::same("city", Value::Null),
            ],
            ..Subject::default()
        }
    }

    async fn fresh(&self) -> Box<dyn Peer> {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("files");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("customers.csv");
        fs::write(&file, "id,partner_id,name,phone,city\n").unwrap();
        let clock = TestClock::new();
        Box::new(People {
            home,
            folder,
            file,
            clock,
        })
    }
}

/// People with a text editor.
struct People {
    home: tempfile::TempDir,
    folder: PathBuf,
    file: PathBuf,
    clock: Arc<TestClock>,
}

impl People {
    fn backup(&self) -> PathBuf {
        self.home.path().join("backup")
    }

    /// Header and rows, changed and saved.
    fn edit_file<T>(&self, change: impl FnOnce(&mut Vec<Vec<String>>) -> T) -> T {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_path(&self.file)
            .unwrap();
        let mut rows: Vec<Vec<String>> = reader.deserialize().map(Result::unwrap).collect();
        let done = change(&mut rows);
        let mut writer = csv::Writer::from_path(&self.file).unwrap();
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        writer.flush().unwrap();
        done
    }
}

fn fill(header: &[String], row: &mut [String], fields: &Fields) {
    for (field, value) in fields {
        let column = header.iter().position(|known| known == field).unwrap();
        row[column] = value.to_plain().unwrap_or_default();
    }
}

#[async_trait]
impl Peer for People {
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    async fn open(&self, _: Credentials) -> Result<Opened> {
        let settings = json!({ "folder_path": self.folder });
        Opened::by(&CsvPlugin, settings, &[], self.clock.clone()).await
    }

    async fn seed(&self, records: &[Fields]) -> Vec<RecordId> {
        self.edit_file(|rows| {
            let add = |fields: &Fields| {
                let mut row = vec![String::new(); rows[0].len()];
                row[0] = rows.len().to_string();
                fill(&rows[0], &mut row, fields);
                rows.push(row);
                RecordId((rows.len() - 1).to_string())
            };
            records.iter().map(add).collect()
        })
    }

    async fn edit(&self, id: &RecordId, fields: &Fields) {
        self.edit_file(|rows| {
            let header = rows[0].clone();
            let row = rows.iter_mut().find(|row| row[0] == id.as_str()).unwrap();
            fill(&header, row, fields);
        });
    }

    async fn delete(&self, id: &RecordId) -> bool {
        self.edit_file(|rows| rows.retain(|row| row[0] != id.as_str()));
        true
    }

    async fn count(&self) -> usize {
        self.edit_file(|rows| rows.len() - 1)
    }

    async fn strike(&self, fault: Fault) -> bool {
        fs::copy(&self.file, self.backup()).unwrap();
        match fault {
            Fault::Dead => fs::remove_dir_all(&self.folder).unwrap(),
            // Cut off in the middle of a line.
            Fault::Garbled => {
                let text = fs::read(&self.file).unwrap();
                fs::write(&self.file, &text[..text.len() - 9]).unwrap();
            }
            Fault::Huge => fs::File::options()
                .write(true)
                .open(&self.file)
                .unwrap()
                .set_len(1 << 30)
                .unwrap(),
            _ => return false,
        }
        true
    }

    async fn heal(&self) {
        fs::create_dir_all(&self.folder).unwrap();
        fs::copy(self.backup(), &self.file).unwrap();
    }
}
