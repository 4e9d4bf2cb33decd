//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Loads the service and compares it with baselines of the same run.
#[derive(Debug, Parser)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

/// One gate each, or all.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Durable entries a second through /internal/v1/batch, beside raw
    Batch,
    /// Durable entries a second by single signed webhooks, 256 in flight, beside one-by-one
    Singles,
    /// Commit → frame and webhook → frame at 2,000 deposits a second over 5,000 sessions, beside echo
    Frames,
    /// A tick of 1,000,000 rewards with 5,000 sessions open and deposits meanwhile, beside raw
    Tick,
    /// 10,000 entries a second to one user, beside the same over 1,000 users
    Hot,
    /// Memory of 19,500 idle sessions, beside echo
    Idle,
    /// Memory of a resident actor without a session
    Actors,
    /// 19,500 reconnects after a restart, beside echo
    Reconnect,
    /// Cost of an entry at 1,000,000 known users, beside 1,000
    Users,
    /// Start to ready, and verify, on a ledger of 10,000,000 entries
    Start,
    /// Pushes to 19,500 sessions, one reward per user and 5 s: how late they are
    Paced,
    /// A duplicate, a page and a balance of a user with 10,000,000 entries, beside one with 10
    History,
    /// A follower of the feed: how fast it reads, and how late an entry comes to it
    Follow,
    /// Several nodes on one PostgreSQL and NATS, beside one: frames at another node, what the bus costs, a node killed
    Nodes,
    /// What one would take instead: nchan, NATS and a plain transaction on PostgreSQL, beside the service; not part of `all`
    Peers,
    /// Everything
    All,
    /// A baseline: a bare actix-web-actors server
    EchoServer,
    /// A baseline: one transaction for each request, then a push
    OneByOneServer {
        /// The value of `database.url`
        #[arg(long)]
        database: String,
    },
}

/// Sizes are those of the gates unless given.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The service's program; by default `balance-coordinator` beside this one
    #[arg(long, global = true)]
    pub bin: Option<PathBuf>,
    /// Where ledgers and logs go, on a real disk; by default a directory of its own below target/
    #[arg(long, global = true)]
    pub dir: Option<PathBuf>,
    /// A PostgreSQL server, `postgres://user@host:port/database`: its gates are run, too, each in a database of its own
    #[arg(long, global = true)]
    pub postgres: Option<String>,
    /// A NATS server, `nats://host:port`: with `--postgres`, the gate of several nodes is run, too
    #[arg(long, global = true, requires = "postgres")]
    pub nats: Option<String>,
    /// Seconds of each open-loop round
    #[arg(long, global = true)]
    pub seconds: Option<u64>,
    /// Entries of each round
    #[arg(long, global = true)]
    pub entries: Option<usize>,
    /// Sessions
    #[arg(long, global = true)]
    pub sessions: Option<usize>,
    /// Rounds; the service and its baseline take turns
    #[arg(long, global = true)]
    pub rounds: Option<usize>,
    /// Everything small: tells whether the bench works, not how fast anything is
    #[arg(long, global = true)]
    pub quick: bool,
    /// Pragmas of the raw baseline on SQLite, beside WAL and synchronous=FULL
    #[arg(long, global = true, default_value = "")]
    pub raw_pragmas: String,
    /// Writes everything found as JSON
    #[arg(long, global = true)]
    pub out: Option<PathBuf>,
    /// Draws plots into a folder
    #[arg(long, global = true)]
    pub report: Option<PathBuf>,
    /// The public listener of a running service, to drive instead of one of the bench's own (batch, singles, frames)
    #[arg(long, global = true, requires = "internal_url")]
    pub url: Option<SocketAddr>,
    /// Its internal listener
    #[arg(long, global = true, requires = "url")]
    pub internal_url: Option<SocketAddr>,
    /// Its `auth.webhook_secrets`
    #[arg(long, global = true)]
    pub webhook_secret: Option<String>,
    /// Its `auth.session_secrets`
    #[arg(long, global = true)]
    pub session_secret: Option<String>,
    /// Its `auth.admin_tokens`
    #[arg(long, global = true)]
    pub admin_token: Option<String>,
}
