//! What `--dev` adds to the service: an imitation of the TON chain, and the watcher that follows it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::rt::spawn;
use actix_web::rt::time::timeout;
use log::{error, info};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Deadline};
use crate::config::Settings;
use crate::credentials::access::CurrentAccess;
use crate::dev_chain::{self, DevChain, FINAL_AFTER};
use crate::watcher::{Options, watch_in_memory};

/// The imitated chain and its watcher. Both end with the process, and so does what they know.
pub(super) struct Development {
    /// The chain.
    pub chain: Arc<DevChain>,
    listener: ServerHandle,
    listening: JoinHandle<io::Result<()>>,
    watching: JoinHandle<()>,
}

impl Development {
    /// Starts both on loopback. `None` where no currency can hold Toncoin.
    pub(super) fn start(
        settings: &Settings,
        access: Arc<CurrentAccess>,
        internal_url: String,
        clock: Clock,
    ) -> io::Result<Option<Self>> {
        let chain = Arc::new(DevChain::new(clock, FINAL_AFTER));
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let api_url = format!("http://{}/api/v3", socket.local_addr()?);
        let (account, url) = (chain.account(), api_url.clone());
        let options = Options::for_imitation(settings, access, account, url, internal_url);
        let Some(options) = options else {
            return Ok(None);
        };
        info!(
            "development: a TON chain is imitated at {api_url}, with the account {}",
            chain.account()
        );
        let listener = dev_chain::listen(chain.clone(), socket)?;
        let watching = async move {
            if let Err(error) = watch_in_memory(&options).await {
                error!("development: the watcher of the imitated chain has ended: {error}");
            }
        };
        Ok(Some(Self {
            chain,
            listener: listener.handle(),
            listening: spawn(listener),
            watching: spawn(watching),
        }))
    }

    /// Stops both. The watcher may end at any point.
    pub(super) async fn stop(self, deadline: Deadline) {
        self.watching.abort();
        self.listener.stop(false).await;
        // It was told to stop; a failure, or a wait past the deadline, changes nothing any more.
        let _ = timeout(deadline.remaining() / 4, self.listening).await;
    }
}
