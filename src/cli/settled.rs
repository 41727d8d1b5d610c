//! The short way through `pipe run` of a long pipeline that is up to date. The answer of such a run
//! follows from the pipeline's text, what was typed, the environment, this binary, the sources, the
//! records and the objects. [`Settled`] keeps what the last one stood on, and the rest is a question
//! that it answers.

use std::path::Path;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{Project, pipeline_file, root_of, store, use_store};
use crate::console::Console;
use crate::files::digest::Digest;
use crate::files::regular::read_text;
use crate::files::scratch::Scratch;
use crate::files::stamp::Stamp;
use crate::pipeline::kept_tree::LONG;
use crate::pipeline::remotes::config_bytes;
use crate::pipeline::{Input, Stage};
use crate::plan::{Decision, Plan};
use crate::run::event::{RunEvent, Summary};
use crate::store::Store;
use crate::store::index::Index;
use crate::store::settled::{Settled, StandingRecord};
use crate::text::variants::family;

/// Variables that often differ and mean nothing to a run, unless the pipeline names them.
const VOLATILE: [&str; 5] = ["OLDPWD", "SHLVL", "TMUX", "TMUX_PANE", "WINDOWID"];

/// What a run is asked, as far as it does not lie in the store or the sources.
pub struct Question {
    store: Store,
    digest: Digest,
}

impl Question {
    /// The question of this process. `None` for a short pipeline, which is read at once, and if
    /// anything is wrong, which the long way explains.
    pub fn of_process(globals: &Globals) -> Option<Question> {
        let file = std::path::absolute(pipeline_file(globals).ok()?).ok()?;
        let store = store(globals, &root_of(&file).ok()?).ok()?;
        let text = read_text(&file).ok().filter(|text| text.len() >= LONG)?;
        let mut asked = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            asked.update(&(part.len() as u64).to_le_bytes()).update(part);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        // Another binary may answer in another way.
        add(&Stamp::of(&std::env::current_exe().ok()?.metadata().ok()?).to_bytes());
        for path in [&file, store.root(), &std::env::current_dir().ok()?] {
            add(path.as_os_str().as_encoded_bytes());
        }
        add(text.as_bytes());
        add(&config_bytes().ok()?);
        std::env::args_os().for_each(|argument| add(argument.as_encoded_bytes()));
        let mut variables: Vec<_> = std::env::vars_os().collect();
        variables.retain(|(name, _)| {
            let name = name.to_string_lossy();
            !VOLATILE.contains(&&*name) || text.contains(&*name)
        });
        variables.sort_unstable();
        for (name, value) in variables {
            add(name.as_encoded_bytes());
            add(value.as_encoded_bytes());
        }
        Some(Question { store, digest: Digest::from_bytes(*asked.finalize().as_bytes()) })
    }

    /// Answers the question from what was kept, if all of it still stands. Prints what the run would.
    pub fn answer(&self, console: &Console) -> Result<bool, Error> {
        let Some(settled) = Settled::read(&self.store, self.digest) else { return Ok(false) };
        let _in_use = use_store(&self.store, console)?;
        let index = Index::load(&self.store.index_file(), true);
        if !settled.is_standing(&self.store, &index) {
            return Ok(false);
        }
        self.store.remove_leftovers();
        let (hits, saved_seconds) = (settled.records.len(), settled.saved_seconds);
        let mut view = console.run_view(false);
        view.show(&RunEvent::RunFinished(Summary { hits, saved_seconds, ..Summary::default() }));
        view.finish()?;
        Ok(true)
    }

    /// Whether a run with nothing to do may report this: a kept answer prints the summary alone.
    pub fn may_hear(event: &RunEvent) -> bool {
        matches!(
            event,
            RunEvent::RunStarted { .. } | RunEvent::StageFinished(_) | RunEvent::RunFinished(_)
        )
    }

    /// Keeps what a run stood on, which was asked this and ended so, if it had nothing to do.
    pub fn keep(&self, settled: &Settled, summary: &Summary, globals: &Globals) {
        let all_were_hits = summary.hits == settled.records.len();
        if !all_were_hits || summary.remote.is_some() || Exit::of_run(summary) != Exit::Done {
            return;
        }
        // Somebody may have changed the pipeline before the run read it.
        if Question::of_process(globals).is_none_or(|now| now.digest != self.digest) {
            return;
        }
        // It only saves time. A read-only project has none.
        if let Ok(scratch) = Scratch::new(&self.store.scratch_folder()) {
            let _ = settled.write(&self.store, self.digest, &scratch);
        }
    }
}

impl Settled {
    /// What a run with this plan stands on. `None` if it has something to do, or depends on more than
    /// records, objects and sources: published files, downloads, frozen stages.
    pub(super) fn of(plan: &Plan, project: &Project, index: &Index) -> Option<Settled> {
        if !index.dangling().is_empty() {
            return None;
        }
        let mut settled = Settled::default();
        for planned in &plan.stages {
            let stage = &project.pipeline[planned.stage];
            let (Decision::Hit(record), None) = (&planned.decision, &planned.frozen) else {
                return None;
            };
            // Otherwise the run marks the record as one of this stage.
            let is_own = family(&record.stage) == stage.family();
            let sources = sources(stage).filter(|_| is_own && stage.publish.is_empty())?;
            for (input, path) in sources {
                settled.sources.push((path.to_owned(), *record.fields.inputs.get(input)?));
            }
            settled.saved_seconds += record.seconds;
            settled.records.push(StandingRecord::of(record, &project.store)?);
        }
        settled.sources.sort_unstable();
        settled.sources.dedup();
        Some(settled)
    }
}

/// The inputs of a stage from the project, by name. `None` if some come from elsewhere.
fn sources(stage: &Stage) -> Option<Vec<(&str, &Path)>> {
    let found = stage.inputs.iter().filter_map(|(name, input)| match input {
        Input::Artifact { .. } => None,
        Input::Path(path) => Some(Some((name.as_str(), path.as_path()))),
        _ => Some(None),
    });
    found.collect()
}
