//! Threads that work while others answer somebody.

/// Lets the calling thread stand back behind those that somebody waits for: it runs while a processor has nothing else to
/// do, and one of theirs that wakes takes the processor from it at once. (Only this rank is so. One that is merely lower,
/// by `nice`, keeps the processor for a few milliseconds.) Only Linux has it for threads; where it is not to be had, the
/// work is done all the same.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        // Where it is refused, the thread competes with the others.
        #[expect(unsafe_code, reason = "a system call that only reads a number, and no crate of ours offers it")]
        let _ = unsafe {
            let parameters: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters)
        };
    }
}
