//! `load one-by-one-server`: the usual design. A request takes a connection of a pool on a blocking thread, runs one
//! transaction of its own, and then pushes to the user's sockets. It checks no signature and keeps no cache, which makes
//! it faster than a real one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use actix::{Actor, ActorContext as _, Handler, Message, Recipient, StreamHandler};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use balance_coordinator::clock;
use balance_coordinator::domain::Amount;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel::sql_types::{BigInt, Binary, Text};
use serde::Deserialize;
use serde_json::json;

use super::rows::{Posted, Value, value};
use super::server;
use crate::Result;
use crate::client::clock::now_us;
use crate::client::entries::Entry;

/// SQLite has one writer; more connections would wait for each other's locks.
const SQLITE_CONNECTIONS: u32 = 1;
const POSTGRES_CONNECTIONS: u32 = 16;

diesel::table! {
    accounts (user_id) { user_id -> BigInt, version -> BigInt, created_at_us -> BigInt, updated_at_us -> BigInt, }
}
diesel::table! {
    balances (user_id, currency) { user_id -> BigInt, currency -> Text, amount -> BigInt, }
}
diesel::table! {
    entries (id) { id -> BigInt, user_id -> BigInt, version -> BigInt, event_id -> Text, }
}

#[derive(Deserialize)]
struct Body {
    event_id: String,
    user_id: i64,
    amount: String,
}

/// The user's version and TON after the entry.
type After = (i64, i64);

