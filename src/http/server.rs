//! The two listeners: sockets, timeouts and workers.

use std::future::{Future, ready};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::h1::Codec;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{
    Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
};
use actix_web::App;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, ServiceConfig};
use log::warn;
use socket2::SockRef;

use crate::http::connection::Connection;
use crate::http::counting::Listener;
use crate::http::session::socket;
use crate::http::state::HttpState;
use crate::http::{counting, head, router};
use crate::limits::{LINGER_MS, REQUEST_HEAD_MS, WORKER_CONNECTIONS_MAX};
use crate::platform;

/// How long the listeners wait for connections at the end of a stop, in seconds; all requests were answered before that.
const DRAIN_S: u64 = 1;

/// How much longer than `server.keep_alive_s` a connection is kept, so that answers promise no more than that: the clock of
/// actix-http moves in steps of half a second.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// Starts the listener for browsers.
///
/// # Errors
/// When the socket can't be used.
pub fn public(listener: TcpListener, state: &Arc<HttpState>) -> std::io::Result<Server> {
    start("public", listener, state.clone(), router::public)
}

/// Starts the listener for back ends and administrators.
///
/// # Errors
/// When the socket can't be used.
pub fn internal(listener: TcpListener, state: &Arc<HttpState>) -> std::io::Result<Server> {
    start("internal", listener, state.clone(), |config, _| {
        router::internal(config)
    })
}

/// Starts a listener as `HttpServer` would, but with connections that can become sessions.
fn start(
    name: &'static str,
    listener: TcpListener,
    state: Arc<HttpState>,
    routes: fn(&mut ServiceConfig, &HttpState),
) -> std::io::Result<Server> {
    let write_timeout = Duration::from_millis(state.settings.limits.write_timeout_ms);
    let (workers, clock) = (state.settings.server.workers, state.clock);
    let keep_alive = Duration::from_secs(state.settings.server.keep_alive_s) + KEEP_ALIVE_MARGIN;
    counting::prepare(&state.counters);
    let server = Server::build();
    let stopping = server.graceful_shutdown_signal();
    let application = move || {
        let state = state.clone();
        let application = App::new()
            .app_data(web::Data::from(state.clone()))
            .app_data(Listener(name))
            .wrap(from_fn(head::as_get))
            .wrap(from_fn(counting::middleware))
            .configure(move |config| routes(config, &state));
        map_config(application, |()| AppConfig::default())
    };
    let connections = move || {
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(Duration::from_millis(REQUEST_HEAD_MS))
            .client_disconnect_timeout(Duration::from_millis(LINGER_MS))
            .on_connect_ext(|connection: &Connection, data| _ = data.insert(connection.activity()))
            .upgrade(upgrades(application.clone()))
            .finish(application());
        fn_service(move |socket: TcpStream| {
            prepare(&socket, write_timeout);
            let address = socket.peer_addr().ok();
            ready(Ok((
                Connection::new(socket, clock, keep_alive),
                Protocol::Http1,
                address,
            )))
        })
        .and_then(http)
    };
    Ok(server
        .workers(workers)
        .max_concurrent_connections(WORKER_CONNECTIONS_MAX)
        .shutdown_timeout(DRAIN_S)
        .disable_signals()
        .listen(name, listener, connections)?
        .run())
}

/// Answers requests for an upgrade with an application of their own.
fn upgrades<F, A, S, B>(
    application: F,
) -> impl ServiceFactory<
    (Request, Framed<Connection, Codec>),
    Config = (),
    Response = (),
    Error = actix_web::Error,
    InitError = (),
    Future = impl Future + 'static,
>
where
    F: Fn() -> A,
    A: ServiceFactory<Request, Config = (), Service = S, InitError = ()> + 'static,
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    fn_factory(move || {
        let application = application().new_service(());
        async move {
            let application = Rc::new(application.await?);
            Ok(fn_service(move |(request, framed)| {
                let application = application.clone();
                async move { socket::answer(&*application, request, framed).await }
            }))
        }
    })
}

/// Makes the kernel close the connection of a peer that does not read for `write_timeout`: a session's own timers do not run
/// while its socket can't be written.
fn prepare(socket: &TcpStream, write_timeout: Duration) {
    if let Err(error) =
        SockRef::from(socket)
            .set_tcp_nodelay(true)
            .and(platform::set_write_timeout(
                SockRef::from(socket),
                write_timeout,
            ))
    {
        warn!("a connection has no write time-out: {error}");
    }
}
