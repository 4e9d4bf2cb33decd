//! Clients behind proxies (`server.trusted_proxies`): by the header alone, and through the programs that `deploy` has examples
//! for, run with these examples.

mod chains;
mod examples;
mod headers;
mod idle;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::support::{
    Answer, Authority, Example, PATIENCE, ProxyKind, ReverseProxy, TestApp, TlsTunnel, Ws, token,
};

/// The name in the examples.
const HOST: &str = "balance.example.org";

/// All programs that `deploy` has an example of one service for.
const EXAMPLES: [ProxyKind; 3] = [ProxyKind::Nginx, ProxyKind::Haproxy, ProxyKind::Caddy];

/// What the examples tell to trust.
const TRUSTED: &str = "127.0.0.1/32";

/// A client of `octet`, which is no proxy's address.
fn client_address(octet: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, octet).into()
}

/// A proxy of `deploy` in front of a listener.
struct Front {
    kind: ProxyKind,
    port: u16,
    has_ipv6: bool,
    authority: Authority,
    _program: ReverseProxy,
    _dir: tempfile::TempDir,
}

impl Front {
    /// Runs the example as it is shipped, but for addresses and the paths of the certificate.
    async fn start(kind: ProxyKind, to: SocketAddr) -> Self {
        Self::start_with(kind, to, |example| example).await
    }

