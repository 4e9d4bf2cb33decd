//! The index of endpoints, by listener.

use actix_web::guard::{GuardContext, fn_guard};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig, get, post, put};
use actix_web::{Resource, ResponseError as _};

use crate::http::counting::Route;
use crate::http::entries::{batch, single};
use crate::http::following::{all_balances, entry_by_key, feed};
use crate::http::problem::{Code, Problem};
use crate::http::session::upgrade;
use crate::http::state::{Data, HttpState};
use crate::http::users::{back_ends, browsers, sign_ins};
use crate::http::{admin, dev, files, openapi, origin, probes};

/// Browsers: `/ws`, `/api`, `/client`, and with `--dev` the demo page and its bench.
pub fn public(config: &mut ServiceConfig, state: &HttpState) {
    health(config);
    config.service(
        web::scope("/api/v1")
            .wrap(from_fn(origin::guard))
            .service(resource("/balance", "GET").route(get().to(browsers::balance)))
            .service(resource("/entries", "GET").route(get().to(browsers::entries)))
            .configure(telegram)
            .default_service(web::to(not_found)),
    );
    config.service(
        web::scope("/ws")
            .wrap(from_fn(origin::guard))
            .service(resource("", "GET").route(get().to(upgrade::upgrade))),
    );
    config.service(
        web::scope("/client")
            .wrap(from_fn(origin::guard))
            .service(resource("/{file}", "GET").route(get().to(files::client)))
            .service(resource("/source/{file}", "GET").route(get().to(files::client)))
            .default_service(web::to(not_found)),
    );
    if state.is_dev() {
        config
            .service(resource("/", "GET").route(get().to(files::demo_index)))
            .service(resource("/demo/{name}", "GET").route(get().to(files::demo)))
            .service(resource("/shared/{shared}", "GET").route(get().to(files::demo)))
            .service(
                web::scope("/dev/v1")
                    .wrap(from_fn(origin::guard))
                    .wrap(from_fn(dev::guard))
                    .service(
                        resource("/token", "GET, POST")
                            .route(get().to(dev::token_for_page))
                            .route(post().to(dev::token)),
                    )
                    .service(resource("/entries", "POST").route(post().to(dev::entries)))
                    .service(
                        resource("/chain", "GET, POST")
                            .route(get().to(dev::chain::steps))
                            .route(post().to(dev::chain::pay)),
                    )
                    .default_service(web::to(not_found)),
            );
    }
    config.default_service(web::to(not_found));
}

/// Endpoints that exist only while sign-in by Telegram is configured.
fn telegram(api: &mut ServiceConfig) {
    api.service(
        resource("/sessions", "POST")
            .guard(fn_guard(knows_telegram))
            .route(post().to(sign_ins::create)),
    );
}

fn knows_telegram(context: &GuardContext<'_>) -> bool {
    let state: Option<&Data> = context.app_data();
    state.is_some_and(|state| state.sessions.sign_in.knows_telegram())
}

