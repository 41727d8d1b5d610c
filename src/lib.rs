//! `pipe` is a build tool for fine-tuned text classifiers: one YAML file declares the stages,
//! one binary runs them, and nothing that is still valid is ever computed again.
//!
//! # The flow
//!
//! ```text
//! pipeline.yaml → Pipeline → Graph → Plan → Run → Records
//!                  resolve    order    │      │
//!                  variables           └store ┘   cache/objects, cache/records
//! ```
//!
//! 1. [`pipeline`] reads the file, fills in variables, applies a profile and `--set`, and checks
//!    every name and parameter of every stage.
//! 2. [`graph`] orders the stages. Edges come from `stage:output` inputs only.
//! 3. [`plan`] says of each stage whether it is a hit, runs (and for what [`reason`]), or waits
//!    for bytes that are not known yet. It writes nothing.
//! 4. [`run`] starts stages as soon as their inputs are known, each as a process through an
//!    [`executor`], and decides the waiting ones by the functions that the plan used. The same
//!    bytes are the same key: a rebuild ends where its results come out as before.
//! 5. A [`record`] is written last, by rename, after the objects that it names are in the
//!    [`store`]. Kill the tool anywhere: the next run is right.
//!
//! `cli/run.rs` is these five steps in one function. A good order to read on: [`key`],
//! [`record`], [`store`], [`plan`], [`run`].
//!
//! # The words
//!
//! | word | meaning | where |
//! |---|---|---|
//! | pipeline | the YAML file: variables, profiles, stages | [`pipeline`] |
//! | stage | a name, what it runs, inputs, parameters, outputs | [`pipeline::Stage`] |
//! | artifact | one output of one stage: a file or a folder, `stage:output` | [`record::Artifact`] |
//! | digest | BLAKE3 of an artifact's bytes; of a folder, of its listing | [`digest`], [`tree`] |
//! | key | BLAKE3 of everything that can change a stage's result | [`key`] |
//! | record | what a run of one key produced, and when, where, how long | [`record`] |
//! | object | an artifact's bytes in the store, under its digest | [`store`] |
//! | reason | why a stage has to run, as data | [`reason`] |
//! | variant | one of the stages that `foreach`, `matrix` or a sweep makes of one: `train@seed=1` | [`pipeline::variants`] |
//! | sweep | combinations of overrides, run together and compared | [`sweep`] |
//! | run | one `pipe run` that did something, in the log | [`run_log`] |
//! | remote | another place that holds results | [`remote`] |
//! | source | an input that no stage makes: a path, a URL, a model of the hub | [`sources`] |
//!
//! # What enters the key
//!
//! | enters | does not enter |
//! |---|---|
//! | the built-in's name and version, or the command's text | the stage's own name, comments, key order in YAML |
//! | parameters with their defaults filled in | where it runs: device, threads, jobs, host, time |
//! | each input's name and digest | paths of inputs, modification times |
//! | the declared output names | how it is run: frozen, always, retries, timeout, resources, executor; console verbosity |
//! | declared environment variables (`env:`) of a command | the rest of the environment |
//! | `salt:`, to disown results | |
//!
//! What the key does not see: a program that a command calls, and files that it reads without
//! declaring them. File modes and empty folders of an output are not kept.
//!
//! # Architecture invariants
//!
//! - This crate knows no tensors, no tokens, no tweets: those are in `stages`.
//! - A stage never touches the store; it sees its manifest or its environment variables only.
//! - Planning writes nothing: `status`, `explain`, `graph` and `run --dry-run` are read-only.
//! - Objects are read-only on disk, and read in full before a stage or a published copy gets
//!   their bytes. A damaged one is moved away, and its stage runs again.
//! - Nothing is removed from the store under a run ([`in_use`]), and records go before the objects
//!   that they name ([`gc`]).
//! - State is one small file per stage or key. No file is rewritten whole per stage; readers take
//!   no lock; locks are the kernel's and end with their process.
//! - Only [`disk`] changes the disk, so that tests can kill the engine at each change ([`fault`]).
//! - Nothing from a [`remote`] is believed before it is verified, and none is waited for for long.
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
pub mod sources;
pub mod store;
pub mod text;
