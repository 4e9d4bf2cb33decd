//! The files of `src/web`, embedded in the binary: the browser library, the demo page and the dashboard.
//!
//! Owns how browsers cache them, and what the pages may load. `build.rs` has minified and compressed them. A file's URL
//! is its path in `src/web`, so that relative imports are the same in tests, in bundlers and from the service. The files
//! contain no secret and need no sign-in.

use std::borrow::Cow;

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderValue, IF_NONE_MATCH, LINK, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::problem::{Answer, Code, Problem, not_modified};

/// Bytes of a content hash in an `ETag`.
const HASH_BYTES: usize = 16;

/// For a URL that names the content by its hash (`?v=`).
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// For a URL whose content may change: asked for each time, mostly answered with 304.
const ASK: &str = "public, no-cache";

// Not every browser takes the WebSocket of the same host for 'self'. The hash is that of the script in the page's head.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self' 'sha256-yMKB3+bd8g6uYaBSqMKg/orSX+BqeWnE8rtGsiEBMHY='; style-src 'self'; connect-src 'self' ws: wss:; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const ADMIN_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The user of the demo page, unless the address names another (`FIRST_USER` in demo.js).
const DEMO_USER: u64 = 184;

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/web"]
struct Web;

/// How a file may be compressed: the name in `Accept-Encoding`, and the ending of its file. Best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// `GET /client/{file}`: the browser library, and `GET /client/source/{file}`: as it is written.
pub(super) async fn client(request: HttpRequest) -> Answer {
    serve(&request, request.path(), None)
}

/// `GET /`: the demo page.
pub(super) async fn demo_index(request: HttpRequest) -> Answer {
    let mut answer = serve(&request, "/demo/index.html", Some(DEMO_POLICY))?;
    // The token is loaded together with the scripts: one round trip less until the first balance.
    let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let named = pairs
        .find(|(name, _)| name == "user")
        .and_then(|(_, id)| id.parse::<u64>().ok());
    let user = named.unwrap_or(DEMO_USER);
    let preload = format!("</dev/v1/token?user_id={user}>; rel=preload; as=fetch; crossorigin");
    if let Ok(preload) = HeaderValue::try_from(preload) {
        answer.headers_mut().insert(LINK, preload);
    }
    Ok(answer)
}

/// `GET /demo/{name}`, and `GET /shared/{shared}`, which both pages use.
pub(super) async fn demo(request: HttpRequest) -> Answer {
    serve(&request, request.path(), Some(DEMO_POLICY))
}

/// `GET /admin/`: the operators' dashboard.
pub(super) async fn admin_index(request: HttpRequest) -> Answer {
    serve(&request, "/admin/index.html", Some(ADMIN_POLICY))
}

/// `GET /admin/{asset}`, `GET /admin/vendor/{vendor}` and `GET /shared/{shared}`.
pub(super) async fn admin(request: HttpRequest) -> Answer {
    serve(&request, request.path(), Some(ADMIN_POLICY))
}

/// Answers with a file, in the best encoding that the client accepts. `policy` is what a page may load; the library's
/// files have none, since other pages load them.
fn serve(request: &HttpRequest, path: &str, policy: Option<&'static str>) -> Answer {
    let missing = || Problem::new(Code::NotFound, "there is no such file");
    let path = path.trim_start_matches('/');
    // A page has one URL, that of its folder; a compressed file has none of its own.
    let has_no_url = [".html", ".br", ".gz"]
        .iter()
        .any(|ending| request.path().ends_with(ending));
    let plain = Web::get(path).filter(|_| !has_no_url).ok_or_else(missing)?;
    let hash = hex::encode(&plain.metadata.sha256_hash()[..HASH_BYTES]);
    let (encoding, file) =
        encoded(request, path).map_or((None, plain), |(name, file)| (Some(name), file));
    let etag = encoding.map_or_else(
        || format!("\"{hash}\""),
        |name| format!("\"{hash}-{name}\""),
    );
    let cache = if names_content(request, &hash) {
        FOR_EVER
    } else {
        ASK
    };
    let vary = if policy.is_some() {
        "accept-encoding"
    } else {
        "accept-encoding, origin, authorization"
    };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CACHE_CONTROL, cache))
        .insert_header((ETAG, etag.as_str()))
        .insert_header((VARY, vary))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(policy) = policy {
        answer
            .insert_header((CONTENT_SECURITY_POLICY, policy))
            .insert_header((REFERRER_POLICY, "no-referrer"));
    }
    if is_known(request, &etag) {
        return Ok(answer.status(not_modified()).finish());
    }
    if let Some(name) = encoding {
        answer.insert_header((CONTENT_ENCODING, name));
    }
    answer.insert_header((CONTENT_TYPE, content_type(path)));
    Ok(match file.data {
        Cow::Borrowed(bytes) => answer.body(bytes),
        Cow::Owned(bytes) => answer.body(bytes),
    })
}

