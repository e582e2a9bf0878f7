//! Questions to a tenant's books: through the running host's socket, or from the data folder itself.
//!
//! One JSON line each way. The socket lies in the data folder (0700) and is 0600 itself: who may read the data may ask.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seamless_core::pipeline::{Engine, Imported, Plan};
use seamless_core::{Error, ErrorKind, Priority, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::books::Books;
use crate::build::plan_syncs;
use crate::config::Config;
use crate::host::{Host, Plugins};
use crate::plan::Applied;
use crate::reconcile::Reconciled;
use crate::review::Word;
use crate::run::{Progress, Silent, Snapshot};
use crate::view::{DeadLetterView, Explanation, ParkedRecord, ReviewView, Status};

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum Question {
    /// Where everything stands.
    Status {},
    /// What is known of a record.
    Explain {
        /// The entity or sync.
        entity: String,
        /// `system:id`.
        record: String,
    },
    /// Records set aside.
    Parked {
        /// At most this many.
        max: usize,
    },
    /// What a run would do now.
    Plan {},
    /// Carry out a plan.
    Apply {
        /// The sealed plan.
        file: PathBuf,
    },
    /// What waits for a person's word, and how the records in question look now.
    Review {
        /// At most this many.
        max: usize,
    },
    /// A person's word on a record.
    Decide {
        /// The entity or sync.
        entity: String,
        /// `system:id`.
        record: String,
        /// What becomes of it.
        word: Word,
    },
    /// Compare every record with what was settled.
    Reconcile {
        /// One sync; else all of them.
        sync: Option<String>,
        /// Act upon what is found.
        repair: bool,
    },
    /// Dead letters.
    DeadLetters {
        /// Only of this queue.
        queue: Option<String>,
        /// At most this many.
        max: usize,
    },
    /// One dead letter, opened.
    DeadLetter {
        /// The message's id.
        id: String,
    },
    /// Put dead letters back into their queues.
    Replay {
        /// These; none: all.
        ids: Vec<String>,
        /// Only of this queue.
        queue: Option<String>,
    },
    /// Link the pairs in a file of comma-separated values.
    ImportLinks {
        /// The file.
        file: PathBuf,
    },
}

impl Question {
    /// Whether the systems have to be asked, too.
    fn needs_systems(&self) -> bool {
        !matches!(
            self,
            Question::Status {}
                | Question::Explain { .. }
                | Question::Parked { .. }
                | Question::DeadLetters { .. }
                | Question::DeadLetter { .. }
                | Question::Replay { .. }
        )
    }

    /// How long a running host may take to answer.
    fn wait(&self) -> Duration {
        if self.needs_systems() {
            Duration::from_secs(12 * 3_600)
        } else {
            Duration::from_secs(120)
        }
    }
}

/// What is answered.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// To [`Question::Explain`].
    Explanation(Box<Explanation>),
    /// To [`Question::Parked`].
    Parked(Vec<ParkedRecord>),
    /// To [`Question::Plan`].
    Plan(Box<Plan>),
    /// To [`Question::Apply`].
    Applied(Box<Applied>),
    /// To [`Question::Review`].
    Reviews(Vec<ReviewView>),
    /// To [`Question::Decide`]: what was noted.
    Noted(String),
    /// To [`Question::Reconcile`].
    Reconciled(Box<Reconciled>),
    /// To [`Question::DeadLetters`].
    DeadLetters(Vec<DeadLetterView>),
    /// To [`Question::DeadLetter`].
    DeadLetter(Box<DeadLetterView>),
    /// To [`Question::Replay`]: how many.
    Replayed(u64),
    /// To [`Question::ImportLinks`], by sync.
    Imported(BTreeMap<String, Imported>),
    /// It could not be answered.
    Error {
        /// What sort of trouble it is.
        kind: Trouble,
        /// What is wrong.
        message: String,
    },
}

/// What sort of trouble a running host had with a question: decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// What was asked about does not exist.
    NotFound,
    /// It was refused for safety, or because it cannot be done.
    Refused,
    /// What was sent, or the configuration, is not right.
    Config,
    /// A system did not answer as it should.
    Remote,
    /// Something else.
    Other,
}

impl From<ErrorKind> for Trouble {
    fn from(kind: ErrorKind) -> Trouble {
        match kind {
            ErrorKind::NotFound => Trouble::NotFound,
            ErrorKind::Refused => Trouble::Refused,
            ErrorKind::Config => Trouble::Config,
            ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Auth | ErrorKind::Protocol => {
                Trouble::Remote
            }
            _ => Trouble::Other,
        }
    }
}

