//! What the author of a connector brings: what a record looks like, and the system as its people and its administrator see it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seamless_core::{
    Clock, Fields, OpenContext, RecordId, Result, Secret, Shared, Source, SourcePlugin, SystemId, Target,
    TargetPlugin, Value,
};

/// What the cases write and read. Paths and values are native.
#[derive(Clone, Default)]
pub struct Subject {
    /// The entity the cases work on.
    pub entity: String,
    /// What a record needs besides [`Subject::name`]; sent with every create.
    pub required: Fields,
    /// A text field of 40 characters or more that can be written and searched.
    pub name: String,
    /// Another text field that can be written, of 20 characters or more. May be blank.
    pub other: String,
    /// The field that holds our cross-reference, where there is one.
    pub cross_reference: Option<String>,
    /// A field and a value for which the system refuses a record.
    pub refused: Option<(String, Value)>,
    /// Values that have to come back as they are declared to: big numbers, decimals, letters beyond the first plane, blanks.
    pub exact: Vec<Exact>,
    /// What must never show in an error: passwords, tokens.
    pub secrets: Vec<String>,
}

/// A value and what becomes of it.
#[derive(Clone)]
pub struct Exact {
    /// The native field.
    pub field: String,
    /// What is written.
    pub written: Value,
    /// What is read afterwards; an absent field counts as null.
    pub read: Value,
}

impl Exact {
    /// A value that comes back as it was written.
    pub fn same(field: &str, value: impl Into<Value>) -> Exact {
        let value = value.into();
        Exact {
            field: field.to_owned(),
            written: value.clone(),
            read: value,
        }
    }
}

/// Something that goes wrong in the remote system, until [`Peer::heal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Writes are carried out, but no answer arrives.
    LostAnswers,
    /// Writes are carried out, but their answers break off or make no sense.
    GarbledWrites,
    /// Writes are answered with a fault that gives no reason (HTTP 500).
    Unexplained,
    /// Reads are answered with "too many calls; come back in …".
    ThrottledReads(Duration),
    /// So are writes.
    ThrottledWrites(Duration),
    /// The answers to reads break off or make no sense.
    Garbled,
    /// The answers to reads are larger than any sensible answer.
    Huge,
    /// Lists never end: the same page again and again.
    EndlessList,
    /// Lists name a next page that lies on another host.
    ForeignPage,
    /// Searches answer with whatever there is.
    IgnoredFilter,
    /// What is created from now on is not found by searches for a while.
    SearchLag,
    /// Nobody answers.
    Dead,
}

/// With which credentials the connector is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The right ones.
    Right,
    /// Well formed, but not accepted.
    Wrong,
}

/// Both sides of an open connector.
#[derive(Clone)]
pub struct Opened {
    /// The reading side.
    pub source: Arc<dyn Source>,
    /// The writing side.
    pub target: Arc<dyn Target>,
}

impl Opened {
    /// Opens a plugin as a host does: with its settings, its secrets by the names of their settings, and a clock.
    pub async fn by<P: SourcePlugin + TargetPlugin>(
        plugin: &P,
        settings: serde_json::Value,
        secrets: &[(&str, &str)],
        clock: Arc<dyn Clock>,
    ) -> Result<Opened> {
        let secret = |(name, secret): &(&str, &str)| ((*name).to_owned(), Secret::new(*secret));
        let ctx = OpenContext {
            system: SystemId::from("system"),
            settings,
            secrets: secrets.iter().map(secret).collect(),
            clock,
            network: None,
            shared: Shared::default(),
        };
        plugin.validate(&ctx.settings)?;
        Ok(Opened {
            source: SourcePlugin::open(plugin, &ctx).await?,
            target: TargetPlugin::open(plugin, &ctx).await?,
        })
    }
}

/// Makes the systems that the connector is tried against.
#[async_trait]
pub trait Bench: Send + Sync {
    /// What the cases work with.
    fn subject(&self) -> Subject;

    /// A system of its own, in working order, with few records or none. Called for every case.
    async fn fresh(&self) -> Box<dyn Peer>;
}

/// A remote system as its people and its administrator see it: never through the connector.
#[async_trait]
pub trait Peer: Send + Sync {
    /// The clock that the connector goes by. It has left zero.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Opens the connector on this system: a new instance every time, which knows nothing of the others.
    async fn open(&self, credentials: Credentials) -> Result<Opened>;

    /// People create these records, at one moment as far as the system allows. Ids in order.
    async fn seed(&self, records: &[Fields]) -> Vec<RecordId>;

    /// A person changes these fields. Where lists go by a stamp the edit moves it, also where the clock stands still: the later of now and one more than
    /// the last.
    async fn edit(&self, id: &RecordId, fields: &Fields);

    /// A person deletes the record; false where nobody can.
    async fn delete(&self, _id: &RecordId) -> bool {
        false
    }

    /// How many records of the entity there are.
    async fn count(&self) -> usize;

    /// How many write calls have arrived so far, whatever became of them; `None` where nobody counts.
    async fn write_calls(&self) -> Option<usize> {
        None
    }

    /// Makes this go wrong until [`Peer::heal`]; false where the peer cannot.
    async fn strike(&self, _fault: Fault) -> bool {
        false
    }

    /// How many calls have met a fault so far; `None` where nobody counts. A case about a fault that no call meets fails: it proves nothing. Where
    /// nobody counts, the suite has to believe that endless lists, foreign pages and ignored filters are made.
    async fn struck_calls(&self) -> Option<usize> {
        None
    }

    /// Everything works again.
    async fn heal(&self) {}
}