/// The compressed file in the best encoding that the client accepts, and the encoding's name.
fn encoded(request: &HttpRequest, path: &str) -> Option<(&'static str, EmbeddedFile)> {
    let accepted = request.headers().get(ACCEPT_ENCODING)?.to_str().ok()?;
    let (name, ending) = ENCODINGS
        .into_iter()
        .find(|(name, _)| accepts(accepted, name))?;
    Some((name, Web::get(&format!("{path}{ending}"))?))
}

/// Whether an `Accept-Encoding` has this encoding, with another weight than 0.
fn accepts(accepted: &str, name: &str) -> bool {
    accepted.split(',').any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, "q=1"));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        coding.trim().eq_ignore_ascii_case(name) && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// Whether the URL has the hash of the content in it, alone or as in an `ETag`.
fn names_content(request: &HttpRequest, hash: &str) -> bool {
    let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
    pairs.any(|(name, value)| name == "v" && value.split('-').next() == Some(hash))
}

/// Whether `If-None-Match` has this tag.
pub(super) fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let known = request
        .headers()
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok());
    let mut tags = known
        .flat_map(|list| list.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == etag || tag == "*")
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
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Without their compressed copies.
    fn paths() -> Vec<String> {
        let all = Web::iter().map(Cow::into_owned);
        all.filter(|path| !ENCODINGS.iter().any(|(_, ending)| path.ends_with(ending)))
            .collect()
    }

    #[test]
    fn the_library_is_served_minified_and_readable_without_what_belongs_to_its_package() {
        let library: Vec<_> = paths()
            .into_iter()
            .filter(|path| path.starts_with("client/"))
            .collect();
        assert!(
            library
                .iter()
                .all(|path| path.ends_with(".js") || path.ends_with(".d.ts")),
            "{library:?}"
        );
        assert!(
            !library.iter().any(|path| path.contains("cjs")),
            "{library:?}"
        );
        for name in [
            "balance-client.js",
            "tabs.js",
            "element.js",
            "react.js",
            "testing.js",
        ] {
            let [minified, source] = [format!("client/{name}"), format!("client/source/{name}")]
                .map(|path| {
                    Web::get(&path)
                        .unwrap_or_else(|| panic!("{path}"))
                        .data
                        .len()
                });
            assert!(minified < source, "{name}: {minified} of {source} bytes");
        }
    }

    #[test]
    fn the_policy_of_the_demo_page_has_the_hash_of_the_script_in_its_head() {
        let page = Web::get("demo/index.html").expect("it is embedded");
        let text = std::str::from_utf8(&page.data).expect("UTF-8");
        let scripts: Vec<&str> = text
            .split("<script>")
            .skip(1)
            .filter_map(|rest| rest.split("</script>").next())
            .collect();
        let [script] = scripts[..] else {
            panic!("{} scripts", scripts.len());
        };
        let hash = STANDARD.encode(Sha256::digest(script));
        assert!(DEMO_POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
    }

    #[test]
    fn every_file_has_a_content_type_of_its_own_kind_and_its_compressed_copies() {
        for path in paths() {
            assert_eq!(
                content_type(&path).starts_with("text/javascript"),
                path.ends_with(".js"),
                "{path}"
            );
            for (_, ending) in ENCODINGS {
                assert!(
                    Web::get(&format!("{path}{ending}")).is_some(),
                    "{path}{ending}"
                );
            }
        }
    }

    #[test]
    fn an_encoding_is_accepted_when_it_is_named_with_a_weight_above_zero() {
        for (accepted, name, expected) in [
            ("gzip, deflate, br, zstd", "br", true),
            ("gzip;q=0.5", "gzip", true),
            ("br;q=0, gzip", "br", false),
            ("BR ; q=1.0", "br", true),
            ("identity", "br", false),
            ("brotli", "br", false),
            ("br;q=much", "br", false),
            ("", "gzip", false),
        ] {
            assert_eq!(accepts(accepted, name), expected, "{accepted}: {name}");
        }
    }
}