    /// The same with more changes.
    async fn start_with(
        kind: ProxyKind,
        to: SocketAddr,
        change: impl FnOnce(Example) -> Example,
    ) -> Self {
        let has_ipv6 = has_ipv6();
        let port = free_port(has_ipv6);
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::new(&dir.path().join("authority.pem"));
        let (certificate, key) = authority.issue(dir.path(), HOST);
        let (certificate, key) = (certificate.display(), key.display());
        let example = match kind {
            ProxyKind::Nginx => Example::read("deploy/nginx/balance-coordinator.conf")
                .set("listen [::]:443 ssl", format!("listen [::1]:{port} ssl"))
                .set("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl"))
                .set("/etc/ssl/balance.example.org.pem", certificate)
                .set("/etc/ssl/balance.example.org.key", key)
                .set("server 127.0.0.1:8080", format!("server {to}")),
            ProxyKind::Haproxy => {
                let both = dir.path().join("both.pem");
                let parts = [certificate.to_string(), key.to_string()];
                let parts = parts.map(|path| std::fs::read_to_string(path).expect("PEM"));
                std::fs::write(&both, parts.concat()).expect("written");
                Example::read("deploy/haproxy/balance-coordinator.cfg")
                    .set("bind [::]:443 v6only", format!("bind [::1]:{port} v6only"))
                    .set("bind :443", format!("bind 127.0.0.1:{port}"))
                    .set("/etc/haproxy/balance.example.org.pem", both.display())
                    .set("server local 127.0.0.1:8080", format!("server local {to}"))
            }
            ProxyKind::Caddy => {
                let ipv6 = if has_ipv6 { " [::1]" } else { "" };
                let site = format!(
                    "https://{HOST}:{port} {{\n\tbind 127.0.0.1{ipv6}\n\ttls {certificate} {key}"
                );
                Example::read("deploy/caddy/Caddyfile")
                    .set("balance.example.org {", site)
                    .set(
                        "reverse_proxy 127.0.0.1:8080",
                        format!("reverse_proxy {to}"),
                    )
            }
        };
        let mut example = change(example);
        if !has_ipv6 {
            example = example.without("listen [::1]").without("bind [::1]");
        }
        let families = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let families = &families[..1 + usize::from(has_ipv6)];
        let listening = families
            .iter()
            .map(|family: &IpAddr| SocketAddr::new(*family, port));
        let listening: Vec<_> = listening.collect();
        Self {
            kind,
            port,
            has_ipv6,
            authority,
            _program: kind.run(example, &listening).await,
            _dir: dir,
        }
    }

    /// One in front of the public listener for each program that is installed.
    async fn all(app: &TestApp) -> Vec<Self> {
        let mut fronts = Vec::new();
        for kind in ProxyKind::installed(&EXAMPLES) {
            fronts.push(Self::start(kind, app.public).await);
        }
        fronts
    }

    /// A client at this address.
    async fn client(&self, from: IpAddr) -> Client {
        let localhost = match from {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let to = SocketAddr::new(localhost, self.port);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Client {
            tunnel: TlsTunnel::start(from, to, HOST, &self.authority.certificate).await,
            http: http.build().expect("a client"),
        }
    }

    /// Addresses of clients: of both families, where the machine has them.
    fn families(&self) -> Vec<IpAddr> {
        let mut addresses = vec![client_address(1)];
        addresses.extend(self.has_ipv6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        addresses
    }
}

/// A client behind TLS, at an address of its own.
struct Client {
    tunnel: TlsTunnel,
    http: reqwest::Client,
}

impl Client {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.tunnel.addr);
        self.http.request(method, url).header("host", HOST)
    }

    async fn ask(&self, request: RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        Answer::read(answer).await.expect("a whole answer")
    }

    /// A user's balance, asked with these headers, too.
    async fn balance(&self, token: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = self.request(Method::GET, "/api/v1/balance");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.bearer_auth(token)).await
    }

    async fn try_session(
        &self,
        user_id: u64,
        headers: &[(&'static str, &str)],
    ) -> Result<Ws, Answer> {
        let bearer = format!("Bearer {}", token(user_id));
        let own = [
            ("authorization", bearer.as_str()),
            ("sec-websocket-protocol", "balance.v1"),
        ];
        let headers = [&own, headers].concat();
        let dialled = Ws::dial_as(HOST, self.tunnel.addr, &headers).await;
        dialled.expect("an answer")
    }

    /// A user's session after its snapshot.
    async fn session(&self, user_id: u64, headers: &[(&'static str, &str)]) -> Ws {
        let opened = self.try_session(user_id, headers).await;
        let mut ws = opened.unwrap_or_else(|answer| panic!("refused: {answer:?}"));
        assert_eq!(ws.protocol.as_deref(), Some("balance.v1"));
        ws.next_frame("hello").await;
        ws.next_frame("balance").await;
        ws
    }
}

/// The address that the administrators' list has of a user's only session.
async fn listed_address(app: &TestApp, user_id: u64) -> String {
    let path = "/admin/v1/sessions?limit=1000";
    let listed = app.admin(path).await.ok();
    let sessions = listed["sessions"].as_array().expect("a list");
    let own: Vec<&Value> = sessions
        .iter()
        .filter(|session| session["user_id"] == user_id)
        .collect();
    assert_eq!(own.len(), 1, "{listed}");
    own[0]["address"].as_str().expect("an address").to_owned()
}

/// Headers by which a client may claim to be elsewhere.
const SPOOFS: &[&[(&str, &str)]] = &[
    &[],
    &[("x-forwarded-for", "198.51.100.1")],
    &[("x-forwarded-for", "127.0.0.1")],
    &[("x-forwarded-for", "198.51.100.1, 127.0.0.1")],
    &[
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "127.0.0.1"),
    ],
    &[
        ("x-forwarded-for", "2001:db8::1"),
        ("x-real-ip", "198.51.100.2"),
    ],
    &[("x-forwarded-for", "nonsense,,")],
    &[("x-forwarded-for", "")],
    &[
        ("forwarded", "for=198.51.100.3;proto=https"),
        ("x-forwarded-for", "198.51.100.1,"),
    ],
    // Headers that `Connection` names are for the next hop alone.
    &[
        ("connection", "x-forwarded-for"),
        ("x-forwarded-for", "198.51.100.1"),
    ],
    &[("forwarded", "for=\"[2001:db8::1]:4711\"")],
    &[
        ("x-client-ip", "198.51.100.4"),
        ("cf-connecting-ip", "198.51.100.5"),
        ("true-client-ip", "198.51.100.6"),
    ],
];

/// Whether the loopback has IPv6; tells when it has not.
///
/// # Panics
/// When it has not under CI, where no test may be skipped.
fn has_ipv6() -> bool {
    let is_there = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !is_there {
        let notice = "SKIPPED: clients on IPv6, which this machine does not have";
        assert!(std::env::var_os("CI").is_none(), "{notice}");
        // Past the test runner's capture, so that a skip is visible.
        let _ = writeln!(std::io::stderr(), "{notice}");
    }
    is_there
}

/// A port that is free on the loopback of both families.
fn free_port(has_ipv6: bool) -> u16 {
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        if !has_ipv6 || TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free on both families");
}
