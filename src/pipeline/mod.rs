//! Reads `pipeline.yaml` into a checked [`Pipeline`]. The rest of the engine sees neither YAML nor
//! variables.
//!
//! ```text
//! text ─ document ─ overrides ─ variables, matrix ─ stage, inputs, publications, links ─→ Pipeline
//!        (shape)    (profile,    (${name}, foreach)  (names, types, ranges, paths, cycles)
//!                    --set)
//! ```
//!
//! [`Pipeline::load`] collects the problems of all steps and returns them together
//! ([`PipelineError`]). No stage runs while there is a problem.
//!
//! | files | what they do |
//! |---|---|
//! | `load` | calls the steps in order |
//! | `model`, `request`, `remote_settings` | the data of a checked pipeline |
//! | `yaml`, `marks`, `positions`, `scalars` | the YAML tree, and where each value was written |
//! | `kept_tree` | the same tree in a form that is read faster |
//! | `document` | sections and keys of the file |
//! | `overrides`, `sweeps` | profiles, `--set`, and the combinations of a sweep |
//! | `variables`, `matrix` | `${name}`, and the variants of `foreach` and `matrix` |
//! | `stage`, `outputs`, `inputs`, `reader`, `hub_names`, `sets`, `publications` | one stage |
//! | `handling`, `read_request` | how and where a stage runs; nothing of it enters a key |
//! | `links` | checks across stages: cycles, paths that two stages publish |
//! | `remotes` | `remotes:`, also of the user's own configuration |
//! | `problem` | messages with file, line and help |
//! | `schema` | the JSON Schema of the file |

mod document;
mod handling;
mod hub_names;
mod inputs;
pub mod kept_tree;
mod links;
mod load;
mod marks;
mod matrix;
mod model;
mod names;
mod outputs;
mod overrides;
mod positions;
mod problem;
mod publications;
mod read_request;
mod reader;
pub mod remote_settings;
pub mod remotes;
mod request;
mod scalars;
pub mod schema;
mod sets;
mod stage;
pub mod sweeps;
mod values;
mod variables;
mod yaml;

pub use document::{STAGE_KEYS, TOP_KEYS};
pub use hub_names::hub_data;
pub use load::{LoadedCombination, PIPELINE_FILE, find_pipeline_file, load_combinations};
pub use model::{
    Action, GPU, Handling, Input, Output, Overrides, Pipeline, SET_MARK, Stage, StageIndex,
    input_and_entry,
};
pub use names::{INPUT_PREFIX, OUTPUT_PREFIX, PARAM_PREFIX, environment_variable};
pub use problem::{Location, PipelineError, Problem};
pub use request::{ExecutorName, Request, Transfer};
