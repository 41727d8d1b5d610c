//! Ctrl-C and similar signals, as messages to the scheduler.

use std::io;
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::run::message::Message;

/// From now on these signals do not end the engine but reach the scheduler.
pub fn forward(sender: Sender<Message>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(Message::Interrupt).is_err() {
                return;
            }
        }
    });
    Ok(())
}
