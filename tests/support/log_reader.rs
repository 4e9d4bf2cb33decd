//! Reads a program's standard error from a pipe into a file, and can pause.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::ChildStderr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// A thread between a pipe and a file.
pub struct LogReader {
    gate: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl LogReader {
    /// Begins to read.
    pub fn start(mut pipe: ChildStderr, mut file: File) -> Self {
        let gate = Arc::new((Mutex::new(true), Condvar::new()));
        let its = gate.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let (is_open, changed) = &*its;
                drop(
                    changed.wait_while(is_open.lock().expect("not poisoned"), |is_open| !*is_open),
                );
                match pipe.read(&mut bytes).expect("the pipe reads") {
                    0 => return,
                    count => file.write_all(&bytes[..count]).expect("the log is written"),
                }
            }
        });
        Self {
            gate,
            thread: Some(thread),
        }
    }

    /// Pauses after at most one more piece.
    pub fn leave_off(&self) {
        self.set(false);
    }

    /// Resumes.
    pub fn go_on(&self) {
        self.set(true);
    }

    /// Reads what is left of a program that has ended.
    pub fn finish(&mut self) {
        self.go_on();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it reads to the end");
        }
    }

    fn set(&self, is_open: bool) {
        *self.gate.0.lock().expect("not poisoned") = is_open;
        self.gate.1.notify_all();
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        // The thread ends with the program.
        self.go_on();
    }
}
