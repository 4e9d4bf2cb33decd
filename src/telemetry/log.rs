//! The log: to standard error, filtered by `RUST_LOG`.

/// What is logged when `RUST_LOG` is unset.
const FILTER_DEFAULT: &str = "info";

/// It logs an error for each request that is none: what a stranger sends is no error of the service.
const SILENCED: &str = "actix_http";

/// Starts logging, with timestamps in microseconds (UTC). Calling it again changes nothing.
pub fn init() {
    let environment = env_logger::Env::default().default_filter_or(FILTER_DEFAULT);
    // An error means that a logger is there already, which is as good.
    let _ = env_logger::Builder::new()
        .filter_module(SILENCED, log::LevelFilter::Off)
        .parse_env(environment)
        .format_timestamp_micros()
        .try_init();
}
