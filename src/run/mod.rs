//! The run: a stage starts as soon as its inputs are known and a slot is free. A stage that waited
//! gets its key from the same function as in the plan. The same bytes are a hit, so a rebuild stops
//! at an input that was rebuilt to the same bytes.
//!
//! One thread schedules and owns all state. Each running stage has a thread of its own. They talk
//! through one channel, and nothing polls.

pub mod again;
mod checks;
mod collected;
pub mod config;
pub mod context;
pub mod continuation;
mod deciding;
mod downloads;
mod ending;
pub mod event;
pub mod failure;
mod guarded;
mod inputs;
pub mod job;
pub mod message;
pub mod nested;
mod node;
pub mod ownership;
pub mod prepare;
pub mod publish;
mod remote;
mod schedule;
mod sharing;
mod shrink;
pub mod signals;
mod slots;
mod starting;
mod unit;
pub mod units;
mod waits;

use std::sync::mpsc::{Receiver, Sender};

use crate::files::file_error::FileError;
use crate::plan::Plan;
use crate::run::config::RunConfig;
use crate::run::context::RunContext;
use crate::run::event::{RunEvent, Summary};
use crate::run::message::Message;
use crate::run::remote::Session;
use crate::run::schedule::Schedule;
use crate::store::index::left_out;

/// Carries out a plan and reports its progress. `channel` may also bring [`Message::Interrupt`]
/// from outside.
pub fn run(
    plan: Plan,
    config: &RunConfig,
    context: &RunContext,
    channel: (Sender<Message>, Receiver<Message>),
    report: &mut dyn FnMut(RunEvent),
) -> Result<Summary, FileError> {
    let store = context.store;
    let open = |remote| Session::new(remote, store, channel.0.clone());
    let remote = context.remote.map(open).transpose()?;
    for link in context.sources.index.dangling() {
        report(RunEvent::Warning { message: left_out(&link) });
    }
    let summary = std::thread::scope(|scope| {
        Schedule::new(&plan, config, context, channel, remote, scope, report).run(plan)
    });
    store.remove_leftovers();
    // These only save reading files. A read-only project has none.
    let _ = context.sources.index.save(context.scratch);
    let _ = store.save_bundle(context.scratch);
    Ok(summary)
}
