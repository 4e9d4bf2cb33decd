//! `GET /client/{file}`: the browser library, embedded in the binary.
//!
//! Owns the list of its files and how they are kept by browsers: each has a content hash, by which an unchanged file is a
//! 304, and a URL that names the hash (`?v=`) never has to be asked for again.

use std::sync::LazyLock;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};

use crate::http::problem::{Code, Problem, not_modified};

/// Bytes of a content hash.
const HASH_BYTES: usize = 16;

/// Of a URL that names the content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Of a URL that stays when the content changes: it is asked for each time, and mostly is a 304.
const ASK: &str = "public, no-cache";

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        [$(File::new($name, include_str!(concat!("../web/client/", $name)))),+]
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = embedded![
        "balance-client.d.ts",
        "balance-client.js",
        "element.d.ts",
        "element.js",
        "react.d.ts",
        "react.js",
        "tabs.js",
    ];
    files.into()
});

/// A file that is served as it is.
struct File {
    name: &'static str,
    text: &'static str,
    /// In hex.
    hash: String,
}

impl File {
    fn new(name: &'static str, text: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(text)[..HASH_BYTES]);
        Self { name, text, hash }
    }

    fn content_type(&self) -> &'static str {
        if self.name.ends_with(".d.ts") {
            "application/typescript; charset=utf-8"
        } else {
            "text/javascript; charset=utf-8"
        }
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let etag = format!("\"{}\"", self.hash);
        let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let names_content = pairs.any(|(name, value)| name == "v" && *value == *self.hash);
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header((CACHE_CONTROL, if names_content { FOR_EVER } else { ASK }))
            .insert_header((ETAG, etag.as_str()))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if is_known(request, &etag) {
            return answer.status(not_modified()).finish();
        }
        answer
            .insert_header((CONTENT_TYPE, self.content_type()))
            .body(self.text)
    }
}

/// `GET /client/{file}`
pub(super) async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default();
    let file = FILES.iter().find(|file| file.name == name);
    let missing = || Problem::new(Code::NotFound, "the browser library has no such file");
    Ok(file.ok_or_else(missing)?.answer(&request))
}

/// Whether the asker has this already, by `If-None-Match`.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_library_is_served() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/client");
        let names = std::fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name());
        let mut there: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        there.retain(|name| name.ends_with(".js") || name.ends_with(".d.ts"));
        there.sort();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        served.sort_unstable();
        assert_eq!(served, there);
    }
}
