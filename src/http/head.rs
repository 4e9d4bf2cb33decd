//! Answers `HEAD` as it answers `GET`, without the body: one place for all paths, so that none is forgotten.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};
use bytes::Bytes;

use crate::http::session::socket::Upgradable;

/// Passes `HEAD` on as `GET`. The codec knows what was asked, and sends the head alone.
pub(super) async fn as_get<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, Unsent>>, Error> {
    if request.method() != Method::HEAD {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    request.head_mut().method = Method::GET;
    // Only GET opens a session. Other upgrades, such as curl's to HTTP/2, are answered like any request.
    let is_upgrade = request.extensions_mut().remove::<Upgradable>().is_some();
    let response = next.call(request).await?;
    if is_upgrade {
        // The connection is left to `session::socket`, which takes the length from the body.
        return Ok(response.map_into_left_body());
    }
    Ok(response.map_body(|_, body| EitherBody::right(Unsent(body.size()))))
}

/// The length of a body that is not sent. The body itself is dropped, and with it a stream that would not end.
#[derive(Debug)]
pub(super) struct Unsent(BodySize);

impl MessageBody for Unsent {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
