//! A server that answers what it is given.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Request heads are short here.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// On loopback, in the runtime of whoever starts it.
pub(super) struct Peer {
    pub(super) url: String,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    bodies: Vec<Vec<u8>>,
    status: u16,
    served: usize,
    /// What is answered to a path that contains the first of these.
    fixed: Option<(&'static str, String)>,
}

impl Peer {
    pub(super) async fn start() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let served = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, served.clone()));
            }
        });
        Peer { url, answers }
    }

    /// From now on these bodies come in turn, the last one again and again; a path with `fixed.0` in it gets `fixed.1` instead.
    pub(super) fn answer(&self, status: u16, bodies: Vec<Vec<u8>>, fixed: Option<(&'static str, String)>) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = Answers {
            bodies,
            status,
            served: 0,
            fixed,
        };
    }
}

impl Answers {
    fn next(&mut self, path: &str) -> (u16, Vec<u8>) {
        if let Some((part, body)) = &self.fixed
            && path.contains(part)
        {
            return (200, body.clone().into_bytes());
        }
        let at = self.served.min(self.bodies.len().saturating_sub(1));
        self.served += 1;
        (self.status, self.bodies.get(at).cloned().unwrap_or_default())
    }
}

/// Requests of one connection. Any trouble ends it: the connector sees a cut connection.
async fn converse(mut stream: TcpStream, answers: Arc<Mutex<Answers>>) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if read.len() > HEAD_BYTES_MAX || stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&read[..head_end]).to_ascii_lowercase();
        let length = head
            .split("content-length:")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next());
        let whole = head_end
            + length
                .and_then(|length| length.trim().parse::<usize>().ok())
                .unwrap_or(0);
        while read.len() < whole {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        let path = String::from_utf8_lossy(&read[..head_end])
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        read.drain(..whole);
        let (status, body) = answers.lock().unwrap_or_else(PoisonError::into_inner).next(&path);
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()?;
    }
}