impl From<Trouble> for ErrorKind {
    fn from(trouble: Trouble) -> ErrorKind {
        match trouble {
            Trouble::NotFound => ErrorKind::NotFound,
            Trouble::Refused => ErrorKind::Refused,
            Trouble::Config => ErrorKind::Config,
            Trouble::Remote => ErrorKind::Unavailable,
            Trouble::Other => ErrorKind::Storage,
        }
    }
}

const NAME: &str = "seamless.sock";
/// Longest question, in bytes.
const QUESTION_BYTES_MAX: u64 = 64 << 10;
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Questions answered at once.
const CLIENTS_MAX: usize = 8;

/// Asks the running host, or opens the data folder (and the systems, where the question needs them) when none is running.
pub async fn ask(config: &Config, plugins: &Plugins, question: &Question) -> Result<Answer> {
    ask_watched(config, plugins, question, &Silent).await
}

/// As [`ask`], and tells how it goes, where no running host does the work.
pub async fn ask_watched(
    config: &Config,
    plugins: &Plugins,
    question: &Question,
    progress: &dyn Progress,
) -> Result<Answer> {
    if let Some(answer) = ask_running(&config.data_dir, question).await? {
        return answer.or_error();
    }
    if question.needs_systems() {
        let host = Host::open(config.clone(), plugins.clone()).await?;
        return host.answer(question, progress).await;
    }
    let plans = Arc::new(plan_syncs(config, plugins)?);
    match Books::open(config, plans).await {
        Ok(books) => books.answer(question).await,
        // A host that started meanwhile.
        Err(error) if error.kind == ErrorKind::Refused => {
            match ask_running(&config.data_dir, question).await? {
                Some(answer) => answer.or_error(),
                None => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

impl Answer {
    fn or_error(self) -> Result<Answer> {
        match self {
            Answer::Error { kind, message } => Err(Error::new(kind.into(), message)),
            answer => Ok(answer),
        }
    }
}

/// Whether a host answers on this folder.
pub(crate) fn is_served(data_dir: &Path) -> bool {
    at_short_path(&data_dir.join(NAME), |path| {
        std::os::unix::net::UnixStream::connect(path)
    })
    .is_ok()
}

/// A host's socket; closed and removed when dropped.
pub(crate) struct Served {
    task: Option<JoinHandle<()>>,
    file: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            // Left behind it does no harm: the next host replaces it.
            drop(std::fs::remove_file(&self.file));
        }
    }
}

/// Answers questions from now on. A host without socket works as well; other verbs then have to wait until it ends.
pub(crate) fn serve(books: Arc<Books>) -> Served {
    let file = books.config.data_dir.join(NAME);
    let task = match bind(&file) {
        Ok(listener) => Some(tokio::spawn(listen(listener, books))),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "no local socket; status and explain have to wait for the end of this run");
            None
        }
    };
    Served { task, file }
}

