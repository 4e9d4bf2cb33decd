//! `GET /admin/`: the operators' dashboard, embedded in the binary.
//!
//! Owns the list of its files and what its page may load: nothing but what this listener serves. The files hold no secret
//! and are shown to anybody; everything that they show needs an administrator's token, which stays in the page's memory.

use actix_web::{HttpResponse, web};

use crate::http::admin::{Code, Problem};
use crate::http::pages::page;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const INDEX: &str = include_str!("../../web/admin/index.html");

macro_rules! embedded {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../web/admin/", $folder, $name)))),+]
    };
}

const FILES: [(&str, &str); 18] = embedded![
    "":
    "actions.js",
    "actor.js",
    "admin.css",
    "admin.js",
    "api.js",
    "canary.js",
    "charts.js",
    "compare.js",
    "conflicts.js",
    "dom.js",
    "heatmap.js",
    "overview.js",
    "residents.js",
    "series.js",
    "tables.js",
    "text.js",
    "timeline.js",
    "user.js",
];

/// uPlot, as its package has it.
const VENDOR: [(&str, &str); 3] =
    embedded!["vendor/": "uplot-license.txt", "uplot.css", "uplot.js"];

/// `GET /admin/`
pub(in crate::http) async fn index() -> HttpResponse {
    page(POLICY, "text/html; charset=utf-8", INDEX)
}

/// `GET /admin/{asset}`
pub(in crate::http) async fn asset(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let mut files = FILES.iter().chain(&VENDOR);
    let (name, text) = files
        .find(|(known, _)| *known == name.as_str())
        .ok_or_else(|| Problem::new(Code::NotFound, "there is no such file"))?;
    let content_type = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    };
    Ok(page(POLICY, content_type, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_dashboard_is_served() {
        for (folder, served) in [("", FILES.as_slice()), ("/vendor", &VENDOR)] {
            let folder = format!("{}/src/web/admin{folder}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(folder)
                .expect("the folder")
                .map(|file| file.expect("a file").file_name());
            let mut names: Vec<String> = files
                .map(|name| name.into_string().expect("UTF-8"))
                .collect();
            names.retain(|name| name != "index.html" && name != "vendor");
            names.sort();
            assert_eq!(
                served.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                names
            );
        }
    }
}
