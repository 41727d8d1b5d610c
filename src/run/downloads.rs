//! Downloading the sources that stages wait for.

use std::collections::BTreeMap;
use std::path::Path;

use stages::Event;

use crate::files::threads;
use crate::pipeline::{Input, input_and_entry};
use crate::run::event::RunEvent;
use crate::run::failure::{FetchError, StageFailure};
use crate::run::guarded::guarded;
use crate::run::message::Message;
use crate::run::node::NodeIndex;
use crate::run::schedule::Schedule;
use crate::sources::downloads::DownloadProgress;

impl Schedule<'_, '_> {
    pub(super) fn fetch(&mut self, node: NodeIndex, input: Input) {
        if self.stopping {
            return;
        }
        let name = input.to_string();
        let waiting = self.waits.downloads.entry(name.clone()).or_default();
        waiting.push(node);
        if waiting.len() > 1 {
            return;
        }
        let stage = self.stage(node).name.clone();
        (self.report)(RunEvent::StageWaiting { stage, message: format!("downloading {name}") });
        let (downloads, sender) = (self.context.sources.downloads(), self.sender.clone());
        // Not in the scope: an interrupted run does not wait for a download.
        let what = name.clone();
        let started = threads::spawn(Path::new(&what), move || {
            let mut progress = |progress: DownloadProgress| {
                let event = Event::Progress {
                    done: progress.done_bytes,
                    total: progress.total_bytes,
                    unit: format!("bytes of {}", progress.file),
                    values: BTreeMap::new(),
                };
                // The run may have ended in the meantime.
                let _ = sender.send(Message::Says { node, event });
            };
            let fetched = guarded(|| downloads.fetch(&input, &mut progress).map(drop));
            let result = match fetched {
                Ok(result) => result.map_err(FetchError::Source),
                Err(message) => Err(FetchError::Panicked(message)),
            };
            let _ = sender.send(Message::Fetched { input: name, result });
        });
        if let Err(error) = started {
            let result = Err(FetchError::Source(error.into()));
            let _ = self.sender.send(Message::Fetched { input: what, result });
        }
    }

    pub(super) fn fetched(&mut self, input: &str, result: Result<(), FetchError>) {
        let waiting = self.waits.downloads.remove(input).unwrap_or_default();
        let Err(error) = result else { return self.waits.unsettled.extend(waiting) };
        for node in waiting {
            let stage = self.stage(node);
            let wired = stage.inputs.iter().find(|(_, wired)| wired.to_string() == input);
            let key =
                wired.map(|(name, _)| format!("{}.inputs.{}", stage.name, input_and_entry(name).0));
            let hint = match &error {
                FetchError::Source(error) => {
                    error.hint(&key.as_deref().into_iter().collect::<Vec<_>>())
                }
                FetchError::Panicked(_) => None,
            };
            let message = error.to_string();
            self.fail(node, StageFailure::Download { message, hint });
        }
    }
}
