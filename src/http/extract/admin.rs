//! Who may come in as an administrator.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use subtle::ConstantTimeEq as _;

use crate::http::extract::sign_in::bearer;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// Who may come in, by name. Every token is compared, each in constant time; whoever fails too often has to wait.
pub(crate) fn authorize<'a>(
    request: &HttpRequest,
    state: &'a HttpState,
) -> Result<&'a str, Problem> {
    let address = request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let now_us = state.clock.monotonic_us();
    if state.admin_failures.is_blocked(address, now_us) {
        return Err(Problem::new(
            Code::RateLimited,
            "too many failed sign-ins from this address",
        ));
    }
    let given = bearer(request.headers()).unwrap_or_default().as_bytes();
    let tokens = state.settings.auth.admin_tokens.iter();
    let found = tokens.fold(None, |found, admin| {
        let fits = bool::from(admin.token.expose().as_bytes().ct_eq(given));
        if fits {
            Some(admin.name.as_str())
        } else {
            found
        }
    });
    found.ok_or_else(|| {
        // Full or not: it is told of its failure, and of the limit next time.
        let _ = state.admin_failures.try_take(address, now_us);
        Problem::new(
            Code::Unauthorized,
            "an administrator's bearer token is needed",
        )
    })
}
