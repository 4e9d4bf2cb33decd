//! `load echo-server`: a bare `actix-web-actors` session. It answers each text with a frame as
//! large as a push that has the text as its commit time, so that the client parses both alike. It
//! has no users, no ledger and no log.

use std::time::Duration;

use actix::{Actor, StreamHandler};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use balance_coordinator::clock;

use super::server;
use crate::Result;
use crate::client::clock::{STAMP_LEN, now_us};

struct Echo {
    version: u64,
}

impl Actor for Echo {
    type Context = ws::WebsocketContext<Self>;
}

impl StreamHandler<std::result::Result<ws::Message, ws::ProtocolError>> for Echo {
    fn handle(
        &mut self,
        message: std::result::Result<ws::Message, ws::ProtocolError>,
        ctx: &mut Self::Context,
    ) {
        match message {
            Ok(ws::Message::Text(text)) if text.len() == STAMP_LEN => {
                self.version += 1;
                ctx.text(push(self.version, &text, &clock::rfc3339(now_us())));
            }
            Ok(ws::Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(ws::Message::Close(reason)) => ctx.close(reason),
            _ => {}
        }
    }
}

/// A push as the service sends it.
pub fn push(version: u64, sent: &str, now: &str) -> String {
    format!(
        r#"{{"type":"balance_update","user_id":1234,"epoch":"8c1f0a52d7e94b36","version":{version},"balances":{{"TON":"0.200000000","UNI":"0.000000000"}},"changes":{{"TON":"0.100000000"}},"sources":["deposit"],"entries":1,"mode":"direct","first_committed_at":"{sent}","committed_at":"{sent}","pushed_at":"{now}"}}"#
    )
}

async fn session(request: HttpRequest, payload: web::Payload) -> actix_web::Result<HttpResponse> {
    ws::start(Echo { version: 0 }, &request, payload)
}

/// Serves until SIGTERM.
pub fn serve() -> Result<()> {
    let listener = server::listen()?;
    let address = listener.local_addr()?;
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(|| App::new().route("/ws", web::get().to(session)))
            .workers(server::workers())
            .max_connections(200_000)
            .tcp_nodelay(true)
            .keep_alive(Duration::from_secs(5))
            .shutdown_timeout(1)
            .listen(listener)?
            .run();
        server::announce(address);
        server.await
    })?;
    Ok(())
}
