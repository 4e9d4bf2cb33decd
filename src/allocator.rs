//! Where memory comes from, and who gives it back to the system.

use std::ffi::c_long;
use std::thread;
use std::time::Duration;

use libmimalloc_sys::{
    mi_collect, mi_option_get, mi_option_set, mi_option_set_default, mi_option_t, mi_thread_init,
};

/// Entries are made in one thread and freed in another; the C library's allocator answers that with pauses of many
/// milliseconds, and each is a pause of all actors.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, in milliseconds, as mimalloc.h counts its options; the crate has no name for it.
const PURGE_DELAY: mi_option_t = 15;

/// How often memory that is not needed is given back. It is 2 to 4 ms of a processor in the kernel each time, and what batches use
/// again and again would have to be cleared for them each time: a tenth as often as mimalloc does by itself.
const GAP: Duration = Duration::from_secs(10);

/// Later than anybody waits for.
const NEVER_MS: c_long = 24 * 3600 * 1000;

/// Has a thread of its own give memory back to the system. By itself mimalloc has whoever frees a page at that moment do it, an
/// actor or the ledger's writer, and during a tick that is 3 to 5 ms of every second. The thread does not stand back:
/// others may need the map of the memory meanwhile. To be called before there are other threads; an operator's
/// `MIMALLOC_PURGE_DELAY` counts for more.
pub fn give_back_aside() {
    #[expect(
        unsafe_code,
        reason = "the crate offers them so; they take numbers, and there are no other threads yet"
    )]
    let before_ms = unsafe {
        let before_ms = mi_option_get(PURGE_DELAY);
        mi_option_set_default(PURGE_DELAY, NEVER_MS);
        before_ms
    };
    let started = thread::Builder::new().name("memory".into()).spawn(|| {
        #[expect(
            unsafe_code,
            reason = "the crate offers it so; a thread that has allocated nothing can't collect"
        )]
        unsafe {
            mi_thread_init();
        }
        loop {
            thread::sleep(GAP);
            #[expect(
                unsafe_code,
                reason = "the crate offers it so; it takes nothing of ours"
            )]
            unsafe {
                mi_collect(true);
            }
        }
    });
    if started.is_err() {
        #[expect(
            unsafe_code,
            reason = "the crate offers it so; it takes a number, and no thread was started"
        )]
        unsafe {
            mi_option_set(PURGE_DELAY, before_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_delay() {
        #[expect(unsafe_code, reason = "the crate offers it so; it takes a number")]
        let delay_ms = unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(
            delay_ms, 1000,
            "mimalloc counts its options in another way, or waits for another time"
        );
    }
}
