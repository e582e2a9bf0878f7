//! Listeners that can refuse connections, and connections that can be cut in mid-reply.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A handle by which a request's handler can cut the connection it came on.
#[derive(Clone, Debug)]
pub(crate) struct Conn {
    /// Bytes that may still be written; negative for no limit.
    budget: Arc<AtomicI64>,
}

impl Conn {
    fn new() -> Self {
        Self {
            budget: Arc::new(AtomicI64::new(-1)),
        }
    }

    /// Lets `bytes` more bytes out, then breaks the connection.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.budget.store(bytes, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Gate>> for Conn {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener that stops listening while its `dead` switch is on.
#[derive(Debug)]
pub(crate) struct Gate {
    addr: SocketAddr,
    listener: Option<TcpListener>,
    dead: watch::Receiver<bool>,
}

impl Gate {
    pub(crate) async fn bind(port: u16, dead: watch::Receiver<bool>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        Ok(Self {
            addr: listener.local_addr()?,
            listener: Some(listener),
            dead,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }
}

impl Listener for Gate {
    type Io = CutStream;
    type Addr = Conn;

    async fn accept(&mut self) -> (CutStream, Conn) {
        loop {
            if *self.dead.borrow_and_update() {
                // Without a listener the kernel refuses, as a server that is down does.
                self.listener = None;
                if self.dead.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let Some(listener) = &self.listener else {
                match TcpListener::bind(self.addr).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                }
                continue;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                changed = self.dead.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => {
                    // Small replies must not wait for Nagle: the simulators answer in microseconds.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no TCP_NODELAY");
                    }
                    let conn = Conn::new();
                    return (
                        CutStream {
                            inner: stream,
                            conn: conn.clone(),
                        },
                        conn,
                    );
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Conn> {
        Ok(Conn::new())
    }
}

/// A TCP stream that breaks when its budget is used up.
#[derive(Debug)]
pub(crate) struct CutStream {
    inner: TcpStream,
    conn: Conn,
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let budget = self.conn.budget.load(Ordering::SeqCst);
        if budget == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let allowed = usize::try_from(budget).map_or(buf.len(), |b| b.min(buf.len()));
        let polled = Pin::new(&mut self.inner).poll_write(cx, &buf[..allowed]);
        if let (Poll::Ready(Ok(n)), true) = (&polled, budget > 0) {
            self.conn.budget.store(budget - *n as i64, Ordering::SeqCst);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