/// Back ends, administrators and operators.
pub fn internal(config: &mut ServiceConfig) {
    health(config);
    config
        .service(resource("/internal/v1/deposits", "POST").route(post().to(single::deposits)))
        .service(resource("/internal/v1/rewards", "POST").route(post().to(single::rewards)))
        .service(resource("/internal/v1/withdrawals", "POST").route(post().to(single::withdrawals)))
        .service(resource("/internal/v1/adjustments", "POST").route(post().to(single::adjustments)))
        .service(resource("/internal/v1/reversals", "POST").route(post().to(single::reversals)))
        .service(resource("/internal/v1/entries", "GET").route(get().to(entry_by_key::entry)))
        .service(resource("/internal/v1/balances", "GET").route(get().to(all_balances::balances)))
        .service(resource("/internal/v1/feed", "GET").route(get().to(feed::feed)))
        .service(resource("/internal/v1/batch", "POST").route(post().to(batch::batch)))
        .service(resource("/internal/v1/tokens", "POST").route(post().to(back_ends::tokens)))
        .service(
            resource("/internal/v1/users/{user_id}", "PUT").route(put().to(back_ends::put_user)),
        )
        .service(
            resource("/internal/v1/users/{user_id}/balance", "GET")
                .route(get().to(back_ends::balance)),
        )
        .service(
            resource("/internal/v1/users/{user_id}/entries", "GET")
                .route(get().to(back_ends::entries)),
        )
        .service(resource("/admin/", "GET").route(get().to(files::admin_index)))
        .service(resource("/admin/{asset}", "GET").route(get().to(files::admin)))
        .service(resource("/admin/vendor/{vendor}", "GET").route(get().to(files::admin)))
        .service(resource("/shared/{shared}", "GET").route(get().to(files::admin)))
        .service(resource("/admin/v1/live", "GET").route(get().to(admin::live)))
        .service(resource("/admin/v1/history", "GET").route(get().to(admin::history)))
        .service(resource("/admin/v1/findings", "GET").route(get().to(admin::findings)))
        .service(resource("/admin/v1/registry", "GET").route(get().to(admin::registry)))
        .service(resource("/admin/v1/actors", "GET").route(get().to(admin::actors)))
        .service(resource("/admin/v1/actors/{user_id}", "GET").route(get().to(admin::actor)))
        .service(
            resource("/admin/v1/actors/{user_id}/entries", "GET").route(get().to(admin::entries)),
        )
        .service(
            resource("/admin/v1/actors/{user_id}/refresh", "POST").route(post().to(admin::refresh)),
        )
        .service(resource("/admin/v1/actors/{user_id}/push", "POST").route(post().to(admin::push)))
        .service(
            resource("/admin/v1/actors/{user_id}/retire", "POST").route(post().to(admin::retire)),
        )
        .service(
            resource("/admin/v1/actors/{user_id}/disconnect", "POST")
                .route(post().to(admin::disconnect)),
        )
        .service(resource("/admin/v1/sessions", "GET").route(get().to(admin::sessions)))
        .service(resource("/admin/v1/events", "GET").route(get().to(admin::events)))
        .service(resource("/admin/v1/audit", "GET").route(get().to(admin::audit)))
        .service(resource("/admin/v1/cluster", "GET").route(get().to(admin::cluster)))
        .service(resource("/admin/v1/canary", "GET").route(get().to(admin::canary)))
        .service(resource("/admin/v1/log", "GET").route(get().to(admin::log)))
        .service(resource("/admin/v1/entries", "GET").route(get().to(admin::find)))
        .service(resource("/admin/v1/conflicts", "GET").route(get().to(admin::conflicts)))
        .service(resource("/metrics", "GET").route(get().to(probes::metrics)))
        .service(resource("/openapi.json", "GET").route(get().to(openapi::document)))
        .default_service(web::to(not_found));
}

fn health(config: &mut ServiceConfig) {
    config
        .service(resource("/healthz", "GET").route(get().to(probes::healthz)))
        .service(resource("/readyz", "GET").route(get().to(probes::readyz)));
}

/// A path that answers 405 to any other method, with the methods that it has. `HEAD` comes with `GET` (`head.rs`).
fn resource(path: &str, methods: &str) -> Resource {
    let allowed = HeaderValue::try_from(methods.replace("GET", "GET, HEAD"));
    let allowed = allowed.expect("names of methods and commas");
    let wrong_method = move || {
        let allowed = allowed.clone();
        async move {
            let mut refusal = Problem::new(
                Code::MethodNotAllowed,
                "this path does not support this method",
            )
            .error_response();
            refusal.headers_mut().insert(ALLOW, allowed);
            refusal
        }
    };
    web::resource(path.to_owned())
        .app_data(Route::default())
        .default_service(web::to(wrong_method))
}

async fn not_found() -> actix_web::HttpResponse {
    Problem::new(Code::NotFound, "there is nothing at this path").error_response()
}
