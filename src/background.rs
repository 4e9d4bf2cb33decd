//! Threads that work while others answer somebody.

/// How far behind the other threads such a one stands for a processor (`nice`).
const NICE: i32 = 10;

/// Lets the calling thread stand back behind those that somebody waits for. Only Linux has such a rank for threads; where
/// it is not to be had, the work is done all the same.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}
