//! The running host's own HTTP server: events of the systems, health, metrics. There is none unless `[http]` says where to listen.
//!
//! Everything that comes in is hostile: connections, heads, bodies and waits are bounded, nothing that a caller sends is kept but the names of
//! records, and those only when the system's signature is right.

mod metrics;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use seamless_core::{Error, Result};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub(crate) use webhooks::Desk;

use crate::books::Books;

/// Connections at once; more wait for their turn.
const CONNECTIONS_MAX: usize = 64;
/// Longest time for the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest life of a connection.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
const HEADERS_MAX: usize = 64;
/// Pause after a connection that could not be taken: there are too many files open, for example.
const PAUSE: Duration = Duration::from_millis(200);

/// What the routes work with.
pub(crate) struct Server {
    books: Arc<Books>,
    desk: Arc<Desk>,
    listener: TcpListener,
}

impl Server {
    /// Takes the address.
    pub(crate) async fn bind(address: SocketAddr, books: Arc<Books>, desk: Arc<Desk>) -> Result<Server> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::config(format!(
                "cannot listen on {address}: {error}; choose another address in [http]"
            ))
        })?;
        tracing::info!(%address, "listening");
        Ok(Server {
            books,
            desk,
            listener,
        })
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let app = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics::metrics))
            .with_state(self.books)
            .merge(
                Router::new()
                    .route("/webhooks/{system}", post(webhooks::take))
                    .with_state(self.desk),
            );
        loop {
            let Ok(seat) = seats.clone().acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_MAX)
                    .max_headers(HEADERS_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                // What goes wrong on a caller's connection is the caller's business.
                drop(tokio::time::timeout(CONNECTION_MAX, connection).await);
                drop(seat);
            });
        }
    }
}

/// Ready while every worker works.
async fn ready(State(books): State<Arc<Books>>) -> (StatusCode, String) {
    let troubles = books
        .troubles
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if troubles.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    // Worker names only: what is wrong in detail is for `seamless status`.
    let names: Vec<&str> = troubles.keys().map(String::as_str).collect();
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("in trouble: {}\n", names.join(", ")),
    )
}
