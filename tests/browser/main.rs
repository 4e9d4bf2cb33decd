//! The demo page and the library in a real browser: Chromium, driven through its WebDriver.
//!
//! `cargo test --test browser <part of a name>` runs some of it; what is needed is in README.md beside this file. Nothing
//! here sleeps and hopes: each wait is for something that the page shows or the service tells. Screenshots are left in
//! `target/screenshots`. Start reading at [`driver::Browser`].

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod bursts;
mod canary;
mod chain_to_page;
mod dashboard;
mod driver;
mod elsewhere;
mod frames;
mod frameworks;
mod hands;
mod looks;
mod network;
mod outages;
mod page;
mod site;
mod slow_network;
mod tabs;
mod users;
mod values;

/// Makes tests of what needs a browser.
macro_rules! in_a_browser {
    ($($name:ident),+ $(,)?) => {
        mod in_a_browser {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::driver::Browser::is_there() {
                    super::$name().await;
                }
            })+
        }
    };
}

use in_a_browser;
