//! Ctrl-C and similar signals, as messages to the scheduler.

use std::io;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::run::message::Message;

/// Signals reach the scheduler until this is dropped. The drop ends the thread that forwards them,
/// since `pipe watch` runs many times in one process.
pub struct Forwarding {
    signals: Handle,
    thread: Option<JoinHandle<()>>,
}

/// From now on these signals do not end the engine but reach the scheduler.
pub fn forward(sender: Sender<Message>) -> io::Result<Forwarding> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let thread = std::thread::Builder::new().spawn(move || {
        for _ in signals.forever() {
            if sender.send(Message::Interrupt).is_err() {
                return;
            }
        }
    })?;
    Ok(Forwarding { signals: handle, thread: Some(thread) })
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and there is nothing to do if it did.
            let _ = thread.join();
        }
    }
}