#[derive(Clone)]
enum Books {
    Sqlite(Pool<ConnectionManager<SqliteConnection>>, Vec<String>),
    Postgres(Pool<ConnectionManager<PgConnection>>, Vec<String>),
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(Debug)]
struct Durable;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Durable {
    fn on_acquire(
        &self,
        connection: &mut SqliteConnection,
    ) -> std::result::Result<(), diesel::r2d2::Error> {
        let pragmas =
            "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        connection
            .batch_execute(pragmas)
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

/// One transaction; written once for both databases.
macro_rules! post_in {
    ($connection:expr, $backend:ty, $columns:expr, $place:expr, $entry:expr $(, $lock:ident)?) => {{
        let (connection, entry, now_us) = ($connection, $entry, now_us());
        let is_known = diesel::select(diesel::dsl::exists(entries::table.filter(entries::event_id.eq(&entry.event_id))))
            .get_result::<bool>(connection)?;
        let account = accounts::table.find(entry.user).select(accounts::version) $(.$lock())? .first::<i64>(connection).optional()?;
        let balance = balances::table.find((entry.user, "TON")).select(balances::amount).first::<i64>(connection).optional()?;
        let (version, minor) = (account.unwrap_or(0), balance.unwrap_or(0));
        if is_known {
            return Ok((version, minor));
        }
        let after: After = (version + 1, minor + entry.minor);
        let posted = Posted { entry, kind: "deposit", version: after.0, balance_after: after.1, committed_at_us: now_us };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for column in $columns {
            let value = value(column, &posted).map_err(|error| diesel::result::Error::QueryBuilderError(error))?;
            if value != Value::Null {
                names.push(column.as_str());
                values.push(value);
            }
        }
        let places: Vec<String> = (1..=values.len()).map($place).collect();
        let insert = format!("INSERT INTO entries ({}) VALUES ({})", names.join(", "), places.join(", "));
        let mut query = diesel::sql_query(insert).into_boxed::<$backend>();
        for value in values {
            query = match value {
                Value::Int(int) => query.bind::<BigInt, _>(int),
                Value::Text(text) => query.bind::<Text, _>(text.to_owned()),
                Value::Blob(blob) => query.bind::<Binary, _>(blob),
                Value::Null => query,
            };
        }
        query.execute(connection)?;
        if account.is_some() {
            diesel::update(accounts::table.find(entry.user))
                .set((accounts::version.eq(after.0), accounts::updated_at_us.eq(now_us)))
                .execute(connection)?;
        } else {
            let row = (accounts::user_id.eq(entry.user), accounts::version.eq(after.0));
            let times = (accounts::created_at_us.eq(now_us), accounts::updated_at_us.eq(now_us));
            diesel::insert_into(accounts::table).values((row, times)).execute(connection)?;
        }
        diesel::insert_into(balances::table)
            .values((balances::user_id.eq(entry.user), balances::currency.eq("TON"), balances::amount.eq(after.1)))
            .on_conflict((balances::user_id, balances::currency))
            .do_update()
            .set(balances::amount.eq(after.1))
            .execute(connection)?;
        Ok(after)
    }};
}

impl Books {
    fn open(url: &str) -> Result<Self> {
        if let Some(file) = url.strip_prefix("sqlite://") {
            let manager = ConnectionManager::<SqliteConnection>::new(file);
            let pool = Pool::builder()
                .max_size(SQLITE_CONNECTIONS)
                .connection_customizer(Box::new(Durable))
                .build(manager)?;
            let query = "SELECT name FROM pragma_table_info('entries') WHERE name <> 'id'";
            let rows = diesel::sql_query(query).load::<ColumnRow>(&mut pool.get()?)?;
            return Ok(Self::Sqlite(
                pool,
                rows.into_iter().map(|row| row.name).collect(),
            ));
        }
        let pool = Pool::builder()
            .max_size(POSTGRES_CONNECTIONS)
            .build(ConnectionManager::<PgConnection>::new(url))?;
        let query = "SELECT column_name::text AS name FROM information_schema.columns \
             WHERE table_name = 'entries' AND table_schema = 'public' AND column_name <> 'id'";
        let rows = diesel::sql_query(query).load::<ColumnRow>(&mut pool.get()?)?;
        Ok(Self::Postgres(
            pool,
            rows.into_iter().map(|row| row.name).collect(),
        ))
    }

    fn post(&self, entry: &Entry) -> Result<After> {
        let after: QueryResult<After> = match self {
            Self::Sqlite(pool, columns) => pool.get()?.immediate_transaction(|connection| {
                post_in!(
                    connection,
                    diesel::sqlite::Sqlite,
                    columns,
                    |_| "?".to_owned(),
                    entry
                )
            }),
            Self::Postgres(pool, columns) => pool.get()?.transaction(|connection| {
                post_in!(
                    connection,
                    diesel::pg::Pg,
                    columns,
                    |place| format!("${place}"),
                    entry,
                    for_update
                )
            }),
        };
        Ok(after?)
    }
}

#[derive(Message, Clone)]
#[rtype(result = "()")]
struct Frame(String);

/// The sockets of each user.
#[derive(Default)]
struct Hub(Mutex<HashMap<i64, Vec<Recipient<Frame>>>>);

impl Hub {
    fn push(&self, user: i64, frame: &Frame) {
        let mut sockets = self.0.lock().expect("no holder panics");
        if let Some(mine) = sockets.get_mut(&user) {
            mine.retain(|socket| socket.try_send(frame.clone()).is_ok());
        }
    }
}

struct Socket;

impl Actor for Socket {
    type Context = ws::WebsocketContext<Self>;
}

impl Handler<Frame> for Socket {
    type Result = ();

    fn handle(&mut self, Frame(text): Frame, ctx: &mut Self::Context) {
        ctx.text(text);
    }
}

impl StreamHandler<std::result::Result<ws::Message, ws::ProtocolError>> for Socket {
    fn handle(
        &mut self,
        message: std::result::Result<ws::Message, ws::ProtocolError>,
        ctx: &mut Self::Context,
    ) {
        if matches!(message, Ok(ws::Message::Close(_)) | Err(_)) {
            ctx.stop();
        }
    }
}

async fn session(
    request: HttpRequest,
    payload: web::Payload,
    user: web::Path<i64>,
    hub: web::Data<Hub>,
) -> actix_web::Result<HttpResponse> {
    let (socket, answer) =
        ws::WsResponseBuilder::new(Socket, &request, payload).start_with_addr()?;
    hub.0
        .lock()
        .expect("no holder panics")
        .entry(*user)
        .or_default()
        .push(socket.recipient());
    Ok(answer)
}

async fn deposit(
    body: web::Json<Body>,
    books: web::Data<Books>,
    hub: web::Data<Hub>,
) -> actix_web::Result<HttpResponse> {
    let Body {
        event_id,
        user_id,
        amount,
    } = body.into_inner();
    let minor = Amount::parse(&amount, 9)
        .map_err(actix_web::error::ErrorUnprocessableEntity)?
        .minor();
    let entry = Entry {
        event_id: event_id.clone(),
        user: user_id,
        minor,
    };
    let posted = web::block(move || books.post(&entry)).await?;
    let (version, minor) =
        posted.map_err(|error| actix_web::error::ErrorServiceUnavailable(error.to_string()))?;
    let balances = json!({ "TON": Amount::from_minor(minor).display(9).to_string() });
    let committed_at = clock::rfc3339(now_us());
    let update = json!({ "type": "balance_update", "user_id": user_id, "version": version, "balances": balances });
    hub.push(user_id, &Frame(update.to_string()));
    let answer = json!({ "event_id": event_id, "user_id": user_id, "version": version, "duplicate": false,
        "balances": balances, "committed_at": committed_at });
    Ok(HttpResponse::Ok().json(answer))
}

/// Serves until SIGTERM.
pub fn serve(database: &str) -> Result<()> {
    let (books, hub) = (
        web::Data::new(Books::open(database)?),
        web::Data::new(Hub::default()),
    );
    let listener = server::listen()?;
    let address = listener.local_addr()?;
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(books.clone())
                .app_data(hub.clone())
                .route("/internal/v1/deposits", web::post().to(deposit))
                .route("/ws/{user}", web::get().to(session))
        })
        .workers(server::workers())
        .tcp_nodelay(true)
        .keep_alive(Duration::from_secs(5))
        .shutdown_timeout(1)
        .listen(listener)?
        .run();
        server::announce(address);
        server.await
    })?;
    Ok(())
}
