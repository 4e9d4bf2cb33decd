//! The demo page, embedded in the binary and served in development only.
//!
//! Owns the list of its files and what its pages may load: nothing but what this service serves, and no script or style
//! inside the markup.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, web};

use crate::http::problem::{Code, Problem};

// Not every browser takes the WebSocket of the same host for 'self'.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const INDEX: &str = include_str!("../web/demo/index.html");

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../web/demo/", $name)))),+]
    };
}

const FILES: [(&str, &str); 10] = embedded![
    "amount.js",
    "bench.css",
    "bench.js",
    "card.js",
    "demo.css",
    "demo.js",
    "dom.js",
    "history.js",
    "line.js",
    "text.js",
];

/// `GET /`
pub(super) async fn index() -> HttpResponse {
    page(POLICY, "text/html; charset=utf-8", INDEX)
}

/// `GET /demo/{name}`
pub(super) async fn file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (name, text) = FILES
        .iter()
        .find(|(known, _)| *known == name.as_str())
        .ok_or_else(|| Problem::new(Code::NotFound, "there is no such file"))?;
    let is_style = name.ends_with(".css");
    Ok(page(
        POLICY,
        if is_style {
            "text/css; charset=utf-8"
        } else {
            "text/javascript; charset=utf-8"
        },
        text,
    ))
}

/// A file that is embedded, and what a page of it may load.
pub(super) fn page(
    policy: &'static str,
    content_type: &'static str,
    body: &'static str,
) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(body)
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/demo");
        let files = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|file| file.expect("a file").file_name());
        let mut names: Vec<String> = files
            .map(|name| name.into_string().expect("UTF-8"))
            .collect();
        names.retain(|name| name != "index.html");
        names.sort();
        assert_eq!(FILES.map(|(name, _)| name).to_vec(), names);
    }
}
