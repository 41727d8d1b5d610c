//! `pipe` is a build tool for fine-tuned text classifiers: one YAML file declares the stages, one
//! binary runs them, and nothing that is still valid is ever computed again.
//!
//! # The flow
//!
//! ```text
//! pipeline.yaml → Pipeline → Graph → Plan → Run → Records
//!                  variables   order    │      │
//!                  overrides            └store ┘   cache/objects, cache/records
//! ```
//!
//! 1. [`pipeline`] reads the file, fills in variables, applies a profile and `--set`, and checks
//!    every name and parameter of every stage.
//! 2. [`plan::graph`] orders the stages. Edges come from `stage:output` inputs only.
//! 3. [`plan`] decides for each stage: it is a cache hit, it runs (and for which
//!    [`reason`](plan::reason)), or it waits for bytes that an earlier stage has not produced yet.
//!    Planning writes nothing.
//! 4. [`run`] starts stages as soon as their inputs are known, each as a process through an
//!    [`executor`]. It decides the waiting stages with the same functions as the plan. The same
//!    bytes give the same key, so a rebuild stops where results come out as before.
//! 5. A [`record`](store::record) is written last, by rename, after the objects that it names are
//!    in the [`store`]. Kill the tool at any moment: the next run is right.
//!
//! `cli/run.rs` is these five steps in one function. A good order to read on: [`store::key`],
//! [`store::record`], [`store`], [`plan`], [`run`].
//!
//! # The folders
//!
//! From the top. A folder imports from the lines below it, never from a line above it; `report` and
//! `maintenance`, `remote` and `sources`, `pipeline` and `init`, `store` and `text` do not import each
//! other either. `tests/it/tidy.rs` holds this order as a table and checks every import.
//!
//! | folder | what lives there | its face |
//! |---|---|---|
//! | [`cli`] | what the user typed: a file for each command, errors, exit codes | [`cli::Cli`] |
//! | `serve` | the HTTP service: routes, the queue, the thread of the model | `serve::Server` |
//! | [`console`] | everything that is printed | [`console::Console`] |
//! | [`report`] | the HTML page | |
//! | [`maintenance`] | `gc`, `cache verify`, `doctor` | a function each |
//! | [`results`] | looking back: the log of runs, diff, restore, compare, show, sweeps | |
//! | [`run`] | running stages: schedule, jobs, publishing, resuming | [`run::run`] |
//! | [`executor`] | how a process is started: on this machine or through Slurm | [`executor::Executor`] |
//! | [`plan`] | hit, run or wait, and why: graph, key fields, reasons, history | [`plan::plan`] |
//! | [`remote`] | other places that hold results: folders, S3, HTTP | [`remote::Remote`] |
//! | [`sources`] | inputs that no stage makes: paths, URLs, models of the Hugging Face hub | [`sources::Sources`] |
//! | [`pipeline`] | the YAML file and what it means; its JSON Schema | [`pipeline::Pipeline`] |
//! | [`init`] | the pipeline that `pipe init` writes | |
//! | [`store`] | objects, records, keys, the index of sources | [`store::Store`] |
//! | [`text`] | wording: counts, durations, wrapping, names, the nearest name to a typo | |
//! | [`files`] | the disk: digests, trees, scratch folders, locks, faults for tests | |
//!
//! The crate `stages`, below all of this, holds the built-in stages and the model.
//!
//! # The words
//!
//! | word | meaning | where |
//! |---|---|---|
//! | pipeline | the YAML file: variables, profiles, stages | [`pipeline`] |
//! | stage | a name, what it runs, inputs, parameters, outputs | [`pipeline::Stage`] |
//! | artifact | one output of one stage: a file or a folder, `stage:output` | [`store::record::Artifact`] |
//! | digest | BLAKE3 of an artifact's bytes; for a folder, of its listing | [`files::digest`], [`files::tree`] |
//! | key | BLAKE3 of everything that can change a stage's result | [`store::key`] |
//! | record | what a run of one key produced, and when, where, in how many seconds | [`store::record`] |
//! | object | an artifact's bytes in the store, under its digest | [`store`] |
//! | reason | why a stage has to run, as data | [`plan::reason`] |
//! | variant | one of the stages that `foreach`, `matrix` or a sweep makes of one: `train@seed=1` | [`text::variants`] |
//! | sweep | combinations of overrides, run together and compared | [`results::sweep`] |
//! | run | one `pipe run` that did something, in the log | [`results::run_log`] |
//! | remote | another place that holds results | [`remote`] |
//! | source | an input that no stage makes: a path, a URL, a model of the hub | [`sources`] |
//!
//! # What enters the key
//!
//! | enters | does not enter |
//! |---|---|
//! | the built-in's name and version, or the command's text | the stage's own name, comments, key order in YAML |
//! | parameters with their defaults filled in | where it runs: device, threads, jobs, host, time |
//! | each input's name and digest, with execute bits and empty folders | paths of inputs, modification times |
//! | the declared output names; for a command, their file names too | how it is run: frozen, always, retries, timeout, resources, executor; console verbosity |
//! | declared environment variables (`env:`) of a command | the rest of the environment |
//! | `salt:`, to disown results | |
//!
//! The key does not see the programs that a command calls, nor files that the command reads
//! without declaring them. Of the modes of a file only the execute bit of its owner is kept.
//!
//! # Architecture invariants
//!
//! - This crate computes with no tensors, tokens or tweets: that is the business of `stages`. It
//!   reads a few of their formats to show and compare artifacts, through functions of `stages`.
//! - A stage never touches the store; it sees only its manifest or its environment variables.
//! - Planning writes nothing: `status`, `explain`, `graph` and `run --dry-run` are read-only.
//! - Objects are read-only on disk, and are verified in full before a stage or a published copy
//!   gets their bytes. A damaged object is moved away, and its stage runs again.
//! - Nothing is removed from the store during a run ([`store::in_use`]), and a record is removed
//!   before the objects that it names ([`maintenance::gc`]).
//! - State is one small file per stage or key. No file is rewritten as a whole for each stage;
//!   readers take no lock; locks belong to the kernel and end with their process.
//! - Only [`files::disk`] changes the disk, so that tests can kill the engine at each change
//!   ([`files::fault`]).
//! - Nothing from a [`remote`] is trusted before it is verified, and every wait for one has a time
//!   limit.
//! - Only [`console`] prints. stdout is data, stderr is talk.

pub mod cli;
pub mod console;
pub mod executor;
pub mod files;
pub mod init;
pub mod maintenance;
pub mod pipeline;
pub mod plan;
pub mod remote;
pub mod report;
pub mod results;
pub mod run;
#[cfg(feature = "serve")]
pub mod serve;
pub mod sources;
pub mod store;
pub mod text;
