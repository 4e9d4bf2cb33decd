//! The files of `src/web`, embedded in the binary: the browser library, the demo page and the dashboard.
//!
//! Owns how browsers keep them, and what the pages may load. A file's URL is its path in `src/web`, so that relative
//! imports are the same in tests, in bundlers and from the service. The files hold no secret and need no sign-in.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::browser_api::is_known;
use super::problem::{Code, Problem, not_modified};

/// Bytes of a content hash in an `ETag`.
const HASH_BYTES: usize = 16;

/// For a URL that names the content by its hash (`?v=`).
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// For a URL whose content may change: asked for each time, mostly answered with 304.
const ASK: &str = "public, no-cache";

// Not every browser takes the WebSocket of the same host for 'self'.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const ADMIN_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

#[derive(RustEmbed)]
#[folder = "src/web"]
#[exclude = "client/package.json"]
#[exclude = "client/README.md"]
struct Web;

/// `GET /client/{file}`: the browser library.
pub(super) async fn client(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, request.path(), None)
}

/// `GET /`: the demo page.
pub(super) async fn demo_index(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, "/demo/index.html", Some(DEMO_POLICY))
}

/// `GET /demo/{name}`, and `GET /shared/{shared}`, which both pages use.
pub(super) async fn demo(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, request.path(), Some(DEMO_POLICY))
}

/// `GET /admin/`: the operators' dashboard.
pub(super) async fn admin_index(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, "/admin/index.html", Some(ADMIN_POLICY))
}

/// `GET /admin/{asset}`, `GET /admin/vendor/{vendor}` and `GET /shared/{shared}`.
pub(super) async fn admin(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, request.path(), Some(ADMIN_POLICY))
}

/// Answers with a file. `policy` is what a page may load; the library's files have none, since other pages load them.
fn serve(request: &HttpRequest, path: &str, policy: Option<&'static str>) -> Result<HttpResponse, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such file");
    // A page has one URL, that of its folder.
    let is_page_by_name = request.path().ends_with(".html");
    let file = Web::get(path.trim_start_matches('/')).filter(|_| !is_page_by_name).ok_or_else(missing)?;
    let hash = hex::encode(&file.metadata.sha256_hash()[..HASH_BYTES]);
    let etag = format!("\"{hash}\"");
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CACHE_CONTROL, if names_content(request, &hash) { FOR_EVER } else { ASK }))
        .insert_header((ETAG, etag.as_str()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(policy) = policy {
        answer.insert_header((CONTENT_SECURITY_POLICY, policy)).insert_header((REFERRER_POLICY, "no-referrer"));
    }
    if is_known(request, &etag) {
        return Ok(answer.status(not_modified()).finish());
    }
    Ok(body(answer, path, file))
}

fn body(mut answer: HttpResponseBuilder, path: &str, file: EmbeddedFile) -> HttpResponse {
    answer.insert_header((CONTENT_TYPE, content_type(path)));
    match file.data {
        std::borrow::Cow::Borrowed(bytes) => answer.body(bytes),
        std::borrow::Cow::Owned(bytes) => answer.body(bytes),
    }
}

fn names_content(request: &HttpRequest, hash: &str) -> bool {
    let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
    pairs.any(|(name, value)| name == "v" && *value == *hash)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("ts") => "application/typescript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_served_without_what_belongs_to_its_package() {
        let served: Vec<_> = Web::iter().filter(|path| path.starts_with("client/")).collect();
        assert!(served.iter().any(|path| path == "client/balance-client.js"), "{served:?}");
        assert!(served.iter().all(|path| path.ends_with(".js") || path.ends_with(".d.ts")), "{served:?}");
    }

    #[test]
    fn every_file_has_a_content_type_of_its_own_kind() {
        for path in Web::iter() {
            let is_script = content_type(&path).starts_with("text/javascript");
            assert_eq!(is_script, path.ends_with(".js"), "{path}");
        }
    }
}
