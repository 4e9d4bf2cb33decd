//! Baselines that are servers run as child processes of the bench, so that their memory and time are their own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::system::service::{Process, addresses_in};

/// Connections that may wait to be accepted, as in the service.
const BACKLOG: i32 = 4096;

/// A free port of the loopback.
pub fn listen() -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Logs the address, in the service's format.
pub fn announce(address: SocketAddr) {
    eprintln!("listening on http://{address} (public) and http://{address} (internal)");
}

/// As many workers as the service has.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A baseline under load.
pub struct Baseline {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Baseline {
    /// Starts this program again with other arguments.
    pub fn start(arguments: &[&str], log: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        let mut process = Process::start(command, log)?;
        let (address, _) = process.wait_for(addresses_in)?;
        Ok(Self { process, address })
    }
}
