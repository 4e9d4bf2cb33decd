//! Threads that work while others answer somebody.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Clock;

/// How long a thread that stands back works before it rests, in microseconds.
const WORK_US: u64 = 300;

/// How long it rests; with what the system adds, about a tenth of a millisecond.
const REST: Duration = Duration::from_micros(30);

thread_local! {
    /// Tells how long the thread has worked without a rest, when it stands back.
    static WORK: Cell<Option<Clock>> = const { Cell::new(None) };
}

/// Lets the calling thread stand back behind those that somebody waits for: it runs while a processor has nothing else to
/// do, and one of theirs that wakes takes the processor from it at once. (Only this rank is so. One that is merely lower,
/// by `nice`, keeps the processor for a few milliseconds.) Only Linux has it for threads; where it is not to be had, the
/// work is done all the same.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        let place = place_at_the_disk();
        // Where it is refused, the thread competes with the others.
        #[expect(
            unsafe_code,
            reason = "a system call that only reads a number, and no crate of ours offers it"
        )]
        let _ = unsafe {
            let parameters: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters)
        };
        keep_place_at_the_disk(place);
        // Who woke while this thread still had its old rank would wait for the next tick of the clock.
        std::thread::yield_now();
        WORK.set(Some(Clock::system()));
    }
}

/// To be called now and then in long work: the calling thread rests for a moment when it stands back and has worked for a
/// while, and goes on at once when somebody waits for it. Its rank counts only beside threads of its own group: those of the
/// file system, which a commit needs, could have to wait for the next tick of the clock, and a processor that has
/// some work, however unimportant, takes none from one that has too much.
pub fn breathe() {
    if WORK
        .get()
        .is_some_and(|clock| clock.monotonic_us() >= WORK_US)
    {
        std::thread::sleep(REST);
        WORK.set(Some(Clock::system()));
    }
}

/// `IOPRIO_WHO_PROCESS`; with 0, the calling thread.
#[cfg(target_os = "linux")]
const WHO_PROCESS: libc::c_long = 1;

/// The calling thread's I/O priority.
#[cfg(target_os = "linux")]
fn place_at_the_disk() -> libc::c_long {
    /// `IOPRIO_CLASS_BE` with its middle level: of whom nobody has given another.
    const USUAL: libc::c_long = (2 << 13) | 4;
    #[expect(
        unsafe_code,
        reason = "a system call that only takes numbers, and no crate of ours offers it"
    )]
    let place = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, libc::c_long::from(0)) };
    // None, or no answer.
    if place <= 0 { USUAL } else { place }
}

/// A thread of this rank is the last one at the disk, too, and with it everybody who needs a block that it is writing: a
/// commit needs the one in which the file system keeps the times of both files.
#[cfg(target_os = "linux")]
fn keep_place_at_the_disk(place: libc::c_long) {
    // Where it is refused, it is the last one.
    #[expect(
        unsafe_code,
        reason = "a system call that only takes numbers, and no crate of ours offers it"
    )]
    let _ = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            libc::c_long::from(0),
            place,
        )
    };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_stands_back_keeps_its_place_at_the_disk() {
        let before = place_at_the_disk();
        let behind = std::thread::spawn(|| {
            stand_back();
            place_at_the_disk()
        });
        assert_eq!(behind.join().expect("no panic"), before);
    }

    #[test]
    fn only_who_stands_back_rests_after_work() {
        let long = Duration::from_micros(2 * WORK_US);
        let worked_us = || WORK.get().map(|clock| clock.monotonic_us());
        std::thread::sleep(long);
        breathe();
        assert_eq!(worked_us(), None, "nobody rests where somebody waits");
        let behind = std::thread::spawn(move || {
            stand_back();
            let begun = Clock::system();
            std::thread::sleep(long);
            breathe();
            (worked_us().expect("it stands back"), begun.monotonic_us())
        });
        let (since_rest_us, in_all_us) = behind.join().expect("no panic");
        assert!(
            in_all_us >= since_rest_us + 2 * WORK_US,
            "{in_all_us} µs, {since_rest_us} of them since it rested"
        );
    }

    #[test]
    fn who_stands_back_has_the_idle_rank_and_others_keep_theirs() {
        // The 41st field, counted from the third, which follows the name.
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread");
            let fields = stat.rsplit(')').next().expect("fields behind the name");
            fields
                .split_whitespace()
                .nth(41 - 3)
                .and_then(|field| field.parse::<i32>().ok())
                .expect("a policy")
        };
        let before = policy();
        let behind = std::thread::spawn(move || {
            stand_back();
            policy()
        });
        assert_eq!(behind.join().expect("no panic"), libc::SCHED_IDLE);
        assert_eq!(policy(), before);
    }
}
