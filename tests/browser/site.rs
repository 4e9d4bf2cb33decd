//! A website of its own origin, beside the service: what a page of an app is served from.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::page::USER;
use crate::support::{TestApp, token};

/// A website; gone when this is dropped.
pub struct Site {
    pub origin: String,
    listener: Option<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl Site {
    /// One that does not answer yet, but has its origin.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        Self {
            origin: format!("http://{addr}"),
            listener: Some(listener),
            serving: None,
        }
    }

    /// One of the files in a folder.
    pub async fn of(folder: PathBuf) -> Self {
        let mut site = Self::new().await;
        site.serve(move |path| {
            let name = if path == "/" { "/index.html" } else { path };
            std::fs::read(folder.join(&name[1..])).ok()
        });
        site
    }

    /// The plain page of docs/browser.md, word for word but for the service's address, and the back end that it asks for a
    /// token. With or without what its head begins early.
    pub async fn documented(app: &TestApp, has_head: bool) -> Self {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/browser.md");
        let docs = std::fs::read_to_string(docs).expect("it is there");
        let (_, page) = docs.split_once("```html\n").expect("a page");
        let (page, _) = page.split_once("```").expect("its end");
        let mut page = page.to_owned();
        if !has_head {
            let [from, to] = ["  <script>", "</head>"].map(|part| page.find(part).expect("a head"));
            page.replace_range(from..to, "");
        }
        for scheme in ["http", "ws"] {
            page = page.replace(
                &format!("{scheme}s://balance.example.org"),
                &format!("{scheme}://{}", app.public),
            );
        }
        let body = serde_json::json!({ "token": token(USER) }).to_string();
        let mut site = Self::new().await;
        site.serve(move |path| match path {
            "/" => Some(page.clone().into_bytes()),
            "/my/balance-token" => Some(body.clone().into_bytes()),
            "/favicon.ico" => Some(Vec::new()),
            _ => None,
        });
        site
    }

    /// Begins to answer: with what is at a path, or with 404.
    pub fn serve(&mut self, at: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) {
        let listener = self.listener.take().expect("once");
        self.serving = Some(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Some(path) = asked(&mut stream).await {
                    let _ = stream.write_all(&answer(&path, at(&path))).await;
                }
            }
        }));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// The path of a request. A browser also opens connections that it does not use.
async fn asked(stream: &mut TcpStream) -> Option<String> {
    let mut request = [0; 8192];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let text = String::from_utf8_lossy(&request[..read]);
    let path = text.split(' ').nth(1)?;
    Some(path.split('?').next()?.to_owned())
}

fn answer(path: &str, body: Option<Vec<u8>>) -> Vec<u8> {
    let kind = match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "html")) | None => "text/html; charset=utf-8",
        Some(_) => "application/octet-stream",
    };
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
