//! The two listeners: sockets, timeouts and workers.

use std::any::Any;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use log::warn;

use crate::limits::{KEEP_ALIVE_MS, REQUEST_HEAD_MS, WORKER_CONNECTIONS_MAX};

use super::{HttpState, connections, origin, router};

/// How long the listeners wait for connections at the very end, in seconds: everything was answered before.
const DRAIN_S: u64 = 1;

/// Starts the listener for browsers.
///
/// # Errors
/// When the socket can't be used.
pub fn public(listener: TcpListener, state: Arc<HttpState>) -> std::io::Result<Server> {
    let write_timeout = Duration::from_millis(state.settings.limits.write_timeout_ms);
    let clock = state.sessions.clock;
    let (workers, sessions_max) = (state.settings.server.workers, state.settings.limits.sessions);
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new()
            .app_data(web::Data::from(state.clone()))
            .wrap(from_fn(origin::count))
            .configure(move |config| router::public(config, &state))
    })
    .on_connect(move |connection, data| {
        limit_writes(connection, write_timeout);
        connections::watch(connection, data, clock);
    });
    start(server, listener, workers, WORKER_CONNECTIONS_MAX.saturating_add(sessions_max))
}

/// Starts the listener for back ends and administrators.
///
/// # Errors
/// When the socket can't be used.
pub fn internal(listener: TcpListener, state: Arc<HttpState>) -> std::io::Result<Server> {
    let (workers, clock) = (state.settings.server.workers, state.sessions.clock);
    let server = HttpServer::new(move || {
        App::new().app_data(web::Data::from(state.clone())).wrap(from_fn(origin::count)).configure(router::internal)
    })
    .on_connect(move |connection, data| connections::watch(connection, data, clock));
    start(server, listener, workers, WORKER_CONNECTIONS_MAX)
}

/// A peer that leaves its frames unread for so long is ended by the kernel: the session's own timers stand still while
/// its socket can't be written.
fn limit_writes(connection: &dyn Any, timeout: Duration) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>()
        && let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout))
    {
        warn!("a connection has no write time-out: {error}");
    }
}

fn start<F, I, S, B>(
    server: HttpServer<F, I, S, B>,
    listener: TcpListener,
    workers: usize,
    worker_connections_max: usize,
) -> std::io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: actix_service::IntoServiceFactory<S, actix_http::Request>,
    S: actix_service::ServiceFactory<actix_http::Request, Config = actix_web::dev::AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<actix_http::Response<B>> + 'static,
    B: actix_web::body::MessageBody + 'static,
{
    Ok(server
        .workers(workers)
        .max_connections(worker_connections_max)
        .tcp_nodelay(true)
        .keep_alive(Duration::from_millis(KEEP_ALIVE_MS))
        .client_request_timeout(Duration::from_millis(REQUEST_HEAD_MS))
        .shutdown_timeout(DRAIN_S)
        .disable_signals()
        .listen(listener)?
        .run())
}