fn bind(file: &Path) -> std::io::Result<UnixListener> {
    // We hold the folder's lock: what lies there is a dead host's.
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = at_short_path(file, |path| UnixListener::bind(path))?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Socket addresses end at about 100 bytes; a longer path is reached through its open folder.
fn at_short_path<T>(file: &Path, act: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    const PATH_BYTES_MAX: usize = 100;
    match (file.parent(), file.file_name()) {
        (Some(folder), Some(name)) if file.as_os_str().len() > PATH_BYTES_MAX => {
            let folder = std::fs::File::open(folder)?;
            act(&PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
        }
        _ => act(file),
    }
}

async fn listen(listener: UnixListener, books: Arc<Books>) {
    let room = Arc::new(tokio::sync::Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let books = books.clone();
                drop(tokio::spawn(async move {
                    if let Err(error) = reply(stream, &books).await {
                        tracing::debug!(%error, "a question was not answered");
                    }
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "the local socket refused a client");
                books.clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn reply(mut stream: UnixStream, books: &Books) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(QUESTION_BYTES_MAX));
    tokio::select! {
        read = reader.read_line(&mut line) => drop(read?),
        () = books.clock.sleep(Duration::from_secs(5)) => return Ok(()),
    }
    let answer = match serde_json::from_str::<Question>(&line) {
        Ok(question) => books
            .answer(&question)
            .await
            .unwrap_or_else(|error| Answer::Error {
                kind: error.kind.into(),
                message: error.to_string(),
            }),
        Err(error) => Answer::Error {
            kind: Trouble::NotFound,
            message: format!("the question is not understood: {error}"),
        },
    };
    let mut json = serde_json::to_vec(&answer)?;
    json.push(b'\n');
    writer.write_all(&json).await?;
    writer.shutdown().await
}

/// `None` when no host is listening.
async fn ask_running(data_dir: &Path, question: &Question) -> Result<Option<Answer>> {
    let file = data_dir.join(NAME);
    let connected = at_short_path(&file, |path| {
        let stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    });
    let Ok(mut stream) = connected else {
        return Ok(None);
    };
    let lost =
        |error: std::io::Error| Error::unavailable(format!("the running host did not answer: {error}"));
    let mut json = serde_json::to_vec(question).map_err(|error| lost(error.into()))?;
    json.push(b'\n');
    stream.write_all(&json).await.map_err(lost)?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let read = tokio::time::timeout(question.wait(), reader.read_line(&mut line)).await;
    read.map_err(|_| Error::unavailable("the running host did not answer in time"))?
        .map_err(lost)?;
    if line.is_empty() {
        // It ended between our question and its answer: ask the folder.
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| {
        Error::protocol(format!(
            "the running host's answer is not understood; is it of another version? {error}"
        ))
    })
}

impl Books {
    async fn answer(&self, question: &Question) -> Result<Answer> {
        let ready = || self.ready();
        Ok(match question {
            Question::Status {} => Answer::Status(Box::new(self.status().await?)),
            Question::Explain { entity, record } => {
                Answer::Explanation(Box::new(self.explain(entity, record).await?))
            }
            Question::Parked { max } => Answer::Parked(self.parked(*max).await?),
            Question::Plan {} => Answer::Plan(Box::new(self.rehearse(&ready()?).await?)),
            Question::Apply { file } => Answer::Applied(Box::new(self.carry_out(&ready()?, file).await?)),
            Question::Review { max } => Answer::Reviews(self.reviews(&*ready()?, *max).await?),
            Question::Decide { entity, record, word } => {
                Answer::Noted(self.decide(&*ready()?, entity, record, word).await?)
            }
            Question::Reconcile { sync, repair } => {
                let found = self.reconcile(&ready()?, sync.as_deref(), *repair).await?;
                Answer::Reconciled(Box::new(found))
            }
            Question::DeadLetters { queue, max } => {
                Answer::DeadLetters(self.dead_letters(queue.as_deref(), *max).await?)
            }
            Question::DeadLetter { id } => Answer::DeadLetter(Box::new(self.dead_letter(id).await?)),
            Question::Replay { ids, queue } => Answer::Replayed(self.replay(ids, queue.as_deref()).await?),
            Question::ImportLinks { file } => Answer::Imported(self.import_links(&*ready()?, file).await?),
        })
    }

    /// The engine, once the systems have been reached.
    fn ready(&self) -> Result<Arc<Engine>> {
        self.working().ok_or_else(|| {
            Error::unavailable("the host has not reached its systems yet; ask again in a moment")
        })
    }
}

impl Host {
    /// Reaches the systems and answers.
    async fn answer(&self, question: &Question, progress: &dyn Progress) -> Result<Answer> {
        let clock = self.books.clock.clone();
        // Looking is not worth a call that somebody else's edit needs.
        let priority = match question {
            Question::Plan {} => Some(Priority::Plan),
            Question::Reconcile { repair: false, .. } => Some(Priority::Reconcile),
            _ => None,
        };
        for (system, priority) in self.systems.values().zip(priority.iter().cycle()) {
            system.source.set_priority(*priority);
        }
        let answering = async {
            let engine = self.reach().await?;
            let repairs = matches!(question, Question::Reconcile { repair: true, .. });
            if repairs {
                engine.release_stale_claims().await?;
            }
            let answer = self.books.answer(question).await?;
            if repairs {
                self.apply_what_is_left(engine).await?;
            }
            Ok(answer)
        };
        tokio::pin!(answering);
        loop {
            tokio::select! {
                biased;
                answer = &mut answering => return answer,
                () = clock.sleep(LOOK_EVERY) => progress.update(&Snapshot::of_counters(self.books.counters())),
            }
        }
    }
}

/// Between two looks at the progress.
const LOOK_EVERY: Duration = Duration::from_millis(250);
